"""The progress of a command, on stderr: a bar on a terminal, lines from time to time in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import click

from cache_builder.progress import Progress
from frame_store.shared import without_controls

FIRST_LINE_SECONDS: Final = 30.0
MOST_SECONDS: Final = 600.0
SECONDS_WORTH_AN_END: Final = 2.0


class ShownProgress(Progress, Protocol):
    """A progress that is shown, and can be closed."""

    def close(self) -> None:
        """End the current stage, so that later output is printed below it."""
        ...


@contextmanager
def shown_progress() -> Iterator[ShownProgress]:
    """Progress on stderr: bars on a terminal, lines elsewhere, as in the log of a batch job."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    progress = TerminalProgress() if is_terminal else LogProgress(clock=time.monotonic, say=_say)
    try:
        yield progress
    finally:
        progress.close()


def _say(line: str) -> None:
    click.echo(without_controls(line, kept="\n"), err=True)


class TerminalProgress:
    """A bar for each stage."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Progress`."""
        from tqdm import tqdm

        self.close()
        self._bar = tqdm(total=total, desc=stage, unit=f" {unit}", smoothing=0.05, file=sys.stderr)

    def advance(self, steps: int) -> None:
        """See `Progress`."""
        self._bar.update(steps)

    def note(self, line: str) -> None:
        """See `Progress`."""
        self.close()
        _say(line)

    def close(self) -> None:
        """See `ShownProgress`."""
        if self._bar is not None:
            self._bar.close()


class LogProgress:
    """A line when a stage begins, one after 30 seconds, then more and more rarely, and one when it ends.

    The next line comes after a tenth of the time that the stage has taken, at least 30 seconds and at most 10 minutes.
    A stage of less than two seconds gets no line at its end. Lines are printed after steps, so a long step is silent.
    """

    def __init__(self, *, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        """`clock` gives seconds, `say` takes one line."""
        self._clock = clock
        self._say = say
        self._stage: _Stage | None = None

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Progress`."""
        self.close()
        self._stage = _Stage(stage, total=total, unit=unit, started=self._clock())
        self._say(f"{stage}: {total:,} {unit if total != 1 else unit.removesuffix('s')}")

    def advance(self, steps: int) -> None:
        """See `Progress`."""
        if self._stage is not None:
            line = self._stage.advance(steps, now=self._clock())
            if line is not None:
                self._say(line)

    def note(self, line: str) -> None:
        """See `Progress`."""
        self._say(line)

    def close(self) -> None:
        """See `ShownProgress`."""
        if self._stage is not None:
            line = self._stage.last_line(now=self._clock())
            if line is not None:
                self._say(line)
        self._stage = None


class _Stage:
    """Counts of one stage. Steps in its first second were done by an earlier build that this one resumes."""

    def __init__(self, name: str, *, total: int, unit: str, started: float) -> None:
        self._name = name
        self._total = total
        self._unit = unit
        self._started = started
        self._done = 0
        self._next_line = started + FIRST_LINE_SECONDS
        self._base_time = started
        self._base_done = 0

    def advance(self, steps: int, *, now: float) -> str | None:
        """The line that is due; None if none is."""
        self._done += steps
        if now < self._started + 1:
            self._base_time, self._base_done = now, self._done
        if now < self._next_line:
            return None
        seconds = now - self._started
        self._next_line = now + min(max(FIRST_LINE_SECONDS, seconds / 10), MOST_SECONDS)
        rate = self._rate(now)
        left = (
            f", {time_text((self._total - self._done) / rate)} left"
            if rate and self._done < self._total
            else ""
        )
        return f"{self._how_far()} after {time_text(seconds)}{self._rate_text(rate)}{left}"

    def last_line(self, *, now: float) -> str | None:
        """How the stage ended; None for a short one."""
        seconds = now - self._started
        if seconds < SECONDS_WORTH_AN_END:
            return None
        return f"{self._how_far()} in {time_text(seconds)}{self._rate_text(self._rate(now))}"

    def _how_far(self) -> str:
        share = f" ({100 * self._done // self._total}%)" if self._total else ""
        return f"{self._name}: {self._done:,} of {self._total:,} {self._unit}{share}"

    def _rate(self, now: float) -> float:
        """Steps a second; 0 before the first step."""
        seconds = now - self._base_time
        return (self._done - self._base_done) / seconds if seconds > 0 else 0.0

    def _rate_text(self, rate: float) -> str:
        if not rate:
            return ""
        return f", {rate:,.0f} {self._unit}/s" if rate >= 10 else f", {rate:.2g} {self._unit}/s"


def time_text(seconds: float) -> str:
    """A time as text.

    >>> time_text(42.4), time_text(150), time_text(7500)
    ('42 s', '2 min 30 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
