"""Which pairs of frames meet in a batch: the bias of losses that are not a mean over frames.

A contrastive loss is a mean over pairs of a batch. Batch normalisation divides by a batch's own variance, which is also
a mean over pairs. Their expectation follows from the distribution of two distinct slots of a batch, P(i, j). A uniform
distribution of single frames does not determine it. The reference is independent, uniform pairs, 1 / N^2 each, as
i.i.d. frames have: chi^2 = N^2 sum P(i, j)^2 - 1. SAMPLING.md: (S52), (S53), (S54).
"""

import math
import operator

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Booleans, Integers, Reals, check_distribution
from loader.bias.nested import limit_pair_chi2, nested_pair_chi2
from loader.bias.pairs.kappa import block_kappa, visit_kappa
from loader.bias.pairs.slots import slot_pairs
from loader.errors import SamplingError
from loader.sampling import BatchPlan
from loader.sampling.orders import check_shard_sizes, draws_again, frames_per_block

MAX_LAGS = 1 << 18
"""The largest distance between slots of a batch that `block_pair_chi2` sums over: a few arrays of 2 MiB."""


def pair_chi2(
    plan: BatchPlan, shard_sizes: Integers, shard_probability: Reals | None
) -> tuple[float, bool] | None:
    """Chi^2 of two slots of a rank's whole batch, and whether it is exact; see `SamplingLaw.chi2_of_pairs_is_bound`.

    All ranks have the same. None if a batch holds no pair. None also if the last batch starts the epoch again, because
    there is no formula for it. For clips the pairs are of windows. `shard_probability`, shape (S,), is the distribution
    of the shards that `shards` visits.
    """
    spec, num_units, is_padded = plan.spec, plan.num_positions, plan.num_positions_doubled > 0
    begins_again = is_padded and (spec.sampling == "sequential" or plan.batch_size > num_units)
    batch_size = min(plan.batch_size, num_units)
    if batch_size < 2 or begins_again:
        return None
    # The batches of all ranks, without those of a dropped last step, and with those that `pad` fills.
    num_batches = (num_units - plan.num_positions_dropped + plan.num_positions_doubled) // batch_size
    if spec.sampling == "block":
        block_frames = frames_per_block(shard_sizes, shards_per_block=spec.shards_per_block or 1)
        if block_frames >= num_units:  # one block: a permutation
            return permutation_pair_chi2(num_units), True
        return block_pair_chi2(
            shard_sizes, block_frames=block_frames, batch_size=batch_size, num_batches=num_batches
        )
    if spec.sampling == "stratified":
        if plan.frames is not None:
            return limit_pair_chi2(batch_size), False
        return nested_pair_chi2(num_units, batch_size=batch_size, num_batches=max(1, num_batches))
    chi2 = 0.0  # iid
    if spec.sampling == "permutation":
        chi2 = permutation_pair_chi2(num_units)
    elif spec.sampling == "sequential":
        chi2 = sequential_pair_chi2(num_units, batch_size=batch_size, num_batches=num_batches)
    elif spec.sampling == "shards" and plan.frames is not None:
        chi2 = weighted_visit_pair_chi2(
            plan.frames.shard_parts,
            kappa=visit_kappa(batch_size=batch_size, frames_per_visit=spec.frames_per_visit or 1),
        )
    elif spec.sampling == "shards":
        assert spec.frames_per_visit is not None and shard_probability is not None  # it visits shards
        chi2 = visit_pair_chi2(
            shard_probability,
            shard_sizes,
            kappa=visit_kappa(batch_size=batch_size, frames_per_visit=spec.frames_per_visit),
            frames_with_replacement=draws_again(shard_sizes, spec),
        )
    return chi2, True


def pair_chi2_of_classes(kappa: float, shard_sizes: npt.ArrayLike, *, same_frame: float = 0.0) -> float:
    """Chi^2 of pairs by three classes: one frame, two of one shard, two of two shards (S52).

    `kappa` is the probability that two distinct slots share a shard. `same_frame` is the probability that they show one
    frame; it is a part of `kappa`. The result is exact if the pairs of a class are equally likely, and else a lower
    bound. `shard_sizes` has shape (S,).

    Raises:
        SamplingError: not probabilities, or a positive probability for a class without pairs.
    """
    sizes = check_shard_sizes(shard_sizes)
    num_frames = int(sizes.sum())
    if not -1e-12 <= same_frame <= kappa + 1e-12 <= 1 + 2e-12:
        raise SamplingError(f"kappa {kappa} with {same_frame} for one frame are no probabilities")
    of_one_shard = float(np.sum((sizes / num_frames) ** 2))
    has_pairs, has_others = bool((sizes > 1).any()), np.count_nonzero(sizes) > 1
    total = -1.0
    for found, share, exists in (
        (same_frame, 1 / num_frames, True),
        (kappa - same_frame, of_one_shard - 1 / num_frames, has_pairs),
        (1 - kappa, 1 - of_one_shard, has_others),
    ):
        if exists:
            total += found**2 / share
        elif found > 1e-9:
            raise SamplingError(f"kappa {kappa} cannot be: shards of {sizes.tolist()[:9]} hold no such pair")
    return total


