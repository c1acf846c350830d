"""The seconds that a run of `cache-bench` may take: all of them, those to prepare in, those to measure in."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_SHARE_TO_PREPARE = 0.4
_SHARE_TO_PREPARE_MOST = 0.55
_SHARE_TO_END = 0.125
_MOST_SECONDS_TO_END = 15.0


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """A moment of a clock, and how long it is until then."""

    at: float
    """Seconds of `clock`; `inf` for never."""
    clock: Callable[[], float]

    @property
    def is_never(self) -> bool:
        """Whether there is time without end."""
        return math.isinf(self.at)

    def left(self) -> float:
        """Seconds until then, 0 once it is past."""
        return max(0.0, self.at - self.clock())


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may take, from its start to its end: what it prepares, measures, ends and removes."""

    seconds: float
    """`inf` for as long as it takes."""
    started_at: float
    clock: Callable[[], float]

    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started_at

    @property
    def preparing(self) -> Deadline:
        """When all is to be there that is measured: after two fifths of the budget."""
        return self._after(self.seconds * _SHARE_TO_PREPARE)

    @property
    def preparing_what_matters_most(self) -> Deadline:
        """When the videos and one cache are to be there at the latest."""
        return self._after(self.seconds * _SHARE_TO_PREPARE_MOST)

    @property
    def measuring(self) -> Deadline:
        """When the last measurement is to be over.

        An eighth of the budget, 15 s at most, is kept to end processes, remove files, print and leave the interpreter.

        >>> Budget(seconds=120, started_at=5, clock=lambda: 15).measuring.left()
        95.0
        """
        return self._after(self.seconds - min(_MOST_SECONDS_TO_END, self.seconds * _SHARE_TO_END))

    def _after(self, seconds: float) -> Deadline:
        return Deadline(at=self.started_at + seconds, clock=self.clock)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What was asked for and is not in the figures."""

    name: str
    reason: str
