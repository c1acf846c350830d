"""Which places of a nested order a run of positions takes, and how far apart: by recursion over its tree (S65).

A node of n places has two children. The even positions of the node form the first child, of ceil(n / 2) places, and the
odd ones the second, of floor(n / 2). A fair coin says which of the two lies left. The part of a run that is in a child
is a run again. So both results of this module follow from those of the children: once for each length of a node and
each run in it, and there are few of these on every level.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from frame_store.shared import counted
from loader.bias.checks import Reals
from loader.errors import SamplingError

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Runs of positions that share none: start and number of each."""

_KEPT_PLACES: Final = 512
"""Nodes of at most so many places are kept between runs: at most 30 MB."""
_DIRECT_PLACES: Final = 64
"""Nodes of at most so many places are correlated without a Fourier transform."""


@dataclass(frozen=True, kw_only=True)
class RunOfTree:
    """Positions of a tree of n places, without a rotation, over all coins."""

    places: Reals
    """Probability that each place has one of the positions, shape (n,)."""
    distances: Reals
    """Expected number of pairs of the positions whose places are d apart, by d, shape (n,). A pair counts once."""


@dataclass(frozen=True, kw_only=True)
class TreeRuns:
    """The runs of trees. What is known of small nodes is kept between calls."""

    _known: dict[tuple[int, Runs], RunOfTree] = field(default_factory=dict)

    def run(self, num_places: int, start: int, num_positions: int) -> RunOfTree:
        """Positions `start`, ..., `start + num_positions - 1` of a tree of `num_places` places.

        A run that passes the last position goes on at the first. O(N log N) for N places.

        Raises:
            SamplingError: no place, a start outside the tree, or more positions than places.
        """
        if num_places < 1 or not 0 <= start < num_places or not 0 <= num_positions <= num_places:
            raise SamplingError(
                f"no run of {counted(num_positions, 'position')} from {start} in a tree of "
                f"{counted(num_places, 'place')}"
            )
        inside = min(num_positions, num_places - start)
        result = self._of(num_places, _without_empty(((start, inside), (0, num_positions - inside))))
        for node, runs in [key for key in self._known if key[0] > _KEPT_PLACES]:
            del self._known[node, runs]
        return result

    def _of(self, num_places: int, runs: Runs) -> RunOfTree:
        known = self._known.get((num_places, runs))
        if known is None:
            known = self._known[num_places, runs] = self._compute(num_places, runs)
        return known

    def _compute(self, num_places: int, runs: Runs) -> RunOfTree:
        num_positions = sum(number for _, number in runs)
        if num_positions == 0:
            return RunOfTree(places=np.zeros(num_places), distances=np.zeros(num_places))
        if num_positions == num_places:
            distances = np.arange(num_places, 0, -1.0)
            distances[0] = 0.0
            return RunOfTree(places=np.ones(num_places), distances=distances)
        size = (num_places + 1) // 2
        even = self._of(size, _without_empty(_half(run, 1) for run in runs))
        odd = self._of(num_places - size, _without_empty(_half(run, 0) for run in runs))
        places = np.zeros(num_places)
        places[:size] += even.places / 2
        places[size:] += odd.places / 2
        places[: num_places - size] += odd.places / 2
        places[num_places - size :] += even.places / 2
        distances = np.zeros(num_places)
        distances[:size] += even.distances
        distances[: num_places - size] += odd.distances
        if not even.places.any() or not odd.places.any():
            return RunOfTree(places=places, distances=distances)
        # The number of pairs by y - x, from y - x = 1 - size on, x in the first child and y in the second.
        pairs = _correlation(even.places, odd.places) / 2
        distances[1:] += pairs  # the first child lies left: size + y - x
        distances[1:] += pairs[::-1]  # the second does: (n - size) + x - y
        return RunOfTree(places=places, distances=distances)


def run_distance_law(
    num_items: int, *, start: int, num_positions: int, runs: TreeRuns | None = None
) -> Reals:
    """The expected number of ordered pairs of a run whose places are d apart, clockwise on the circle (S65).

    By d, float64, shape (N,). Entry 0 is 0, and the sum is M (M - 1). The rotation of the circle changes no distance.
    A run that passes the last position goes on at the first. `runs` keeps what is known of small nodes.

    Raises:
        SamplingError: no item, a start outside the order, or more positions than items.
    """
    distances = (runs or TreeRuns()).run(num_items, start, num_positions).distances
    by_distance = distances.copy()
    by_distance[1:] += distances[:0:-1]
    return by_distance


def _half(run: tuple[int, int], shift: int) -> tuple[int, int]:
    """The part of a run that has even positions (`shift` 1) or odd ones (0), numbered inside the child."""
    start, number = run
    first = (start + shift) // 2
    return first, (start + number + shift) // 2 - first


def _without_empty(runs: Iterable[tuple[int, int]]) -> Runs:
    return tuple(run for run in runs if run[1])


def _correlation(first: Reals, second: Reals) -> Reals:
    """The sum over x of first[x] second[x + k], by k from 1 - len(first) on: shape (len(first) + len(second) - 1,)."""
    if len(first) <= _DIRECT_PLACES:
        return np.convolve(first[::-1], second)
    length = len(first) + len(second) - 1
    padded = _quick_length(length)
    product = np.fft.rfft(first[::-1], padded) * np.fft.rfft(second, padded)
    correlation: Reals = np.maximum(np.fft.irfft(product, padded)[:length], 0)
    return correlation


def _quick_length(length: int) -> int:
    """The least length with small prime factors that is at least `length`: its Fourier transform is quick."""
    return min(
        factor << max(0, (-(-length // factor) - 1).bit_length()) for factor in (1, 3, 5, 9, 15, 25, 45)
    )
