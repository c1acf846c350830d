"""Chi^2 and total variation of any distribution, and the distributions of samplers that the loader does not have."""

import math
import operator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from frame_store.shared import chi2_of_uniform_shards, counted
from loader.bias.checks import Reals, check_distribution
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes


def chi2_of_law(law: npt.ArrayLike) -> float:
    """Chi^2 of a distribution over frames against the uniform one, N * sum p^2 - 1 (S1); `law` of shape (N,).

    >>> chi2_of_law([0.25, 0.25, 0.25, 0.25])
    0.0

    Raises:
        SamplingError: `law` is not a distribution.
    """
    # The mean of (N p - 1)^2 is the same number if p sums to one, and loses no digits near zero.
    return float(np.mean((_excess(law)) ** 2))


def total_variation(law: npt.ArrayLike) -> float:
    """Half the sum of |p - 1/N| over the frames of `law`, shape (N,): the share of draws on the wrong frame (S1).

    Raises:
        SamplingError: `law` is not a distribution.
    """
    return float(np.mean(np.abs(_excess(law))) / 2)


def max_over_representation(law: npt.ArrayLike) -> float:
    """N * max p for `law`, shape (N,): how much too often the most frequent frame is shown; 1 if uniform (S1).

    Raises:
        SamplingError: `law` is not a distribution.
    """
    return float(np.max(_excess(law)) + 1)


def chi2_of_shard_law(shard_probability: npt.ArrayLike, shard_sizes: npt.ArrayLike) -> float:
    """Chi^2 of drawing shard s with probability P_s and then its frames uniformly, sum P^2 / pi - 1 (S2).

    Both have shape (S,). pi_s is the shard's share of the frames.

    Raises:
        SamplingError: not a distribution, not shard sizes, different numbers of both, or an empty shard is drawn.
    """
    sizes = check_shard_sizes(shard_sizes)
    probability = check_distribution(shard_probability)
    if probability.shape != sizes.shape:
        raise SamplingError(f"{len(probability)} shard probabilities for {counted(len(sizes), 'shard')}")
    held = sizes > 0
    if probability[~held].any():
        raise SamplingError(f"shard {int(np.flatnonzero(~held & (probability > 0))[0])} is drawn but empty")
    share = sizes[held] / sizes.sum()
    return float(np.sum(share * (probability[held] / share - 1) ** 2))


def typical_bias_of_uniform_shards(shard_sizes: npt.ArrayLike) -> float:
    """Root mean square bias of `chi2_of_uniform_shards`' rule, CV(n) / sqrt(S - 1) (S4).

    In standard deviations of the shard means, with equal weights. It assumes that size and content are unrelated:
    it is the mean over all assignments of the sizes, shape (S,), to the shards.

    Raises:
        SamplingError: not shard sizes.
    """
    sizes = _held(shard_sizes)
    return float(sizes.std() / sizes.mean() / np.sqrt(len(sizes) - 1)) if len(sizes) > 1 else 0.0


def chi2_of_equalised_readers(frames_per_reader: npt.ArrayLike) -> float:
    """Chi^2 of M readers that each show equally many frames of their own N_w, A(N_w) / H(N_w) - 1 (S11).

    Readers are ranks, workers or both; `frames_per_reader` has shape (M,). Their counts are equal because all readers
    stop with the shortest, or because short ones start again. Assumes that each reads its frames in random order.

    Raises:
        SamplingError: a reader without frames, or not counts.
    """
    sizes = check_shard_sizes(frames_per_reader)
    if not sizes.all():
        raise SamplingError(f"reader {int(np.flatnonzero(sizes == 0)[0])} has no frames to show")
    return chi2_of_uniform_shards(sizes)


def chi2_of_worker_drop_last(frames_per_worker: npt.ArrayLike, *, batch_size: int) -> float:
    """Chi^2 if each worker cuts its own N_w frames into batches of B and drops the short last one (S14).

    N * sum(k^2 / N_w) / (sum k)^2 - 1 with k = B * floor(N_w / B) frames kept and N = sum N_w; `frames_per_worker`
    has shape (M,). Assumes that a worker's frames are in random order, so any of them may be dropped.

    Raises:
        SamplingError: not counts, a batch size below one, or no whole batch at all.
    """
    sizes = _held(frames_per_worker)
    if operator.index(batch_size) < 1:
        raise SamplingError(f"batch_size must be 1 or more, found {batch_size}")
    kept = sizes // batch_size * batch_size
    if not kept.any():
        raise SamplingError(
            f"no worker has a whole batch of {batch_size}: the longest has {counted(sizes.max(), 'frame')}"
        )
    return chi2_of_shard_law(kept / kept.sum(), sizes)


def chi2_of_mixture(weights: npt.ArrayLike, frames_per_source: npt.ArrayLike) -> float:
    """Chi^2, against uniform frames, of drawing source j with probability alpha_j and then its frames uniformly (S15).

    sum alpha^2 / pi - 1, both arguments of shape (J,). A mixture that is intended has this chi^2, and no bias
    against its own target.

    Raises:
        SamplingError: as `chi2_of_shard_law`.
    """
    return chi2_of_shard_law(weights, frames_per_source)


def _excess(law: npt.ArrayLike) -> Reals:
    """N p - 1, by frame."""
    probability = check_distribution(law)
    return probability * len(probability) - 1


def position_law(shard_sizes: npt.ArrayLike, position: int) -> Reals:
    """Probability that each shard covers one position of a stream of shards in random order (S10): shape (S,).

    The stream has no rotation. The result is exact: it counts the sets of shards that may lie before the position. It
    takes O(S^2 * position) for each distinct size, so it is for small populations.

    >>> position_law([1, 3], 0).tolist()
    [0.5, 0.5]

    Raises:
        SamplingError: not shard sizes, or a position outside the stream.
    """
    sizes = check_shard_sizes(shard_sizes)
    if not 0 <= operator.index(position) < sizes.sum():
        raise SamplingError(f"position {position} is outside [0, {sizes.sum()})")
    held = sizes[sizes > 0].tolist()
    covers = {0: 0.0}
    for size in set(held):
        others = held.copy()
        others.remove(size)
        # Rows: number of shards before. Their frames must end in (position - size, position].
        ways = _subsets_by_sum(others, position)[:, max(0, position - size + 1) :].sum(1)
        num_others = len(others)
        probability = sum(
            Fraction(int(number), (num_others + 1) * math.comb(num_others, before))
            for before, number in enumerate(ways)
        )
        covers[size] = float(probability)
    return np.array([covers[size] for size in sizes.tolist()])


def _subsets_by_sum(sizes: list[int], greatest: int) -> npt.NDArray[np.object_]:
    """Number of sets of shards, by their number of shards and of frames, in Python's exact integers."""
    ways = np.zeros((len(sizes) + 1, greatest + 1), dtype=object)
    ways[0, 0] = 1
    for size in sizes:
        if size <= greatest:
            ways[1:, size:] = ways[1:, size:] + ways[:-1, : greatest + 1 - size]
    return ways


def _held(shard_sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    sizes = check_shard_sizes(shard_sizes)
    return sizes[sizes > 0]
