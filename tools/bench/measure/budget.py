"""The time budget of a run of `cache-bench`, and its deadlines for preparing and measuring."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_SHARE_TO_PREPARE = 0.4
_SHARE_TO_PREPARE_MOST = 0.55
_SHARE_TO_END = 0.125
_MOST_SECONDS_TO_END = 15.0


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A moment of a clock, and the time until then."""

    at: float
    """Seconds of `clock`; `inf` for never."""
    clock: Callable[[], float]

    @property
    def is_never(self) -> bool:
        """Whether there is no limit."""
        return math.isinf(self.at)

    def left(self) -> float:
        """Seconds until then; 0 after it."""
        return max(0.0, self.at - self.clock())


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The time of a whole run: preparing, measuring, ending processes and removing files."""

    seconds: float
    """`inf` for no limit."""
    started_at: float
    clock: Callable[[], float]

    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started_at

    @property
    def preparing(self) -> Deadline:
        """When all preparing must end, of caches and samples: after two fifths of the budget."""
        return self._after(self.seconds * _SHARE_TO_PREPARE)

    @property
    def preparing_what_matters_most(self) -> Deadline:
        """When the preparing of the videos and of the first cache must end: a later moment, as most rows need them."""
        return self._after(self.seconds * _SHARE_TO_PREPARE_MOST)

    @property
    def measuring(self) -> Deadline:
        """The deadline of the last measurement.

        An eighth of the budget, 15 s at most, remains to end processes, remove files, print and leave the interpreter.

        >>> Budget(seconds=120, started_at=5, clock=lambda: 15).measuring.left()
        95.0
        """
        return self._after(self.seconds - min(_MOST_SECONDS_TO_END, self.seconds * _SHARE_TO_END))

    def _after(self, seconds: float) -> Deadline:
        return Deadline(at=self.started_at + seconds, clock=self.clock)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A row or cache that was asked for and was not measured."""

    name: str
    reason: str
