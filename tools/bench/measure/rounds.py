"""The results of interleaved rounds, in each of which every case is measured for a short slice of time.

A shared machine is up to twice as fast in one minute as in another. Two cases are therefore compared within a round,
where they are neighbours in time: the result is the median of these ratios, not the ratio of two medians.
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
        """The spread of some values; None where there are none.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, smallest=1.0, largest=3.0)
        """
        if not values:
            return None
        return cls(median=statistics.median(values), smallest=min(values), largest=max(values))


@dataclass(kw_only=True)
class Rounds:
    """The results so far. They stay complete when the run is interrupted."""

    slices: dict[str, dict[int, Slice]] = field(default_factory=dict)
    """By name and round."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons, by name, of cases that are not measured again."""
    no_time: dict[str, str] = field(default_factory=dict)
    """Reasons, by name, of cases that were never measured because time was short."""
    seconds_spent: dict[str, float] = field(default_factory=dict)
    last_seconds: dict[str, float] = field(default_factory=dict)
    """Duration of the last measurement of each case, set-up included."""
    slowest: dict[tuple[str, int], float] = field(default_factory=dict)
    """Longest duration of a measurement, by group and priority."""

    def rates(self, name: str) -> dict[int, float]:
        """Images per second of each round."""
        return {number: piece.images_per_second for number, piece in self.slices.get(name, {}).items()}

    def rate(self, name: str) -> Spread | None:
        """Images per second over the rounds."""
        return Spread.of(list(self.rates(name).values()))

    def ratio(self, name: str, other: str) -> Spread | None:
        """Speed relative to another case, over the rounds in which both were measured."""
        ours, theirs = self.rates(name), self.rates(other)
        return Spread.of([ours[number] / theirs[number] for number in ours if number in theirs])

    def first_batch(self, name: str) -> Spread | None:
        """Seconds to the first batch over the rounds that have one."""
        return Spread.of(
            [
                piece.seconds_to_first_batch
                for piece in self.slices.get(name, {}).values()
                if piece.seconds_to_first_batch is not None
            ]
        )

    def figures(self, name: str) -> dict[str, float]:
        """Medians over the rounds of the additional figures, by name."""
        pieces = [piece.figures for piece in self.slices.get(name, {}).values()]
        names = dict.fromkeys(each for figures in pieces for each in figures)
        return {
            each: statistics.median(figures[each] for figures in pieces if each in figures) for each in names
        }

    def peak_bytes(self, name: str) -> int | None:
        """Largest peak of all rounds."""
        peaks = [
            piece.peak_anonymous_bytes
            for piece in self.slices.get(name, {}).values()
            if piece.peak_anonymous_bytes is not None
        ]
        return max(peaks, default=None)