def permutation_pair_chi2(num_frames: int) -> float:
    """Chi^2 of two slots of a permutation, 1 / (N - 1): all pairs of different frames are equally likely (S53).

    Raises:
        SamplingError: fewer than two frames.
    """
    if operator.index(num_frames) < 2:
        raise SamplingError(f"{counted(num_frames, 'frame makes', 'frames make')} no pair")
    return 1 / (num_frames - 1)


def sequential_pair_chi2(num_frames: int, *, batch_size: int, num_batches: int | None = None) -> float:
    """Chi^2 of two slots of the whole batches of a fixed order, N^2 / (q B (B - 1)) - 1 (S53).

    q = `num_batches` batches that share no frame; None for all floor(N / B). Several ranks that drop a last step
    together have fewer.

    Raises:
        SamplingError: batch_size below 2, or num_batches outside [1, floor(N / B)].
    """
    if operator.index(batch_size) < 2 or operator.index(num_frames) < batch_size:
        raise SamplingError(f"no batch of {batch_size} with a pair in it in {counted(num_frames, 'frame')}")
    if num_batches is None:
        num_batches = num_frames // batch_size
    if not 1 <= operator.index(num_batches) <= num_frames // batch_size:
        raise SamplingError(
            f"{counted(num_frames, 'frame')} have no "
            f"{counted(num_batches, 'whole batch', 'whole batches')} of {batch_size}"
        )
    return num_frames**2 / (num_batches * batch_size * (batch_size - 1)) - 1


def visit_pair_chi2(
    shard_probability: npt.ArrayLike,
    shard_sizes: npt.ArrayLike,
    *,
    kappa: float,
    frames_with_replacement: bool | Booleans = False,
) -> float:
    """Chi^2 of two slots of a batch of independent visits, exact for shards of any sizes (S53).

    With probability v = `kappa` the slots are of one visit, which draws shard s with probability P_s and then its
    frames uniformly, different ones by default. `frames_with_replacement` is of all visits, or of those to each shard,
    shape (S,). Else the slots are independent. Proportional P give v^2 (sum n / (n - 1) - 1), and v^2 (S - 1) with
    replacement. The other arrays have shape (S,), too.

    Raises:
        SamplingError: not a distribution or sizes, an empty shard is drawn, or two frames from a shard of one.
    """
    all_sizes, probability = check_shard_sizes(shard_sizes), check_distribution(shard_probability)
    if probability.shape != all_sizes.shape or (probability[all_sizes == 0] > 0).any():
        raise SamplingError("expected a probability for each shard, 0 where it holds no frame")
    held = all_sizes > 0
    drawn, sizes = probability[held], all_sizes[held].astype(np.float64)
    may_repeat = np.broadcast_to(frames_with_replacement, all_sizes.shape)[held]
    if kappa > 0 and (drawn[(sizes == 1) & ~may_repeat] > 0).any():
        raise SamplingError("a shard of one frame holds no two different ones for a visit")
    num_frames = float(sizes.sum())
    # N^2 P(i, j) for a pair of one frame, of one shard, and of two shards. First for independent slots.
    single = drawn / sizes * num_frames
    alone = (1 - kappa) * single**2
    of_visit = kappa * drawn * num_frames**2
    pairs = np.maximum(sizes * (sizes - 1), 1)
    same_frame = alone + np.where(may_repeat, of_visit / sizes**2, 0.0)
    of_one_shard = alone + np.where(
        may_repeat, of_visit / sizes**2, np.where(sizes > 1, of_visit / pairs, 0.0)
    )
    inside = sizes @ (same_frame - 1) ** 2 + (sizes * (sizes - 1)) @ (of_one_shard - 1) ** 2
    # sum over i in s, j in t, s != t, of ((1 - v) a_s a_t - 1)^2: all pairs minus those of s = t.
    rest = 1 - kappa
    squares, firsts = sizes * single**2, sizes * single
    across = rest**2 * (squares.sum() ** 2 - (squares**2).sum())
    across -= 2 * rest * (firsts.sum() ** 2 - (firsts**2).sum())
    across += num_frames**2 - (sizes**2).sum()
    return float((inside + across) / num_frames**2)


