"""Which pairs of frames meet in a batch: the bias of losses that are not a mean over frames.

A contrastive loss is a mean over pairs of a batch. Batch normalisation divides by a batch's own variance, which is also
a mean over pairs. Their expectation follows from the distribution of two distinct slots of a batch, P(i, j). A uniform
distribution of single frames does not determine it. The reference is independent, uniform pairs, 1 / N^2 each, as
i.i.d. frames have: chi^2 = N^2 sum P(i, j)^2 - 1. SAMPLING.md: (S52), (S53), (S54).
"""

import operator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Booleans, Integers, Reals, check_distribution
from loader.bias.nested import limit_pair_chi2, nested_pair_chi2
from loader.bias.pairs.block_lags import lags_of_blocks, shares_by_phase
from loader.bias.pairs.kappa import kappa_of_lags, visit_kappa
from loader.bias.pairs.spread_visits import MAX_SHARDS, meetings_of_visits, pairs_of_visits
from loader.errors import SamplingError
from loader.sampling import BatchPlan
from loader.sampling.orders import check_shard_sizes, draws_again, frames_per_block


class PairChi2(NamedTuple):
    """Chi^2 of two slots of a batch."""

    value: float
    is_exact: bool = True
    is_bound: bool = True
    """Whether `value` is at least a proven lower bound. If not, it is only near the true value."""


def pair_chi2(plan: BatchPlan, shard_sizes: Integers, shard_probability: Reals | None) -> PairChi2 | None:
    """Chi^2 of two slots of a rank's whole batch.

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
        return block_pair_chi2(
            shard_sizes,
            block_frames=frames_per_block(shard_sizes, shards_per_block=spec.shards_per_block or 1),
            batch_size=batch_size,
            num_batches=num_batches,
        )
    if spec.sampling == "stratified":
        return _pair_chi2_of_strata(plan, batch_size, num_batches)
    if spec.sampling == "shards":
        return _pair_chi2_of_visits(plan, shard_sizes, shard_probability, batch_size)
    chi2 = 0.0  # iid
    if spec.sampling == "permutation":
        chi2 = permutation_pair_chi2(num_units)
    elif spec.sampling == "sequential":
        chi2 = sequential_pair_chi2(num_units, batch_size=batch_size, num_batches=num_batches)
    return PairChi2(chi2)


def _pair_chi2_of_strata(plan: BatchPlan, batch_size: int, num_batches: int) -> PairChi2 | None:
    if plan.frames is not None:
        return PairChi2(limit_pair_chi2(batch_size), is_exact=False, is_bound=False)
    found = nested_pair_chi2(plan.num_positions, batch_size=batch_size, num_batches=max(1, num_batches))
    return None if found is None else PairChi2(found[0], is_exact=found[1], is_bound=False)


def _pair_chi2_of_visits(
    plan: BatchPlan, shard_sizes: Integers, shard_probability: Reals | None, batch_size: int
) -> PairChi2:
    frames_per_visit = plan.spec.frames_per_visit or 1
    kappa = visit_kappa(batch_size=batch_size, frames_per_visit=frames_per_visit)
    num_visits = batch_size // frames_per_visit if plan.spec.has_spread_visits else None
    if plan.frames is not None:
        return weighted_visit_pair_chi2(plan.frames.shard_shares, kappa=kappa, num_visits=num_visits)
    assert shard_probability is not None  # it visits shards
    return visit_pair_chi2(
        shard_probability,
        shard_sizes,
        kappa=kappa,
        num_visits=num_visits,
        frames_with_replacement=draws_again(shard_sizes, plan.spec),
    )


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
    num_visits: int | None = None,
    frames_with_replacement: bool | Booleans = False,
) -> PairChi2:
    """Chi^2 of two slots of a batch of visits, for shards of any sizes (S53).

    With probability v = `kappa` the slots are of one visit, which draws shard s with probability P_s and then its
    frames uniformly, different ones by default. Else they are of two visits. Visits are independent (`num_visits` None)
    or K neighbouring ones of spread anchors; then P_s are the shares of the frames. `frames_with_replacement` is of all
    visits, or of those to each shard, shape (S,). The other arrays have shape (S,), too.

    Exact, but for more than `MAX_SHARDS` unequal shards under spread anchors, where it is the bound of
    `pair_chi2_of_classes`. Independent visits by proportional P give v^2 (sum n / (n - 1) - 1), and v^2 (S - 1) with
    replacement.

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
    meetings = (1 - kappa) * _meetings(drawn, num_visits)
    if not _is_cheap(drawn, num_visits):
        same_frame = float((meetings / sizes).sum() + kappa * (drawn / sizes)[may_repeat].sum())
        bound = pair_chi2_of_classes(kappa + float(meetings.sum()), all_sizes, same_frame=same_frame)
        return PairChi2(bound, is_exact=False)
    # N^2 P(i, j) for a pair of one frame, of one shard, and of two shards. First for slots of two visits.
    alone = meetings * (num_frames / sizes) ** 2
    of_visit = kappa * drawn * num_frames**2
    pairs = np.maximum(sizes * (sizes - 1), 1)
    same_frame_ratio = alone + np.where(may_repeat, of_visit / sizes**2, 0.0)
    of_one_shard = alone + np.where(
        may_repeat, of_visit / sizes**2, np.where(sizes > 1, of_visit / pairs, 0.0)
    )
    inside = sizes @ (same_frame_ratio - 1) ** 2 + (sizes * (sizes - 1)) @ (of_one_shard - 1) ** 2
    across = _across_shards(drawn, sizes / num_frames, 1 - kappa, num_visits)
    return PairChi2(float(inside / num_frames**2) + across)


