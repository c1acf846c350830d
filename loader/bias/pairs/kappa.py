"""Kappa: how often two slots of one batch fall on the same shard.

Kappa depends on the shard sizes and the sampler, not on the data. Rho measures how alike the frames of a shard are, and
both together give the design effect. Kappa has two meanings. For independent visits, `visit_kappa` is the probability
that two distinct slots belong to the same *visit*: visits that meet on a shard by chance are independent and do not
increase the variance. Elsewhere kappa is the probability that two distinct slots share a *shard*. A batch of one frame
has no two slots, so its kappa is 0.
"""

import itertools
import operator
from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Integers, check_batch_size, check_distribution
from loader.bias.pairs.slots import mean_over_slot_pairs, same_place_share
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


def visit_shard_kappa(shard_probability: npt.ArrayLike, *, batch_size: int, frames_per_visit: int) -> float:
    """Probability that two distinct slots share a shard: one visit, or two that meet by chance (S29).

    v + (1 - v) sum P^2 with v = `visit_kappa`. Visits are independent and draw shard s with probability P_s, shape
    (S,): n_s / N under the anchor-frame rule, 1 / S if shards are drawn uniformly.

    Raises:
        SamplingError: not a distribution, or frames_per_visit does not divide batch_size.
    """
    if batch_size == 1:
        return 0.0
    same_visit = visit_kappa(batch_size=batch_size, frames_per_visit=frames_per_visit)
    return same_visit + (1 - same_visit) * float(np.sum(check_distribution(shard_probability) ** 2))


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
    """Probability that two distinct slots of a batch share a shard under the rotated block shuffle (S31), exact.

    The epoch: shards, in any order, are joined into a circle of N frames, which is cut open at a uniform frame. The
    resulting stream is cut into blocks of `block_frames`, the last one shorter, and each block is shuffled. Batch t is
    the positions [t B, (t + 1) B). Kappa is the mean over the first `num_batches` batches, which may straddle blocks.
    Batches beyond the end of the epoch continue at its start, because `pad` fills them so. None means the epoch's
    whole batches. Shards may have any sizes, shape (S,). It takes O(S log S) time and O(S) memory, for any N.

    >>> block_kappa([5] * 8, block_frames=40, batch_size=4) == permutation_kappa([5] * 8)
    True

    Raises:
        SamplingError: not shard sizes, a block of no frame, or no batch.
    """
    sizes = check_shard_sizes(shard_sizes)
    num_frames = int(sizes.sum())
    check_batch_size(batch_size)
    if operator.index(block_frames) < 1:
        raise SamplingError(f"block_frames must be 1 or more, found {block_frames}")
    if num_batches is None:
        num_batches = num_frames // batch_size
    if num_batches < 1:
        raise SamplingError(
            f"an epoch of {counted(num_frames, 'frame')} holds no whole batch of {batch_size}"
        )
    if batch_size == 1:
        return 0.0
    return mean_over_slot_pairs(
        num_frames,
        block_frames=block_frames,
        batch_size=batch_size,
        num_batches=num_batches,
        of_blocks=_CirclePairs(sizes).of_blocks,
    )


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


class _CirclePairs:
    """Pairs of places that share a shard, summed over lags in closed form. Python's integers keep the sums exact."""

    def __init__(self, shard_sizes: Integers) -> None:
        sizes, numbers = np.unique(shard_sizes, return_counts=True)
        self._sizes: list[int] = sizes.tolist()
        counts: list[int] = numbers.tolist()
        self._num_frames = int(shard_sizes.sum())
        # Sums of n^0 .. n^3 over the shards up to a size: every sum over lags below is a cubic in n.
        self._powers = [
            [
                0,
                *itertools.accumulate(
                    count * size**power for size, count in zip(self._sizes, counts, strict=True)
                ),
            ]
            for power in range(4)
        ]

    def of_blocks(self, earlier: int, later: int, distance: int) -> float:
        """Probability that slots of two blocks, `distance` blocks apart, share a shard. 0 means one block.

        The block of the later slot has `later` frames, and all other blocks have `earlier` frames.
        """
        if distance == 0:
            return self._inside(later) / (3 * self._num_frames * later * (later - 1))
        gap = (distance - 1) * earlier
        # Pairs across = pairs of the whole stretch minus pairs that miss one of its ends.
        across = self._inside(earlier + gap + later) + self._inside(gap)
        across -= self._inside(earlier + gap) + self._inside(gap + later)
        return across / (6 * self._num_frames * earlier * later)

    def _inside(self, length: int) -> int:
        """6 N times the sum over lags d < `length` of (length - d) s(d)."""
        # sum (a - d)(b - d) over 0 < d < a, with a <= b, is a (a - 1) (3 b - a - 1) / 6. A shard is a or b.
        _, first, second, third = self._power_sums(0, length)
        total = 3 * length * (second - first) - third + first
        count, first, *_ = self._power_sums(length, self._num_frames)
        total += length * (length - 1) * (3 * first - (length + 1) * count)
        # A shard that reaches round the circle, by y = n - missing frames, adds (y^3 - y) / 6.
        missing = self._num_frames - length
        count, first, second, third = self._power_sums(missing, self._num_frames)
        total += third - 3 * missing * second + 3 * missing**2 * first - missing**3 * count
        return total - first + missing * count

    def _power_sums(self, above: int, up_to: int) -> list[int]:
        """Sums of n^0, n^1, n^2, n^3 over the shards of above < n <= up_to frames."""
        start, stop = bisect_right(self._sizes, above), bisect_right(self._sizes, up_to)
        return [sums[stop] - sums[start] for sums in self._powers]
