"""An order of points in which neighbours are alike: halves of halves, each across the widest axis of its points."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.content_order.whole_axes import as_whole, whole_vectors, widest_axes

Int64s = npt.NDArray[np.int64]

COORDINATE_BITS: Final = 11
"""Coordinates lie in [-2^11, 2^11). Squares of their differences, summed over 2^16 points, stay below 2^53."""

MAX_POINTS: Final = 1 << 32
"""A place has 32 bits of a key, a projection the others."""

_AXIS_BITS: Final = 7
_NUM_ROUNDS: Final = 8
_POINTS_AT_ONCE: Final = 1 << 16
_MEAN_BITS: Final = 3
"""Bits after the point in the mean of a node."""

_PLACE_MASK: Final = MAX_POINTS - 1


def num_levels(num_points: int) -> int:
    """How often the nodes of so many points are cut."""
    return max(0, (num_points - 1).bit_length() - 1)


def bisected(
    coordinates: npt.NDArray[np.int16], *, progress: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.uint32]:
    """The places 0 to N - 1 of points in an order in which neighbours are alike.

    All points are a node. A node of n > 2 points is cut across the widest axis of its points: the ceil(n / 2) lowest
    ones along the axis become its first half, in the order, and the others its second half. Of equal points, those of
    lower places are lower. All nodes of a level are cut together. An axis points from the node before to the node
    after, around the circle of nodes, so that like halves meet where nodes meet. Nodes of one or two points are in the
    order of places.

    All of it is done in whole numbers: the same coordinates give the same order everywhere.

    Memory beside the coordinates: 4 bytes a point for the order, and 3 P + 8 bytes for each node of a level, which are
    at most N / 2; in all at most 4 + (3 P + 8) / 2 bytes a point and some 50 MB.

    Args:
        coordinates: shape (N, P), N from 1 to 2^32, P at most 64, each in [-2^11, 2^11).
        progress: called with 1 after each level; there are `num_levels`.

    Returns:
        uint32, shape (N,).
    """
    num_points = len(coordinates)
    assert 0 < num_points <= MAX_POINTS
    order = np.arange(num_points, dtype=np.uint32)
    starts = np.array([0, num_points], np.int64)
    while int(np.diff(starts).max()) > 2:
        starts = _cut_level(coordinates, order, starts)
        progress(1)
    for nodes, size in _nodes_by_size(starts):
        if size == 2:
            order[starts[nodes][:, None] + np.arange(2)] = np.sort(
                order[starts[nodes][:, None] + np.arange(2)], axis=1
            )
    return order


def _cut_level(coordinates: npt.NDArray[np.int16], order: npt.NDArray[np.uint32], starts: Int64s) -> Int64s:
    """Cut every node of a level with more than two points, within `order`; the starts of the next level."""
    sizes = np.diff(starts)
    means = np.zeros((len(sizes), coordinates.shape[1]), np.int16)
    axes = np.zeros((len(sizes), coordinates.shape[1]), np.int8)
    for nodes, size in _nodes_by_size(starts):
        sums, axes[nodes] = _axes_of_nodes(coordinates, order, starts[nodes], size)
        means[nodes] = (sums << _MEAN_BITS) // size
    _point_onwards(axes, means)
    for nodes, size in _nodes_by_size(starts):
        if size > 2:
            _cut_nodes(coordinates, order, starts[nodes], size, axes[nodes])
    halves = starts[:-1] + (sizes + 1) // 2
    return np.unique(np.concatenate([starts, halves[sizes > 2]]))


def _nodes_by_size(starts: Int64s) -> Iterator[tuple[Int64s, int]]:
    """Nodes of one size, some at a time, with that size: a level has at most two sizes."""
    sizes = np.diff(starts)
    for size in np.unique(sizes).tolist():
        nodes = np.flatnonzero(sizes == size)
        step = max(1, _POINTS_AT_ONCE // size)
        for first in range(0, len(nodes), step):
            yield nodes[first : first + step], size


def _points_of(
    coordinates: npt.NDArray[np.int16], order: npt.NDArray[np.uint32], starts: Int64s, size: int
) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.int16]]]:
    """Places, shape (G, n), and coordinates, shape (G, n, P), of all points of G nodes, in parts of few points."""
    for first in range(0, size, _POINTS_AT_ONCE):
        within = np.arange(first, min(first + _POINTS_AT_ONCE, size))
        places = order[starts[:, None] + within]
        yield places, coordinates[places]


def _axes_of_nodes(
    coordinates: npt.NDArray[np.int16], order: npt.NDArray[np.uint32], starts: Int64s, size: int
) -> tuple[Int64s, npt.NDArray[np.int8]]:
    """Sums of coordinates and widest axes of nodes of one size, shape (G, P) each."""
    sums = sum(
        points.sum(axis=1, dtype=np.int64) for _, points in _points_of(coordinates, order, starts, size)
    )
    centres = (sums // size)[:, None, :]
    covariances = np.zeros(1, np.int64)
    for _, points in _points_of(coordinates, order, starts, size):
        centred = (points - centres).astype(np.float64)
        covariances = covariances + as_whole(
            centred.transpose(0, 2, 1) @ centred
        )  # exact: see COORDINATE_BITS
    widest = widest_axes(covariances, num_rounds=_NUM_ROUNDS)
    return sums, whole_vectors(widest[:, :, None], bits=_AXIS_BITS)[:, :, 0].clip(-127, 127).astype(np.int8)


def _point_onwards(axes: npt.NDArray[np.int8], means: npt.NDArray[np.int16]) -> None:
    """Choose the sign of each axis: it points from the mean of the node before to that of the node after."""
    ahead = np.roll(means, -1, axis=0).astype(np.int64) - np.roll(means, 1, axis=0)
    along = (ahead * axes).sum(axis=1)
    first = np.take_along_axis(axes, np.argmax(axes != 0, axis=1)[:, None], axis=1)[:, 0]
    axes[(along < 0) | ((along == 0) & (first < 0))] *= -1


def _cut_nodes(
    coordinates: npt.NDArray[np.int16],
    order: npt.NDArray[np.uint32],
    starts: Int64s,
    size: int,
    axes: npt.NDArray[np.int8],
) -> None:
    """Put the lower half of each node before the other."""
    keys = np.concatenate(
        [
            (
                # Exact: every partial sum is a whole number below 2^53.
                as_whole(points.astype(np.float64) @ axes.astype(np.float64)[:, :, None])[:, :, 0] << 32
            )
            | places
            for places, points in _points_of(coordinates, order, starts, size)
        ],
        axis=1,
    )
    keys.partition((size + 1) // 2 - 1, axis=1)
    order[starts[:, None] + np.arange(size)] = (keys & _PLACE_MASK).astype(np.uint32)
