"""What a check on a GPU found: one line of JSON each, written as soon as it is known, and a table of all."""

import json
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, get_args

Status = Literal["measured", "ok", "failed", "skipped", "error"]
"""A figure or fact; a check that holds; one that does not; what could not run here, and why; what broke."""

BAD: Final = ("failed", "error")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is known now."""

    step: str
    name: str
    status: Status
    value: Any = None
    """A number, a word, or whatever JSON takes; None where there is nothing to tell."""
    unit: str = ""
    target: str = ""
    """What a check wanted, in words."""
    detail: str = ""
    """The reason of a skip, the text of an error, what a figure is made of."""
    data: dict[str, Any] = field(default_factory=dict)
    """Further figures, for the file alone."""

    def __post_init__(self) -> None:
        """Check the status, and what needs a reason.

        Raises:
            ValueError: an unknown status, or a skip or an error without a reason.
        """
        if self.status not in get_args(Status):
            raise ValueError(f"status must be one of {', '.join(get_args(Status))}, found {self.status!r}")
        if self.status in ("skipped", "error") and not self.detail:
            raise ValueError(f"{self.step}, {self.name}: what is {self.status} must say why")

    def to_line(self) -> str:
        """One line of JSON. What JSON does not know is written as text."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_line(cls, line: str) -> "Finding":
        """The finding of a line that `to_line` wrote.

        Raises:
            ValueError: it did not.
        """
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(f"not a finding: {line[:200]!r}") from error

    def text(self) -> str:
        """For a terminal, one line."""
        found = " ".join(filter(None, (value_text(self.value), self.unit)))
        wanted = f"(target: {self.target})" if self.target else ""
        return " ".join(
            filter(None, (f"{self.status:8} {self.step}: {self.name}", found, wanted, self.detail))
        )


class Skip(Exception):
    """Raised inside `Findings.part`: this cannot run here, and why."""


class Findings:
    """Writes findings of one step; each is in the file when the call returns."""

    def __init__(self, step: str, path: Path) -> None:
        self._step = step
        self._path = path

    def add(self, name: str, status: Status, value: Any = None, **more: Any) -> None:  # noqa: ANN401 - see Finding
        """Write a finding; `more` are fields of `Finding`."""
        append_finding(self._path, Finding(step=self._step, name=name, status=status, value=value, **more))

    def measured(self, name: str, value: Any, unit: str = "", **more: Any) -> None:  # noqa: ANN401 - see Finding
        """A figure or a fact."""
        self.add(name, "measured", value, unit=unit, **more)

    def check(self, name: str, holds: bool, value: Any = None, *, target: str, **more: Any) -> None:  # noqa: ANN401
        """Something that must hold."""
        self.add(name, "ok" if holds else "failed", value, target=target, **more)

    def skipped(self, name: str, reason: str) -> None:
        """Something that cannot run here."""
        self.add(name, "skipped", detail=reason)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Let what is raised inside become a finding.

        `Skip` is a skip, and so is a package of others that is not installed; every other exception is an error.
        """
        try:
            yield
        except Skip as skip:
            self.skipped(name, str(skip) or "no reason given")
        except Exception as error:  # noqa: BLE001 - that is the point
            traceback.print_exc()
            if isinstance(error, ModuleNotFoundError) and not _is_ours(error.name or ""):
                self.skipped(name, f"{error.name} is not installed")
            else:
                self.add(name, "error", detail=error_text(error))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {"frame_store", "cache_builder", "loader", "frame_cache_tools"}


def append_finding(path: Path, finding: Finding) -> None:
    """Write one line at the end of `path`, behind what a killed process may have left unfinished there."""
    with path.open("a+b") as file:
        is_unfinished = file.seek(0, os.SEEK_END) > 0
        if is_unfinished:
            file.seek(-1, os.SEEK_END)
            is_unfinished = file.read(1) != b"\n"
        file.write(("\n" if is_unfinished else "").encode() + finding.to_line().encode() + b"\n")


def read_findings(path: Path) -> list[Finding]:
    """All findings of a file; a line that a killed process left unfinished is passed over."""
    found: list[Finding] = []
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(Finding.from_line(line))
        except ValueError:
            continue
    return found


def error_text(error: BaseException) -> str:
    """Kind and first line of an exception, and where it was raised.

    >>> try:
    ...     raise ValueError("too small")
    ... except ValueError as error:
    ...     error_text(error).partition(" at ")[0]
    'ValueError: too small'
    """
    lines = str(error).strip().splitlines()
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}{place}"


def value_text(value: Any) -> str:  # noqa: ANN401 - see Finding
    """A value as a table shows it.

    >>> [value_text(value) for value in (None, True, 3, 0.123456, 1234.5678, 150528.0, "cuda", [1, 2])]
    ['', 'yes', '3', '0.123', '1235', '150528', 'cuda', '1, 2']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return str(value)


def markdown_table(findings: Sequence[Finding], *, head: Sequence[str]) -> str:
    """All findings by step, `head` (machine, date) above, and how many of each kind there are below."""
    lines = [*head, ""]
    for step, group in groupby(findings, key=lambda finding: finding.step):
        lines += [f"## {step}", "", "| | found | target | status | |", "| --- | ---: | --- | --- | --- |"]
        for finding in group:
            found = " ".join(filter(None, (value_text(finding.value), finding.unit)))
            cells = (finding.name, found, finding.target, finding.status, finding.detail)
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines.append("")
    return "\n".join([*lines, counts_text(findings), ""])


def counts_text(findings: Sequence[Finding]) -> str:
    """How many findings of each kind.

    >>> counts_text([Finding(step="a", name="b", status="ok")])
    '1 ok, 0 failed, 0 errors, 0 skipped, 0 measured'
    """
    count = {status: sum(finding.status == status for finding in findings) for status in get_args(Status)}
    return (
        f"{count['ok']} ok, {count['failed']} failed, {count['error']} errors, {count['skipped']} skipped, "
        f"{count['measured']} measured"
    )


def _cell(text: str, most: int = 160) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a step is told."""

    work: Path
    """Scratch folder that the steps share."""
    videos: Path | None = None
    """Videos of the user."""
    device: str = "cuda"
    """`cuda`; or `cpu`, on which most steps can be rehearsed."""
    quick: bool = False
    """Smaller samples and shorter slices."""
    deadline: float = float("inf")
    """By `time.monotonic`, which is one for all processes of a Linux machine."""

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return self.deadline - time.monotonic()

    def check_time(self, seconds: float = 0.0) -> None:
        """Go on only where so many seconds are left.

        Raises:
            Skip: they are not.
        """
        if self.seconds_left < seconds:
            raise Skip(f"the step has {max(0.0, self.seconds_left):.0f} s left, this takes {seconds:.0f}")