def weighted_visit_pair_chi2(shard_weights: npt.ArrayLike, *, kappa: float) -> float:
    """Chi^2 of two slots of visits under weights against independent pairs of the target, v^2 (S - 1) (S58).

    S counts the shards that hold weight. With probability v = `kappa` the slots are of one visit.
    """
    return kappa**2 * (int(np.count_nonzero(np.asarray(shard_weights))) - 1)


def block_pair_chi2(
    shard_sizes: npt.ArrayLike, *, block_frames: int, batch_size: int, num_batches: int | None = None
) -> tuple[float, bool]:
    """Chi^2 of two slots of a whole batch under the rotated block shuffle, and whether it is exact (S54).

    It is that of the first `num_batches` batches, as in `block_kappa`. No batch is larger than the epoch.

    Exact for equal shards in a random order. For unequal shards, and if blocks and batches together reach over more
    than `MAX_LAGS` frames, it is the bound of `pair_chi2_of_classes`. Sizes have shape (S,).

    Raises:
        SamplingError: batch_size is 1 or above the epoch, or `block_kappa` refuses the numbers.
    """
    sizes = check_shard_sizes(shard_sizes)
    sizes = sizes[sizes > 0]
    if batch_size == 1:
        raise SamplingError("a batch of one frame holds no pair")
    if num_batches is None:
        num_batches = max(1, int(sizes.sum()) // batch_size)
    if batch_size > sizes.sum():
        raise SamplingError(
            f"an epoch of {counted(int(sizes.sum()), 'frame')} holds no whole batch of {batch_size}"
        )
    kappa = block_kappa(sizes, block_frames=block_frames, batch_size=batch_size, num_batches=num_batches)
    num_frames, shard_size, num_shards = int(sizes.sum()), int(sizes[0]), len(sizes)
    are_equal = sizes.min() == sizes.max()
    lags = _lag_law(num_frames, min(block_frames, num_frames), batch_size, num_batches) if are_equal else None
    if lags is None:
        return pair_chi2_of_classes(kappa, sizes), False
    # A row is one shard: lag k = j n + e is at [j, e]. The displacement of frames i and j is j - i, or N - (j - i) in
    # the other direction of the circle. Each is half of the ordered pairs of slots.
    lags = np.pad(lags, (0, -len(lags) % shard_size)).reshape(-1, shard_size)
    inside = lags[0, 1:].copy()
    if len(lags) == num_shards:
        inside += lags[-1, :0:-1]
    across = lags[1:].sum(0)
    across[1:] += lags[: num_shards - 1, :0:-1].sum(0)
    across[0] *= 2
    pairs = 2.0 * np.arange(
        shard_size, 0, -1
    )  # of two frames e apart, in a shard or in two: n - e, and mirrored
    pairs[0] = shard_size
    total = num_shards * float(pairs[1:] @ (inside / 2) ** 2)
    if num_shards > 1:  # the shard of the second frame is any other of the S - 1
        total += num_shards / (num_shards - 1) * float(pairs @ (across / 2) ** 2)
    return total - 1, True


def _lag_law(num_frames: int, block_frames: int, batch_size: int, num_batches: int) -> Reals | None:
    """Probability that the later of two slots of a batch is k places after the earlier on the circle, for k < N.

    None if the slots of a batch may be more than `MAX_LAGS` places apart.
    """
    last_block = num_frames - (num_frames - 1) // block_frames * block_frames
    numbers = slot_pairs(num_frames, block_frames, batch_size, num_batches)
    reach = min(num_frames, (max(distance for distance, _ in numbers) + 1) * block_frames)
    if reach > MAX_LAGS:
        return None
    law = np.zeros(reach)
    for (distance, touches_last), number in numbers.items():
        later = last_block if touches_last else block_frames
        if distance == 0:
            law[1:later] += number / math.comb(later, 2) * np.arange(later - 1, 0, -1)
            continue
        # Distance of the two slots, minus the distance of their blocks.
        shift = np.arange(1 - block_frames, later)
        ways = np.minimum(later - 1, block_frames - 1 + shift) - np.maximum(0, shift) + 1
        first = distance * block_frames + 1 - block_frames
        law[first : first + len(ways)] += number / (block_frames * later) * ways
    return law / numbers.total()
