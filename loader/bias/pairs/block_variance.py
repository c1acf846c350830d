"""The exact variance of `block` over shards of any sizes, from the features of all frames.

The order joins the shards, in a random order, into a circle of N frames. The variance of its batches needs the
circle's autocovariance, the mean of <x_p, x_{p+d}> over places p and over all (S - 1)! orders of the shards (S30). To
compute the mean over the orders, give each shard an independent uniform number and sort the shards by it. Every other
shard then lies between two given shards with one probability p, independently, and p is uniform. So the mean over the
orders is an integral over p of a polynomial, for which a Gauss rule is exact (S49).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Integers, Reals, check_batch_size
from loader.bias.pairs.block_lags import BlockLags
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes

MAX_NODES: Final = 128
"""Points of the Gauss rule. J points are exact for 2 J + 1 shards. With more shards the integrand is smooth on the same
scale, and 64 points had a relative error of 1e-7 for 1000 shards."""
MAX_PRODUCTS: Final = 60_000_000_000
"""Limit of frames times frames of the largest shard times pairs of distinct sizes: half a minute on one core."""
MAX_PAIR_VALUES: Final = 20_000_000
"""Limit of lags times pairs of distinct sizes: 160 MB."""
_VALUES_AT_ONCE: Final = 1 << 22


def can_average_orders(shard_sizes: npt.ArrayLike) -> bool:
    """Whether `circle_autocovariance` takes at most seconds and megabytes for shards of these sizes."""
    sizes = check_shard_sizes(shard_sizes)
    num_pairs, largest = len(np.unique(sizes[sizes > 0])) ** 2, int(sizes.max())
    return (
        int(sizes.sum()) * largest * num_pairs <= MAX_PRODUCTS and 2 * largest * num_pairs <= MAX_PAIR_VALUES
    )


def circle_autocovariance(features: Reals, shard_sizes: npt.ArrayLike) -> Reals:
    """Mean of <x_p - G, x_{p+d} - G> over the places p of the circle and over all orders of the shards (S49): (N,).

    By lag d in [0, N). R(0) is the variance over all frames. `features`, shape (N, D), has a row for each frame, in
    the order on disk. Shards may have any sizes, shape (S,).

    Raises:
        SamplingError: not shard sizes, or not a row for each of their frames.
    """
    sizes = check_shard_sizes(shard_sizes)
    sizes = sizes[sizes > 0]
    num_frames = int(sizes.sum())
    if features.ndim != 2 or len(features) != num_frames:
        raise SamplingError(
            f"expected a row for each of {counted(num_frames, 'frame')}, found shape {features.shape}"
        )
    centred = features - features.mean(axis=0)
    distinct, numbers = np.unique(sizes, return_counts=True)
    by_size = [_shards_of_size(centred, sizes, size) for size in distinct.tolist()]
    own = np.stack([_own_power(shards, num_frames) for shards in by_size], axis=1)
    power = own.sum(axis=1)
    if len(sizes) > 1:
        by_lag = _products_by_lag([shards.sum(axis=0) for shards in by_size])
        power += _power_of_pairs(by_lag, own, distinct, numbers, num_frames)
    autocovariance: Reals = np.fft.irfft(power, num_frames) / num_frames
    return autocovariance


def block_design_effect(autocovariance: npt.ArrayLike, lags: BlockLags, *, batch_size: int) -> float:
    """Design effect of the rotated order in blocks, for shards of any sizes (S49): the mean over whole batches.

    `autocovariance` is R(0), ..., R(N - 1) of `circle_autocovariance`. The design effect is 1 + (B - 1) times the mean
    of R(d) / R(0) over the distance d of two slots of a batch, `lags_of_blocks`, and exact where that is.

    Raises:
        SamplingError: frames that are all alike.
    """
    by_lag = np.asarray(autocovariance, np.float64)
    check_batch_size(batch_size)
    if by_lag[0] <= 0:
        raise SamplingError("all frames are equal: there is no variance to divide")
    mean = float(lags.by_lag @ by_lag[lags.step * np.arange(len(lags.by_lag))]) / float(by_lag[0])
    return 1 + (batch_size - 1) * mean


def _shards_of_size(frames: Reals, sizes: Integers, size: int) -> Reals:
    """The shards of `size` frames, shape (number, size, D)."""
    starts = (np.cumsum(sizes) - sizes)[sizes == size]
    shards: Reals = frames[starts[:, None] + np.arange(size)]
    return shards


def _own_power(shards: Reals, num_frames: int) -> Reals:
    """Sum over shards (number, n, D) of |X|^2, where X is their transform on a circle of N frames: (N // 2 + 1,)."""
    number, size, num_features = shards.shape
    by_lag = np.zeros(size)
    at_once = max(1, _VALUES_AT_ONCE // (2 * size * num_features))
    for first in range(0, number, at_once):
        transformed = np.fft.rfft(shards[first : first + at_once], 2 * size, axis=1)
        by_lag += np.fft.irfft(np.square(np.abs(transformed)).sum(axis=(0, 2)), 2 * size)[:size]
    on_circle = np.zeros(num_frames)
    on_circle[:size] = by_lag
    on_circle[-np.arange(1, size) % num_frames] += by_lag[1:]
    power: Reals = np.fft.rfft(on_circle).real
    return power


def _products_by_lag(sums: list[Reals]) -> Reals:
    """Sum over places a of <Y_v[a], Y_w[a + l]> for arrays Y of shape (n, D), one for each size, and |l| < largest n.

    Shape (lags, sizes, sizes), from l = -(largest - 1) on.
    """
    largest, num_features = max(map(len, sums)), sums[0].shape[1]
    length = 1 << (2 * largest - 1).bit_length()
    spectrum = np.zeros((length // 2 + 1, len(sums), len(sums)), np.complex128)
    at_once = max(1, _VALUES_AT_ONCE // (length * len(sums)))
    for first in range(0, num_features, at_once):
        parts = [np.ascontiguousarray(part[:, first : first + at_once].T) for part in sums]
        transformed = np.stack([np.fft.rfft(part, length, axis=1) for part in parts]).transpose(2, 0, 1)
        spectrum += transformed.conj() @ transformed.transpose(0, 2, 1)
    lags = np.arange(1 - largest, largest)
    by_lag: Reals = np.fft.irfft(spectrum, length, axis=0)[lags]
    return by_lag


def _power_of_pairs(
    by_lag: Reals,
    own: Reals,
    distinct: Integers,
    numbers: Integers,
    num_frames: int,
) -> Reals:
    """Sum over ordered pairs of different shards of the mean of conj(X_s) X_t z^(start of t - start of s).

    The distance from s to t is n_s frames plus the frames of the shards between them. Each other shard is between them
    with probability p. So the mean is z^n_s times the product of q_u = 1 - p + p z^n_u over the others, integrated
    over p.
    """
    num_shards, num_sizes = int(numbers.sum()), len(distinct)
    # An even number of points avoids p = 1/2, where a factor can be 0. The code divides by the factors.
    num_nodes = min(2 * (num_shards // 4 + 1), MAX_NODES)
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    nodes, weights = (nodes + 1) / 2, weights / 2
    lags = np.arange(len(by_lag)) - len(by_lag) // 2
    flat = by_lag.reshape(len(by_lag), -1)
    power = np.empty(num_frames // 2 + 1)
    at_once = max(1, _VALUES_AT_ONCE // max(len(lags), num_sizes * max(num_nodes, num_sizes)))
    for first in range(0, len(power), at_once):
        frequencies = np.arange(first, min(first + at_once, len(power)))[:, None]
        angles = -2 * np.pi / num_frames * (frequencies * lags % num_frames)
        products = (np.cos(angles) @ flat + 1j * (np.sin(angles) @ flat)).reshape(-1, num_sizes, num_sizes)
        turns = np.exp(-2j * np.pi / num_frames * (frequencies * distinct % num_frames))[:, None]
        factors = (1 - nodes)[:, None] + nodes[:, None] * turns  # (frequencies, nodes, sizes)
        arriving = 1 / factors
        leaving = turns * arriving
        pairs = ((leaving @ products) * arriving).sum(axis=2)
        # This sum contains pairs of one shard with itself. They are subtracted.
        pairs -= (leaving * arriving * own[frequencies]).sum(axis=2)
        power[frequencies[:, 0]] = ((np.prod(factors**numbers, axis=2) * pairs) @ weights).real
    return power
