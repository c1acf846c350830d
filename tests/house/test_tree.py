"""The tree of the project: which folders there are, and that no file and no folder outgrows its reader."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 400
MOST_MODULES = 12
TOP_LEVEL = {
    *("cache_builder", "configs", "docs", "examples", "frame_store", "loader", "tests", "tools", ".ci"),
}


def tracked_files():
    """Files that git knows; all files below the packages where the project is no checkout."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("the project is no git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def modules():
    return [path for path in tracked_files() if path.suffix == ".py"]


def test_no_other_folder_stands_at_the_top():
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files() if path.parent != ROOT} == TOP_LEVEL


def test_no_module_is_longer_than_a_reader_keeps_in_mind():
    long = {
        path.relative_to(ROOT).as_posix(): num_lines
        for path in modules()
        if (num_lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long


def test_no_folder_holds_more_modules_than_a_newcomer_looks_through():
    held = {}
    for path in modules():
        if path.name != "__init__.py":
            held.setdefault(path.parent.relative_to(ROOT).as_posix(), []).append(path.name)
    assert not {folder: names for folder, names in held.items() if len(names) > MOST_MODULES}


def test_every_room_says_what_it_holds():
    faces = [path for path in modules() if path.name == "__init__.py" and "tests" not in path.parts]
    assert len(faces) > 30
    for path in faces:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_no_file_is_named_after_the_folder_above_its_room():
    """Folders do the work that prefixes did: loader/sampling/resume.py, tests/tools/test_tools_bias_cli.py."""
    for path in modules():
        package = path.relative_to(ROOT).parts[0]
        assert not path.stem.startswith((f"{package}_", f"test_{package}_")), path
