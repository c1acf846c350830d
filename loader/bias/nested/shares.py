"""The share of the variance that is left inside stretches of neighbouring places on a circle, w_j of SAMPLING.md."""

from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Reals, check_distribution
from loader.errors import SamplingError

_VALUES_AT_ONCE: Final = 1 << 22
"""Values of a block of columns: 32 MB of float64."""


def circular_autocovariance(features_in_order: Reals) -> Reals:
    """R(d), the mean of <x_p - G, x_(p+d) - G> over the places p of a circle, for the lags d = 0, ..., N - 1 (S65).

    `features_in_order`, shape (N, D), has a row for each place, in the order of the circle. float64, shape (N,). R(0)
    is the variance over all frames, and R(d) = R(N - d). O(N D log N), by the spectrum, a block of columns at a time.

    Raises:
        SamplingError: no frame, or not shape (N, D).
    """
    num_places = _num_places(features_in_order)
    power = np.zeros(num_places // 2 + 1)
    for columns in _blocks_of_columns(features_in_order):
        power += np.square(np.abs(np.fft.rfft(columns - columns.mean(axis=0), axis=0))).sum(axis=1)
    by_lag: Reals = np.fft.irfft(power, num_places) / num_places
    return by_lag


def shares_left(features_in_order: Reals, *, num_levels: int) -> Reals:
    """w_0, ..., w_J: the share of the variance inside stretches of N / 2^j neighbouring places (S64).

    The mean over all N stretches of the circle, float64, shape (J + 1,), J = `num_levels`. w_0 is 1. Variances are
    divided by counts. O(N D) for each j, by running sums, a block of columns at a time.

    Args:
        features_in_order: a row for each place, shape (N, D), in the order of the circle.
        num_levels: J.

    Raises:
        SamplingError: 2^J does not divide N, no frame, or all frames are alike.
    """
    num_places = _num_places(features_in_order)
    if num_levels < 0 or num_places % (1 << num_levels):
        raise SamplingError(
            f"{counted(num_places, 'place')} cannot be halved {counted(num_levels, 'time')} into equal stretches"
        )
    variance, of_means = 0.0, np.zeros(num_levels + 1)
    for columns in _blocks_of_columns(features_in_order):
        centred = columns - columns.mean(axis=0)
        variance += float(np.square(centred).sum()) / num_places
        sums = np.concatenate([np.zeros((1, centred.shape[1])), np.cumsum(centred, axis=0)])
        for halvings in range(num_levels + 1):
            size = num_places >> halvings
            inside = np.square(sums[size:] - sums[:-size]).sum()  # stretches that do not pass the seam
            over_seam = np.square(sums[-1] - sums[-size:-1] + sums[1:size]).sum()
            of_means[halvings] += float(inside + over_seam) / (num_places * size**2)
    if variance <= 0:
        raise SamplingError("all frames are equal: there is no variance to divide")
    shares: Reals = np.maximum(1 - of_means / variance, 0)
    return shares


def shares_left_of_arcs(arcs: npt.ArrayLike, means: Reals, *, num_levels: int) -> Reals:
    """w_0, ..., w_J of a function on a continuous circle that has one value on each of S neighbouring arcs (S67).

    The share of its variance inside stretches of a 2^j-th of the circle, in the mean over a uniform start of the
    stretch. float64, shape (J + 1,), J = `num_levels`. w_0 is 1. The variance is that between arcs, sum_s a_s
    |mu_s - G|^2, where a_s is the length of an arc.

    The integral of the function over a stretch is linear in the start between the 2 S starts at which one of its ends
    meets the end of an arc. So the mean of its square is a sum over 2 S pieces. O(S (D + log S)) for each j.

    Args:
        arcs: lengths, shape (S,), in the order of the circle. Their sum is 1; an arc may be empty.
        means: the value on each arc, shape (S, D).
        num_levels: J.

    Raises:
        SamplingError: not lengths that make a circle, another number of values, or the arcs are all alike.
    """
    lengths = check_distribution(arcs)
    if _num_places(means) != len(lengths):
        raise SamplingError(f"{counted(len(means), 'value')} for {counted(len(lengths), 'arc')}")
    held = lengths > 0
    lengths, means = lengths[held] / lengths.sum(), means[held]
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    ends[-1] = 1.0
    starts_by_halving = [_turning_points(ends, 0.5**halvings) for halvings in range(num_levels + 1)]
    variance, of_means = 0.0, np.zeros(num_levels + 1)
    for columns in _blocks_of_columns(means):
        centred = columns - lengths @ columns
        variance += float(lengths @ np.square(centred).sum(axis=1))
        integral = np.concatenate(
            [np.zeros((1, centred.shape[1])), np.cumsum(lengths[:, None] * centred, axis=0)]
        )
        for halvings, starts in enumerate(starts_by_halving):
            size = 0.5**halvings
            over = _integral_at(starts + size, ends, integral, centred) - _integral_at(
                starts, ends, integral, centred
            )
            left, right, widths = over[:-1], over[1:], np.diff(starts)
            of_piece = (np.square(left) + left * right + np.square(right)).sum(axis=1) / 3
            of_means[halvings] += float(widths @ of_piece) / size**2
    if variance <= 0:
        raise SamplingError("all frames are equal: there is no variance to divide")
    shares: Reals = np.maximum(1 - of_means / variance, 0)
    shares[0] = 1.0
    return shares


def _turning_points(ends: Reals, size: float) -> Reals:
    """Starts in [0, 1] of a stretch of `size` between which its integral is linear, sorted."""
    return np.unique(np.concatenate([ends, (ends - size) % 1.0]))


def _integral_at(points: Reals, ends: Reals, integral: Reals, values: Reals) -> Reals:
    """The integral of the function from 0 to each point in [0, 2]. Its integral over the whole circle is 0."""
    on_circle = np.where(points >= 1, points - 1, points)
    arc = np.clip(np.searchsorted(ends, on_circle, side="right") - 1, 0, len(values) - 1)
    reached: Reals = integral[arc] + (on_circle - ends[arc])[:, None] * values[arc]
    return reached


def _num_places(features: Reals) -> int:
    if features.ndim != 2 or not features.size:
        raise SamplingError(f"expected a row of features for each place, found shape {features.shape}")
    return len(features)


def _blocks_of_columns(features: Reals) -> list[Reals]:
    """Neighbouring columns, as float64, each block of at most `_VALUES_AT_ONCE` values."""
    at_once = max(1, _VALUES_AT_ONCE // len(features))
    return [
        np.asarray(features[:, first : first + at_once], np.float64)
        for first in range(0, features.shape[1], at_once)
    ]
