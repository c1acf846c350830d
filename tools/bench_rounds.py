"""Interleaved rounds: every subject for a short slice of time in each, in rotated order, and what they say together.

A shared machine is up to twice as fast in one minute as in another. So figures are compared within a round, where
they are neighbours in time, and the median of the rounds is taken of the ratio, not the ratio of two medians.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from frame_cache_tools.bench_process import SourceFailedError
from frame_cache_tools.bench_slices import Slice


class Named(Protocol):
    """Anything with a name of its own."""

    @property
    def name(self) -> str:
        """Tells it from the others."""
        ...


Subject = TypeVar("Subject", bound=Named)


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
    """Why a subject is not measured any more."""
    seconds_spent: dict[str, float] = field(default_factory=dict)

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

    def peak_bytes(self, name: str) -> int | None:
        """Largest of the rounds' peaks."""
        peaks = [
            piece.peak_anonymous_bytes
            for piece in self.slices.get(name, {}).values()
            if piece.peak_anonymous_bytes is not None
        ]
        return max(peaks, default=None)


def rotated_order(subjects: Sequence[Subject], round_number: int, *, num_rounds: int) -> list[Subject]:
    """The subjects from another one on in each round, so that none always follows the same stretch of the run.

    >>> class Row:
    ...     def __init__(self, name): self.name = name
    >>> [row.name for row in rotated_order([Row("a"), Row("b"), Row("c"), Row("d")], 1, num_rounds=2)]
    ['c', 'd', 'a', 'b']
    """
    start = round_number * len(subjects) // num_rounds
    return [*subjects[start:], *subjects[:start]]


def run_rounds(
    subjects: Sequence[Subject],
    measure: Callable[[Subject], Slice],
    *,
    num_rounds: int,
    seconds_allowed: Callable[[Subject], float],
    into: Rounds,
    clock: Callable[[], float],
    say: Callable[[int, Subject], None],
) -> None:
    """Measure all subjects in `num_rounds` rounds, writing into `into` as it goes.

    A subject that has used up what it is allowed, set-up included, is not measured again, and neither is one
    that failed.
    """
    for number in range(num_rounds):
        for subject in rotated_order(subjects, number, num_rounds=num_rounds):
            spent = into.seconds_spent.get(subject.name, 0.0)
            if subject.name in into.failures or spent >= seconds_allowed(subject):
                continue
            say(number, subject)
            started = clock()
            try:
                piece = measure(subject)
            except SourceFailedError as error:
                into.failures[subject.name] = str(error)
                continue
            into.slices.setdefault(subject.name, {})[number] = piece
            into.seconds_spent[subject.name] = spent + clock() - started
