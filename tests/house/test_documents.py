"""The documents keep their word: snippets run, links lead somewhere, tables follow their commands.

Of README.md and docs/GUIDE.md every block runs, in the order of the document, in a folder with videos and a cache:
`python` blocks in one namespace, but for files (`# NAME.py` in the first line), which a command reads; and of
`sh` blocks each line that begins with one of our commands. `cache-bench`, and `cache-bias --plan`, measure for
minutes: their flags are parsed, and nothing is run. Of `make`, `pip install` and `python -m` it is looked up
that the target, the extra and the module exist. `python gpu` blocks are compiled, and run where there is a GPU.
`text` blocks are for reading.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict

import click
import pytest

pytest.importorskip("torch")

from frame_cache_tools.bench.cli import main as cache_bench

from tests.support.commands import run
from tests.support.documents import (
    ROOT,
    anchors_of,
    blocks_of,
    files_of,
    links_of,
    modules_of,
    tables_of,
    text_of,
)
from tests.support.mistakes import commands
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

RUN = ("README.md", "docs/GUIDE.md")
DOCUMENTS = (
    *("README.md", "EXERCISE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(
        f"docs/{name}.md"
        for name in (
            "ARCHITECTURE",
            "GUIDE",
            "MEASURED",
            "MISTAKES",
            "PERFORMANCE",
            "SAMPLING_GUIDE",
            "STORES",
        )
    ),
)
SPECIFICATIONS = tuple(
    path.relative_to(ROOT).as_posix()
    for package in ("frame_store", "loader")
    for path in sorted((ROOT / package).rglob("*.md"))
)
OUR_COMMANDS = {**commands(), "cache-bench": cache_bench}
# Gates, which a tiny cache need not pass.
MAY_FAIL = ("--max-chi2", "--min-effective-batch")


def videos_and_cache(folder):
    """`dir/` with three videos, and `dir.cache`, which `make cache VIDEOS=dir/` would make."""
    tiny_folder(folder / "dir", simple_specs())
    assert run(folder / "dir", "--workers", "1").exit_code == 0


def namespace():
    """Names that stand for the reader's own code in the documents."""
    return {"__name__": "snippets", "train": lambda *tensors: None, "label_of": defaultdict(int)}


def run_python(block, document, names):
    code = compile("\n" * block.line + block.body, document, "exec")  # a traceback names the line
    exec(code, names)


def lines_of(block):
    for line in block.body.splitlines():
        for command in line.partition("#")[0].split("&&"):
            if arguments := shlex.split(command):
                yield arguments


def run_or_parse(name, arguments):
    command = OUR_COMMANDS[name]
    if name == "cache-bench" or "--plan" in arguments:
        command.make_context(name, list(arguments))
        return
    ended = run(*arguments, command=command)
    allowed = {0, 1, 2} if set(arguments) & set(MAY_FAIL) else {0}
    assert ended.exit_code in allowed, f"{name} {shlex.join(arguments)}\n{ended.output}"


@pytest.mark.parametrize("document", RUN)
def test_every_snippet_runs(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos_and_cache(tmp_path)
    names, num_run = namespace(), 0
    for block in blocks_of(text_of(document)):
        if block.info == "python" and (file := re.match(r"# (\w+\.py)\n", block.body)):
            (tmp_path / file[1]).write_text(block.body)  # a command after it reads the file
        elif block.info == "python":
            run_python(block, document, names)
            num_run += 1
        elif block.info == "sh":
            for name, *arguments in lines_of(block):
                if name in OUR_COMMANDS:
                    run_or_parse(name, arguments)
                    num_run += 1
    assert num_run >= 6


@pytest.mark.parametrize("document", [*DOCUMENTS, *SPECIFICATIONS])
def test_every_python_snippet_compiles_and_every_block_says_what_it_is(document):
    for block in blocks_of(text_of(document)):
        if block.info in {"python", "python gpu"}:
            compile(block.body, document, "exec")
    if document in {*RUN, "CONTRIBUTING.md"}:
        assert {block.info for block in blocks_of(text_of(document))} <= {
            "python",
            "python gpu",
            "sh",
            "text",
        }


@pytest.mark.gpu
def test_gpu_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos_and_cache(tmp_path)
    names = namespace()
    exec("import cache_builder, frame_store; from loader import Augmentation, FrameLoader", names)
    exec("store = frame_store.open_store('dir.cache'); augment = Augmentation()", names)
    blocks = [block for block in blocks_of(text_of("docs/GUIDE.md")) if block.info == "python gpu"]
    assert blocks
    for block in blocks:
        run_python(block, "docs/GUIDE.md", names)


@pytest.mark.parametrize(
    "document", [*RUN, "CONTRIBUTING.md", "docs/MEASURED.md", "docs/PERFORMANCE.md", "EXERCISE.md"]
)
def test_commands_that_are_not_run_exist(document):
    text = text_of(document)
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    for block in blocks_of(text):
        if block.info not in {"sh", ""}:
            continue
        for arguments in lines_of(block):
            if arguments[0] == "make":
                assert arguments[1] in targets
            for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(arguments)):
                assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for module in modules_of(text):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.parametrize(
    "document", ["README.md", "EXERCISE.md", "docs/MEASURED.md", "docs/GUIDE.md", "docs/SAMPLING_GUIDE.md"]
)
def test_flags_of_our_commands_in_the_text_exist(document):
    """Commands in the text, `cache-bench --videos dir/ --only "permutation"`, and in its untagged blocks."""
    text = text_of(document)
    spans = re.findall(r"`(cache-[a-z]+ [^`\n]+)`", text)
    spans += [
        line.partition("#")[0]
        for block in blocks_of(text)
        if not block.info
        for line in block.body.splitlines()
    ]
    for span in spans:
        name, *arguments = shlex.split(span) or [""]
        if name in OUR_COMMANDS:
            flags = {flag for option in OUR_COMMANDS[name].params for flag in option.opts}
            assert {word.partition("=")[0] for word in arguments if word.startswith("--")} <= flags, span


