"""Which generations are joined: ten of a tier, so that a large one is not rewritten for a few small ones."""

from collections.abc import Sequence
from typing import Final

FAN_OUT: Final = 10
"""Generations of a tier that are joined to one."""
TIER_RATIO: Final = 5
"""A tier holds generations from a fifth of its largest one on."""


def plan_joins(sizes: Sequence[int], *, join_all: bool = False) -> list[range]:
    """Runs of adjacent generations to join, each of two or more, from left to right; they do not overlap.

    `sizes` are the frames of the generations, oldest first. The first tier reaches from the oldest generation to the
    last one that has a fifth of the frames of the largest one, or more; smaller ones between these belong to it. The
    next tier begins behind it. Each ten generations of a tier that follow each other are joined, and then the result is
    looked at again, as it may be one of ten of a larger tier. So a tier keeps at most nine generations, and tiers
    become smaller by a factor of five and more: at most nine times the number of tiers remain. With `join_all` all
    generations are one run.

    >>> plan_joins([1_000_000] + [1_000] * 9)
    []
    >>> plan_joins([1_000_000] + [1_000] * 12)
    [range(1, 11)]
    """
    if join_all:
        return [range(len(sizes))] if len(sizes) > 1 else []
    runs = [range(number, number + 1) for number in range(len(sizes))]
    while joined := _next_join([sum(sizes[number] for number in run) for run in runs]):
        runs[joined.start : joined.stop] = [range(runs[joined.start].start, runs[joined.stop - 1].stop)]
    return [run for run in runs if len(run) > 1]


def _next_join(sizes: Sequence[int]) -> range | None:
    """The first ten generations of the first tier that has ten; None where no tier has so many."""
    start = 0
    while start < len(sizes):
        least = max(sizes[start:]) / TIER_RATIO
        end = max(number for number in range(start, len(sizes)) if sizes[number] >= least) + 1
        if end - start >= FAN_OUT:
            return range(start, start + FAN_OUT)
        start = end
    return None
