"""The law of an epoch by steps: a trainer takes one step for each batch, whatever its size.

Each batch counts alike, and its frames share its weight, so a frame of a short batch weighs more than one of a whole
batch. SAMPLING.md: (S50), (S51).
"""

import operator
from typing import Any

from frame_store.shared import counted
from loader.bias.formulas import chi2_of_dropped_tail, chi2_of_padding
from loader.bias.pairs import check_batch_size
from loader.errors import SamplingError
from loader.sampling import BatchPlan


def chi2_of_short_batch(num_frames: int, *, batch_size: int) -> float:
    """Chi^2 by steps of an order that is always the same, cut every B frames, the last batch short (S50).

    N (q / B + 1 / r) / (q + 1)^2 - 1 with q whole batches and r = N mod B frames in the short one; 0 for r = 0.

    >>> round(chi2_of_short_batch(1025, batch_size=128), 2)
    12.45

    Raises:
        SamplingError: no frames, or batch_size below 1.
    """
    num_whole, rest = _cut(num_frames, batch_size)
    if not rest:
        return 0.0
    # Whole numbers until the division: nothing is lost where the answer is near 0.
    shares = num_frames * (num_whole * rest + batch_size) - (num_whole + 1) ** 2 * batch_size * rest
    return shares / ((num_whole + 1) ** 2 * batch_size * rest)


def total_variation_of_short_batch(num_frames: int, *, batch_size: int) -> float:
    """Half the summed |p - 1/N| of the same order by steps, 1 / (q + 1) - r / N (S50).

    Raises:
        SamplingError: no frames, or batch_size below 1.
    """
    num_whole, rest = _cut(num_frames, batch_size)
    return (num_frames - rest * (num_whole + 1)) / (num_frames * (num_whole + 1)) if rest else 0.0


def max_over_representation_of_short_batch(num_frames: int, *, batch_size: int) -> float:
    """Largest p over 1/N of the same order by steps, N / (r (q + 1)) (S50).

    Raises:
        SamplingError: no frames, or batch_size below 1.
    """
    num_whole, rest = _cut(num_frames, batch_size)
    return num_frames / (rest * (num_whole + 1)) if rest else 1.0


def chi2_of_fixed_order(num_frames: int, *, batch_size: int, dropped: int = 0, doubled: int = 0) -> float:
    """Chi^2 by steps of an order that is always the same, whatever becomes of its remainder (S12), (S13), (S50).

    `dropped` frames at its end are never shown, or the first `doubled` once more; else a short batch ends it.

    Raises:
        SamplingError: counts that cannot be.
    """
    if dropped:
        return chi2_of_dropped_tail(num_frames, dropped)
    if doubled:
        return chi2_of_padding(num_frames, doubled)
    return chi2_of_short_batch(num_frames, batch_size=batch_size)


def fixed_order_law(num_frames: int, *, dropped: int, doubled: int) -> dict[str, Any]:
    """What frames left out or shown again make of an order that is always the same, by the names of `SamplingLaw`.

    The last `dropped` are never shown, or the first `doubled` places of the order once more: nothing where none are.

    Raises:
        SamplingError: counts that cannot be.
    """
    if dropped:
        return {
            "shard_probability": None,
            "chi2": chi2_of_dropped_tail(num_frames, dropped),
            "total_variation": dropped / num_frames,
            "num_frames_never_shown": dropped,
            "max_over_representation": num_frames / (num_frames - dropped),
            "because": f"the last {counted(dropped, 'frame is', 'frames are')} never shown, the same in every epoch",
        }
    if doubled:
        rounds, again = divmod(doubled, num_frames)  # a step may go round the epoch several times
        total = num_frames + doubled
        more, once = (f"{rounds + 2} times", f"{rounds + 1} times") if rounds else ("twice", "once")
        return {
            "shard_probability": None,
            "chi2": chi2_of_padding(num_frames, doubled),
            "total_variation": again * (num_frames - again) / (num_frames * total),
            "max_over_representation": (1 + rounds + (again > 0)) * num_frames / total,
            "because": f"the first {counted(again, 'frame is', 'frames are')} shown {more} an epoch and the others "
            f"{once}: always the same",
        }
    return {}


def epoch_variance_of_permutation(num_frames: int, *, chi2_of_epoch: float) -> float:
    """Variance of the mean of one epoch's steps over sigma^2, where the order is a random permutation (S51).

    chi^2 / (N - 1), chi^2 being `chi2_of_fixed_order`. It is 0 only where every frame weighs alike.

    Raises:
        SamplingError: no frames, or a negative chi^2.
    """
    if operator.index(num_frames) < 1 or chi2_of_epoch < 0:
        raise SamplingError(f"no epoch of {counted(num_frames, 'frame')} has a law of chi^2 {chi2_of_epoch}")
    return chi2_of_epoch / (num_frames - 1) if num_frames > 1 else 0.0


def short_batch_law(plan: BatchPlan) -> dict[str, Any]:
    """What a short last batch makes of the law of `plan`, by the names of `SamplingLaw`: nothing where there is none.

    Of a shuffled order it is other frames each epoch, and the law over the seeds stays what it is.
    """
    num_frames, batch_size = plan.num_positions, plan.batch_size
    rest = num_frames % batch_size
    ends_short = not plan.num_positions_dropped and not plan.num_positions_doubled and rest > 0
    if plan.spec.sampling != "sequential" or not ends_short or num_frames < batch_size:
        return {}
    return {
        "shard_probability": None,
        "chi2": chi2_of_short_batch(num_frames, batch_size=batch_size),
        "total_variation": total_variation_of_short_batch(num_frames, batch_size=batch_size),
        "max_over_representation": max_over_representation_of_short_batch(num_frames, batch_size=batch_size),
        "because": f"the last batch has {rest} of {batch_size} frames, always the same, and is a step like any other",
    }


def epoch_variance(plan: BatchPlan) -> float | None:
    """Variance of the mean of one epoch's steps over sigma^2, whatever the sampling of `plan` (S51).

    None where it takes data, and for draws with replacement, whose batches are independent.
    """
    if plan.spec.sampling == "sequential":
        return 0.0
    if plan.spec.with_replacement:
        return None
    chi2 = chi2_of_fixed_order(
        plan.num_positions,
        batch_size=plan.batch_size,
        dropped=plan.num_positions_dropped,
        doubled=plan.num_positions_doubled,
    )
    if plan.spec.sampling == "block" and chi2:
        return None  # the frames that weigh more or less are neighbours
    return epoch_variance_of_permutation(plan.num_positions, chi2_of_epoch=chi2)


def _cut(num_frames: int, batch_size: int) -> tuple[int, int]:
    check_batch_size(batch_size)
    if operator.index(num_frames) < 1:
        raise SamplingError(f"no batches of {counted(num_frames, 'frame')}")
    return divmod(num_frames, batch_size)
