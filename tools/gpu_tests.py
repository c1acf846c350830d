"""Step `tests` of `gpu_acceptance`: the tests that are marked `gpu`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from frame_cache_tools.gpu_commands import run_command
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext

_COUNT: Final = re.compile(r"(\d+) (passed|failed|skipped|errors?|deselected|xfailed|xpassed)\b")


def run(context: StepContext, findings: Findings) -> None:
    """Run `pytest -m gpu` in this process's folder of tests."""
    tests = Path(__file__).resolve().parents[1] / "tests"
    if not tests.is_dir():
        raise Skip("there is no folder of tests beside the package: this is no checkout")
    try:
        import pytest  # noqa: F401 - is it there?
    except ImportError as error:
        raise Skip(f"pytest is not installed: {error}") from error
    # Collecting all tests takes longer than these do.
    files = [
        path for path in sorted(tests.glob("test_*.py")) if "mark.gpu" in path.read_text(encoding="utf-8")
    ]
    if not files:
        raise Skip("no test is marked gpu")
    done = run_command(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rfEs", "-p", "no:xdist", *files],
        context.work / "tests.log",
        timeout_s=context.seconds_left,
        folder=tests.parent,
    )
    counts = count_outcomes(done.lines)
    lines = [line for line in done.lines if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    findings.check(
        "pytest -m gpu",
        done.exit_code == 0,
        ", ".join(f"{number} {word}" for word, number in counts.items()) or f"exit code {done.exit_code}",
        target="none fails",
        detail=" / ".join(lines) if counts else done.last_words,
        data={"lines": lines, **counts},
    )


def count_outcomes(lines: Sequence[str]) -> dict[str, int]:
    """Numbers of the summary with which pytest ends.

    >>> count_outcomes(["FAILED tests/a.py - 3 passed", "2 failed, 10 passed, 30 deselected in 4.5s", ""])
    {'failed': 2, 'passed': 10, 'deselected': 30}
    """
    for line in reversed(lines):
        found = _COUNT.findall(line)
        if found and " in " in line:
            return {word: int(number) for number, word in found}
    return {}
