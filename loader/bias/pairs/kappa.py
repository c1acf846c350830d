"""Kappa: how often two slots of one batch fall on the same shard.

Kappa depends on the shard sizes and the sampler, not on the data. Rho measures how alike the frames of a shard are, and
both together give the design effect. Kappa has two meanings. For visits, `visit_kappa` is the probability
that two distinct slots belong to the same *visit*: different visits that fall on one shard do not increase the
variance. Elsewhere kappa is the probability that two distinct slots share a *shard*. A batch of one frame
has no two slots, so its kappa is 0.
"""

import operator

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Integers, Reals, check_batch_size, check_distribution
from loader.bias.pairs.block_lags import BlockLags, lags_of_blocks
from loader.bias.pairs.slots import same_place_share
from loader.bias.pairs.spread_visits import meetings_of_visits
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes


def visit_kappa(*, batch_size: int, frames_per_visit: int) -> float:
    """Probability that two distinct slots of a batch belong to one visit of m frames, (m - 1) / (B - 1) (S29).

    Raises:
        SamplingError: frames_per_visit does not divide batch_size.
    """
    check_batch_size(batch_size)
    if operator.index(frames_per_visit) < 1 or batch_size % frames_per_visit:
        raise SamplingError(
            f"visits of {counted(frames_per_visit, 'frame')} do not fill batches of {batch_size}"
        )
    return (frames_per_visit - 1) / (batch_size - 1) if batch_size > 1 else 0.0


def visit_shard_kappa(
    shard_probability: npt.ArrayLike, *, batch_size: int, frames_per_visit: int, are_spread: bool
) -> float:
    """Probability that two distinct slots share a shard: one visit, or two that fall on one shard (S29).

    v + (1 - v) c with v = `visit_kappa`. Visits draw shard s with probability P_s, shape (S,). c is sum P^2 for
    independent ones. If the anchors of a batch's visits `are_spread`, c is smaller (`meetings_of_visits`).

    Raises:
        SamplingError: not a distribution, or frames_per_visit does not divide batch_size.
    """
    if batch_size == 1:
        return 0.0
    same_visit = visit_kappa(batch_size=batch_size, frames_per_visit=frames_per_visit)
    probability = check_distribution(shard_probability)
    num_visits = batch_size // frames_per_visit
    meetings = probability**2
    if are_spread and num_visits > 1:
        meetings = meetings_of_visits(probability, num_visits=num_visits)
    return same_visit + (1 - same_visit) * float(meetings.sum())


def iid_kappa(shard_sizes: npt.ArrayLike) -> float:
    """Probability that two independent uniform frames share a shard, sum pi^2 (S29); `shard_sizes` of shape (S,)."""
    sizes = check_shard_sizes(shard_sizes)
    return float(np.sum((sizes / sizes.sum()) ** 2))


def permutation_kappa(shard_sizes: npt.ArrayLike, *, num_slots: int = 2) -> float:
    """Probability that two slots of a permutation share a shard, sum n (n - 1) / (N (N - 1)) (S29).

    `shard_sizes` has shape (S,). Samplers that spread a batch over the shards on purpose have a smaller kappa. If
    `num_slots` is above N, `pad` fills the batch by starting the permutation again, so two slots may show one frame.
    """
    sizes = check_shard_sizes(shard_sizes).tolist()
    num_frames = sum(sizes)
    pairs = sum(size * (size - 1) for size in sizes)
    apart = pairs / (num_frames * (num_frames - 1)) if num_frames > 1 else 0.0
    again = same_place_share(num_frames, num_slots)
    return again + (1 - again) * apart


def block_kappa(
    shard_sizes: npt.ArrayLike, *, block_frames: int, batch_size: int, num_batches: int | None = None
) -> float:
    """Probability that two distinct slots of a batch share a shard under the rotated order in blocks (S31).

    The epoch: shards, in any order, are joined into a circle of N frames, which is cut open at a uniform frame. The
    resulting stream is cut into blocks of `block_frames`, the last one shorter, and the order inside each block is
    nested. Batch t is the positions [t B, (t + 1) B). Kappa is the mean over the first `num_batches` batches, which may
    straddle blocks. Batches beyond the end of the epoch continue at its start, because `pad` fills them so. None means
    the epoch's whole batches. Shards may have any sizes, shape (S,). It is exact where `lags_of_blocks` is.

    >>> block_kappa([5] * 8, block_frames=40, batch_size=4) < permutation_kappa([5] * 8) / 3
    True

    Raises:
        SamplingError: not shard sizes, a block of no frame, or no batch.
    """
    sizes = check_shard_sizes(shard_sizes)
    if batch_size == 1:
        return 0.0
    return kappa_of_lags(
        sizes,
        lags_of_blocks(
            int(sizes.sum()), block_frames=block_frames, batch_size=batch_size, num_batches=num_batches
        ),
    )


def kappa_of_lags(shard_sizes: Integers, lags: BlockLags) -> float:
    """Probability that two slots share a shard, if their distance on the circle of shards is that of `lags`."""
    return float(lags.by_lag @ lag_coincidence(shard_sizes, lags.step * np.arange(len(lags.by_lag))))


def lag_coincidence(shard_sizes: Integers, lags: Integers) -> Reals:
    """Probability that two places of the circle, d apart, share a shard, for lags d from 0 to N - 1 (S30)."""
    sizes = np.sort(shard_sizes)
    num_frames = int(sizes.sum())
    above = np.append(np.cumsum(sizes[::-1])[::-1], 0)  # frames of the shards from each one on

    def pairs(missing: Integers) -> Reals:
        first = np.searchsorted(sizes, missing, side="right")
        longer: Reals = (above[first] - missing * (len(sizes) - first)).astype(np.float64)
        return longer

    return np.where(lags == 0, 1.0, (pairs(lags) + pairs(num_frames - lags)) / num_frames)


def sequential_kappa(sizes: Integers, batch_size: int, num_batches: int) -> float:
    """Share of the pairs of slots within one shard, for batches that are runs of ids and continue at the first id."""
    if batch_size < 2 or not num_batches:
        return 0.0
    ends = np.cumsum(sizes)
    num_frames = int(ends[-1])
    num_inside = min(num_batches, num_frames // batch_size)
    pairs = _pairs_in_runs(ends - sizes, ends, batch_size, num_inside)
    for batch in range(num_inside, num_batches):  # batches that are padded, at most one for each rank
        positions = np.arange(batch * batch_size, (batch + 1) * batch_size) % num_frames
        counts = np.bincount(np.searchsorted(ends, positions, side="right"))
        pairs += int((counts * (counts - 1)).sum())
    return pairs / (num_batches * batch_size * (batch_size - 1))


def _pairs_in_runs(starts: Integers, ends: Integers, batch_size: int, num_batches: int) -> int:
    """Ordered pairs of slots that share a batch and a shard: shards [start, end), batches of the first ids."""
    end = num_batches * batch_size
    starts, ends = np.minimum(starts, end), np.minimum(ends, end)
    starts, ends = starts[ends > starts], ends[ends > starts]
    first, last = starts // batch_size, (ends - 1) // batch_size
    head = np.minimum(ends, (first + 1) * batch_size) - starts
    tail = np.where(last > first, ends - last * batch_size, 0)
    whole = np.maximum(last - first - 1, 0)
    pairs = head * (head - 1) + tail * (tail - 1) + whole * (batch_size * (batch_size - 1))
    return int(pairs.sum())
