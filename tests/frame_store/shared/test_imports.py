"""A project's own `loader.py` or `loader/` hides ours: importing a package of ours gives one line about it."""

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from frame_store.shared import hidden_loader_text

ROOT = Path(__file__).parents[3]
HIDES = "hides frame-cache's package `loader`"


def make_foreign(folder, kind):
    """Make a project's own `loader`; returns its path."""
    folder.mkdir()
    if kind == "loader.py":
        (folder / kind).write_text("def load(): pass\n")
        return folder / kind
    (folder / "loader").mkdir()
    if kind == "a package":
        (folder / "loader/__init__.py").touch()
    return folder / "loader"


def run_there(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )


@pytest.mark.parametrize("kind", ["loader.py", "a package"])
def test_a_script_beside_it_gets_a_warning_before_it_fails(tmp_path, kind):
    foreign = make_foreign(tmp_path / "project", kind)
    script = foreign.parent / "train.py"
    script.write_text("import frame_store\nfrom loader import FrameLoader\n")
    ended = run_there(tmp_path, str(script))
    assert ended.returncode == 1 and "cannot import name 'FrameLoader'" in ended.stderr
    first, *_ = ended.stderr.splitlines()
    assert first.startswith(f"{script}:1: UserWarning: `import loader` leads to {foreign}, which {HIDES}")
    assert first.endswith("give that file or folder another name")


@pytest.mark.parametrize("tool", ["bias_cli", "bench_cli"])
def test_a_command_that_needs_ours_stops_with_that_line(tmp_path, tool):
    foreign = make_foreign(tmp_path / "project", "loader.py")
    ended = run_there(foreign.parent, "-m", f"frame_cache_tools.{tool}", "--help")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert HIDES in line and str(foreign) in line and "Warning" not in line


def test_ours_is_not_foreign(tmp_path, recwarn):
    assert hidden_loader_text() is None
    (tmp_path / "loader").mkdir()
    ended = run_there(tmp_path, "-W", "error", "-c", "import loader, frame_store; loader.ColorJitter")
    assert (ended.returncode, ended.stderr) == (
        0,
        "",
    )  # a folder without modules hides no package


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ModuleSpec("loader", None, origin="/project/loader.py"), "/project/loader.py"),
        (None, None),  # made by hand, without a place
    ],
)
def test_one_that_is_already_imported_is_looked_at(monkeypatch, spec, expected):
    made = ModuleType("loader")
    made.__spec__ = spec
    monkeypatch.setitem(sys.modules, "loader", made)
    assert (
        hidden_loader_text() is None if expected is None else f"leads to {expected}," in hidden_loader_text()
    )


def test_a_link_to_ours_is_ours_and_without_ours_nothing_is_hidden(tmp_path, monkeypatch):
    (tmp_path / "loader").symlink_to(ROOT / "loader")
    linked = ModuleType("loader")
    linked.__spec__ = ModuleSpec("loader", None, is_package=True)
    linked.__spec__.submodule_search_locations = [str(tmp_path / "loader")]
    monkeypatch.setitem(sys.modules, "loader", linked)
    assert hidden_loader_text() is None
    linked.__spec__.submodule_search_locations = ["/project/loader"]
    text = hidden_loader_text()
    assert "/project/loader" in text and str(ROOT / "loader") in text and "\n" not in text
    module = sys.modules["frame_store.shared.imports"]
    monkeypatch.setattr(module, "__file__", str(tmp_path / "frame_store/shared/imports.py"))
    (tmp_path / "loader").unlink()
    assert hidden_loader_text() is None