def test_the_guide_names_every_option_of_every_command():
    text = text_of("docs/GUIDE.md") + text_of("docs/STORES.md")
    for name in ("cache-build", "cache-fetch", "cache-info", "cache-verify"):
        for option in OUR_COMMANDS[name].params:
            if isinstance(option, click.Option) and option.name != "version":
                assert option.opts[0] in text, f"{name} {option.opts[0]}"


@pytest.mark.parametrize("document", [*DOCUMENTS, *SPECIFICATIONS])
def test_links_lead_somewhere(document):
    text = text_of(document)
    for link in links_of(text):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "EXERCISE.md",
        "CONTRIBUTING.md",
        "docs/ARCHITECTURE.md",
        "docs/GUIDE.md",
        "docs/MEASURED.md",
        "docs/PERFORMANCE.md",
        "docs/SAMPLING_GUIDE.md",
    ],
)
def test_files_that_a_document_names_exist(document):
    made_up = {"build/api", "loader/sampling/orders/backwards.py"}
    missing = [name for name in files_of(text_of(document)) - made_up if not (ROOT / name).exists()]
    assert missing == []


def test_every_document_is_looked_at():
    found = {path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]}
    assert found == set(DOCUMENTS)


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 120


@pytest.mark.parametrize("document", ["docs/MEASURED.md", "docs/PERFORMANCE.md"])
def test_every_table_of_figures_follows_its_command(document):
    tables = tables_of(text_of(document))
    assert len(tables) >= 4
    for before, table in tables:
        assert re.search(r"(python -m |cache-)[\w.]", before), table


def test_make_docs_gives_every_public_name_a_page(tmp_path):
    pytest.importorskip("pdoc")
    (packages,) = re.findall(r"pdoc --output-directory build/api (.*)", text_of("Makefile"))
    command = [sys.executable, "-m", "pdoc", "--output-directory", tmp_path, *packages.split()]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0 and "Warn" not in made.stderr, made.stderr
    for package in packages.split():
        page = (tmp_path / f"{package}.html").read_text(encoding="utf-8")
        names = importlib.import_module(package).__all__
        assert [name for name in names if f'id="{name}"' not in page] == []


def test_what_is_looked_for_is_found():
    text = "# A heading, `b` & c\n```sh\nmake x\n```\n- item\n  ```python\n  1 + 1\n  ```\n[d](e.md#f) `tests/g.py`\n"
    assert [(block.info, block.body, block.line) for block in blocks_of(text)] == [
        ("sh", "make x\n", 2),
        ("python", "1 + 1\n", 6),
    ]
    assert anchors_of(text) == {"a-heading-b--c"}
    assert links_of(text) == ["e.md#f"] and files_of(text) == {"tests/g.py"}
    assert modules_of("`python -m tests.campaigns.x --y`.") == {"tests.campaigns.x"}
    tables = tables_of("## A\ntext\n| a |\n|---|\n\nmore\n| b |\n## C\n")
    assert [table for _, table in tables] == ["| a |\n|---|\n", "| b |\n"]
    assert "more" in tables[1][0] and "text" not in tables[1][0]
