"""Interleaved rounds: every case for a short slice of time in each, in rotated order, and what they say together.

A shared machine is up to twice as fast in one minute as in another. So figures are compared within a round, where
they are neighbours in time, and the median of the rounds is taken of the ratio, not the ratio of two medians.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from frame_cache_tools.bench.measure.slices import Slice


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median of some figures, with the smallest and the largest."""

    median: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Of figures; None of none.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, smallest=1.0, largest=3.0)
        """
        if not values:
            return None
        return cls(median=statistics.median(values), smallest=min(values), largest=max(values))


@dataclass(kw_only=True)
class Rounds:
    """What has been measured so far; an interruption leaves it whole."""

    slices: dict[str, dict[int, Slice]] = field(default_factory=dict)
    """By name and round."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a case is not measured any more."""
    no_time: dict[str, str] = field(default_factory=dict)
    """Why a case that was never measured was not, where time was short."""
    seconds_spent: dict[str, float] = field(default_factory=dict)
    last_seconds: dict[str, float] = field(default_factory=dict)
    """What each took the last time, set-up included."""
    slowest: dict[tuple[str, int], float] = field(default_factory=dict)
    """The longest that any of a group and priority took."""

    def rates(self, name: str) -> dict[int, float]:
        """Images per second of each round."""
        return {number: piece.images_per_second for number, piece in self.slices.get(name, {}).items()}

    def rate(self, name: str) -> Spread | None:
        """Images per second over the rounds."""
        return Spread.of(list(self.rates(name).values()))

    def ratio(self, name: str, other: str) -> Spread | None:
        """How many times as fast as another, over the rounds in which both were measured."""
        ours, theirs = self.rates(name), self.rates(other)
        return Spread.of([ours[number] / theirs[number] for number in ours if number in theirs])

    def first_batch(self, name: str) -> Spread | None:
        """Seconds to the first batch over the rounds in which one came."""
        return Spread.of(
            [
                piece.seconds_to_first_batch
                for piece in self.slices.get(name, {}).values()
                if piece.seconds_to_first_batch is not None
            ]
        )

    def figures(self, name: str) -> dict[str, float]:
        """Medians over the rounds of the further figures, by name."""
        pieces = [piece.figures for piece in self.slices.get(name, {}).values()]
        names = dict.fromkeys(each for figures in pieces for each in figures)
        return {
            each: statistics.median(figures[each] for figures in pieces if each in figures) for each in names
        }

    def peak_bytes(self, name: str) -> int | None:
        """Largest of the rounds' peaks."""
        peaks = [
            piece.peak_anonymous_bytes
            for piece in self.slices.get(name, {}).values()
            if piece.peak_anonymous_bytes is not None
        ]
        return max(peaks, default=None)