def weighted_visit_pair_chi2(
    shard_probability: npt.ArrayLike, *, kappa: float, num_visits: int | None = None
) -> PairChi2:
    """Chi^2 of two slots of visits under weights against independent pairs of the target (S58).

    As `visit_pair_chi2`: with probability v = `kappa` the slots are of one visit. Independent visits give v^2 (S - 1),
    where S counts the shards that hold weight.
    """
    probability = check_distribution(shard_probability)
    shares = probability[probability > 0]
    same_shard = kappa * shares + (1 - kappa) * _meetings(shares, num_visits)
    if not _is_cheap(shares, num_visits):
        of_one_shard, found = float((shares**2).sum()), float(same_shard.sum())
        bound = found**2 / of_one_shard + (1 - found) ** 2 / (1 - of_one_shard) - 1
        return PairChi2(bound, is_exact=False)
    inside = float(((same_shard / shares - shares) ** 2).sum())
    return PairChi2(inside + _across_shards(shares, shares, 1 - kappa, num_visits))


def _is_cheap(probability: Reals, num_visits: int | None) -> bool:
    return num_visits is None or len(probability) <= MAX_SHARDS or np.ptp(probability) == 0


def _meetings(probability: Reals, num_visits: int | None) -> Reals:
    """Probability that two visits of a batch are both of shard s, shape (S,). 0 if a batch is one visit."""
    if num_visits is None:
        return probability**2
    return meetings_of_visits(probability, num_visits=num_visits) if num_visits > 1 else 0 * probability


def _across_shards(probability: Reals, shares: Reals, rest: float, num_visits: int | None) -> float:
    """sum over s != t of pi_s pi_t (`rest` P(s, t) / (pi_s pi_t) - 1)^2, for two visits and shares pi of the frames."""
    if num_visits is None:  # P(s, t) = P_s P_t: all pairs minus those of s = t
        squares = probability**2 / shares
        across = rest**2 * float(squares.sum() ** 2 - (squares**2).sum())
        across -= 2 * rest * float(probability.sum() ** 2 - (probability**2).sum())
        return across + float(shares.sum() ** 2 - (shares**2).sum())
    if num_visits == 1:
        return float(1 - (shares**2).sum())
    total = 0.0
    for rows, pairs in pairs_of_visits(probability, num_visits=num_visits):
        independent = shares[rows, None] * shares
        terms = (rest * pairs - independent) ** 2 / independent
        numbers = np.arange(len(pairs))
        terms[numbers, rows.start + numbers] = 0
        if np.ptp(probability) == 0:  # every row is the first one, turned
            return len(shares) * float(terms[0].sum())
        total += float(terms.sum())
    return total


def block_pair_chi2(
    shard_sizes: npt.ArrayLike, *, block_frames: int, batch_size: int, num_batches: int | None = None
) -> PairChi2:
    """Chi^2 of two slots of a whole batch under the rotated order in blocks (S54).

    It is that of the first `num_batches` batches, as in `block_kappa`. No batch is larger than the epoch.

    Exact for equal shards in a random order. For unequal shards it is the bound of `pair_chi2_of_classes`. It is only
    near the true value where `lags_of_blocks` is not exact. Sizes have shape (S,).

    Raises:
        SamplingError: batch_size is 1 or above the epoch, or `block_kappa` refuses the numbers.
    """
    sizes = check_shard_sizes(shard_sizes)
    sizes = sizes[sizes > 0]
    num_frames, shard_size, num_shards = int(sizes.sum()), int(sizes[0]), len(sizes)
    if batch_size > num_frames:
        raise SamplingError(
            f"an epoch of {counted(num_frames, 'frame')} holds no whole batch of {batch_size}"
        )
    found = lags_of_blocks(
        num_frames, block_frames=block_frames, batch_size=batch_size, num_batches=num_batches
    )
    if sizes.min() < sizes.max() or found.step > 1:
        kappa = kappa_of_lags(sizes, found)
        return PairChi2(pair_chi2_of_classes(kappa, sizes), is_exact=False, is_bound=found.is_exact)
    inside, across = shares_by_phase(found, shard_size=shard_size, num_shards=num_shards)
    pairs = 2.0 * np.arange(
        shard_size, 0, -1
    )  # ordered pairs of places e apart in a shard, or in two: both ways
    pairs[0] = shard_size
    total = num_shards * float(pairs @ inside**2)
    total += num_shards * (num_shards - 1) * float(pairs @ across**2)
    return PairChi2(total - 1, is_exact=found.is_exact, is_bound=found.is_exact)
