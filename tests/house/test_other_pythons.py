"""`make test-pythons`: what it finds and installs. That the tests pass elsewhere, only running it shows."""

import sys
import tomllib
from pathlib import Path

import pytest

from tests.other_pythons import (
    PROJECT,
    TESTS,
    candidates,
    claimed_minors,
    find_pythons,
    lowest_of,
    name_of,
    probe,
    read_project,
    requirements,
)


def fake_python(path, says):
    """An executable file that answers anything with `says`, or fails where that is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 127\n" if says is None else f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_every_dependency_has_a_lower_bound():
    project = read_project()
    every = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (requirement for group in every for requirement in group):
        assert lowest_of(requirement).startswith(f"{name_of(requirement)}==")


def test_the_lowest_versions_are_the_lower_bounds_and_torch_is_left_out():
    project = read_project()
    newest, lowest = requirements(project, "newest"), requirements(project, "lowest")
    assert [name_of(requirement) for requirement in newest] == [name_of(pin) for pin in lowest]
    assert set(newest) < {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    names = {name_of(requirement) for requirement in newest}
    assert {"av", "zarr", "numpy", "pytest"} < names and "torch" not in names
    assert {name_of(requirement) for requirement in project["dependencies"]} - names == {"torch"}


@pytest.mark.parametrize(
    ("requirement", "pin"),
    [("av>=18.1.0,<20", "av==18.1.0"), ("Google-CRC32C <2, >= 1.5", "google-crc32c==1.5")],
)
def test_a_lower_bound_becomes_a_pin(requirement, pin):
    assert lowest_of(requirement) == pin


@pytest.mark.parametrize("requirement", ["av", "av<20", "av==18.1", ">=3"])
def test_no_lower_bound_is_an_error_that_names_it(requirement):
    with pytest.raises(ValueError, match=f"^pyproject.toml: '{requirement}' "):
        lowest_of(requirement)


def test_the_lowest_claimed_python_is_the_lowest_allowed():
    assert read_project()["requires-python"] == f">={claimed_minors(read_project())[0]}"


def test_this_python_is_found():
    python = probe(Path(sys.executable))
    assert python is not None and python.version == sys.version_info[:3]


def test_what_does_not_run_is_passed_over(tmp_path):
    on_path, pyenv = tmp_path / "bin", tmp_path / "versions"
    fake_python(on_path / "python3.12", None)  # a shim of pyenv whose version is not chosen
    fake_python(on_path / "python3.13", "Python 3.13.0")  # answers something else
    fake_python(on_path / "python3.14", '["cpython", "beta", [3, 14, 0]]')
    fake_python(on_path / "python3.11", '["pypy", "final", [3, 11, 9]]')
    fake_python(on_path / "python3.11-config", '["cpython", "final", [3, 11, 0]]')
    (on_path / "python3.15").mkdir()
    fake_python(pyenv / "3.10.2" / "bin" / "python", '["cpython", "final", [3, 10, 2]]')
    older = fake_python(pyenv / "3.12.9" / "bin" / "python", '["cpython", "final", [3, 12, 9]]')
    newer = fake_python(pyenv / "3.12.10" / "bin" / "python", '["cpython", "final", [3, 12, 10]]')
    (pyenv / "3.13.1").mkdir()
    paths = list(candidates(f"{tmp_path / 'nowhere'}::{on_path}", pyenv))
    assert paths.index(newer) < paths.index(older)
    (found,) = find_pythons(paths, at_least="3.11")
    assert (found.path, found.minor, found.version) == (newer, "3.12", (3, 12, 10))


def test_the_path_comes_before_pyenv_and_the_lowest_python_first(tmp_path):
    chosen = [
        fake_python(tmp_path / "a" / "python3.13", '["cpython", "final", [3, 13, 0]]'),
        fake_python(tmp_path / "b" / "python3.12", '["cpython", "final", [3, 12, 1]]'),
    ]
    fake_python(tmp_path / "b" / "python3.13", '["cpython", "final", [3, 13, 5]]')
    fake_python(tmp_path / "pyenv" / "3.13.9" / "bin" / "python", '["cpython", "final", [3, 13, 9]]')
    found = find_pythons(
        candidates(f"{tmp_path / 'a'}:{tmp_path / 'b'}", tmp_path / "pyenv"), at_least="3.11"
    )
    assert [python.path for python in found] == chosen[::-1]


def test_every_pattern_of_tests_names_files():
    for pattern in TESTS:
        assert list((PROJECT / "tests").glob(pattern)), pattern


def test_ruff_and_mypy_take_the_lowest_claimed_python():
    with (PROJECT / "pyproject.toml").open("rb") as file:
        tools = tomllib.load(file)["tool"]
    lowest = claimed_minors(read_project())[0]
    assert tools["mypy"]["python_version"] == lowest
    assert tools["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
