"""Two visits of a batch of spread anchors: how often they meet on a shard, and on which two shards they fall (S29).

Shards are arcs of a circle, and a visit falls on the shard of its point (`spread_points`). Two points whose numbers
differ by an odd multiple of 2^v lie in the two halves of an arc of length h = 2^-v, independent and uniform there, and
the circle is turned at random. So the way from one to the other has a triangular density on (0, h), peaked at h / 2,
in either direction alike.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Reals, check_distribution
from loader.bias.nested import level_shares

MAX_SHARDS: Final = 1024
"""Shards up to which the pairs of shards of two visits are computed one by one: a second on one core."""

_ROWS_AT_ONCE: Final = 256


def meetings_of_visits(shard_probability: npt.ArrayLike, *, num_visits: int) -> Reals:
    """Probability that two distinct visits of K neighbouring ones both fall on shard s, shape (S,); K of 2 or more.

    `shard_probability`, shape (S,), are the lengths of the arcs. Their order does not matter here.

    Raises:
        SamplingError: not a distribution.
    """
    arcs, shares = check_distribution(shard_probability), level_shares(num_visits)
    to_zero = _second_integral(np.zeros(1), shares)
    meetings: Reals = np.maximum(2 * (_second_integral(arcs, shares) - to_zero), 0)
    return meetings


def pairs_of_visits(shard_probability: npt.ArrayLike, *, num_visits: int) -> Iterator[tuple[slice, Reals]]:
    """P(s, t) of two distinct visits of K neighbouring ones, some rows at a time: the rows, and shape (rows, S).

    The sum is 1, each row s sums to the length of its arc, and P(s, t) = P(t, s).

    Raises:
        SamplingError: not a distribution.
    """
    arcs, shares = check_distribution(shard_probability), level_shares(num_visits)
    ends = np.concatenate([[0.0], np.cumsum(arcs)])
    for first in range(0, len(arcs), _ROWS_AT_ONCE):
        rows = slice(first, min(first + _ROWS_AT_ONCE, len(arcs)))
        own = ends[rows.start : rows.stop + 1]
        integral = _second_integral(ends - own[:, None], shares)
        pairs = integral[:-1, 1:] - integral[1:, 1:] - integral[:-1, :-1] + integral[1:, :-1]
        yield rows, np.maximum(pairs, 0)


def _second_integral(distance: Reals, shares: Reals) -> Reals:
    """A function whose second derivative is the density of the way from a visit to another, between -1 and 1 turns.

    The density is the same on both sides of 0. At a way of d >= 0 it is half the triangle's at d and half at 1 - d.
    """
    way = np.abs(distance)
    total: Reals = way / 2 * shares.sum()
    for level, share in enumerate(shares):
        arc = 0.5**level
        total = total + share / 2 * (_of_triangle(way, arc) + _of_triangle(1 - way, arc))
    return total


def _of_triangle(distance: Reals, arc: float) -> Reals:
    """The second integral of the triangular density on (0, arc), 0 on the left; no large numbers cancel."""
    cubic = 2 / (3 * arc**2)
    left = cubic * np.clip(distance, 0, arc / 2) ** 3
    right = distance - arc / 2 + cubic * np.clip(arc - distance, 0, arc / 2) ** 3
    return np.where(distance < arc / 2, left, right)
