"""What the last batch of an epoch does to the distribution: left out, filled up, or a short step.

A trainer takes one step for each batch, whatever its size. So every batch has the same weight, its frames share that
weight, and a frame of a short batch weighs more than a frame of a whole one. SAMPLING.md: (S12), (S13), (S50), (S51).
"""

import operator
from dataclasses import replace

from frame_store.shared import counted
from loader.bias.checks import check_batch_size
from loader.bias.distributions.law import SamplingLaw
from loader.errors import SamplingError
from loader.sampling import BatchPlan


def chi2_of_dropped_tail(num_frames: int, num_dropped: int) -> float:
    """Chi^2 if `num_dropped` frames are never shown and all others equally often, r / (N - r) (S12).

    >>> chi2_of_dropped_tail(100, 20)
    0.25

    Raises:
        SamplingError: not 0 <= num_dropped < num_frames.
    """
    if not 0 <= operator.index(num_dropped) < operator.index(num_frames):
        raise SamplingError(f"cannot drop {num_dropped} of {counted(num_frames, 'frame')} and show the rest")
    return num_dropped / (num_frames - num_dropped)


def chi2_of_padding(num_frames: int, num_padded: int) -> float:
    """Chi^2 of a sequential epoch that starts again until `num_padded` more slots are filled (S13).

    It is b (N - b) / (N + num_padded)^2 with b = num_padded mod N: b frames are shown once more than the others.

    Raises:
        SamplingError: no frames, or a negative number of padded slots.
    """
    if operator.index(num_frames) < 1 or operator.index(num_padded) < 0:
        raise SamplingError(f"cannot pad {counted(num_frames, 'frame')} by {num_padded}")
    again = num_padded % num_frames
    return again * (num_frames - again) / (num_frames + num_padded) ** 2


def chi2_of_short_batch(num_frames: int, *, batch_size: int) -> float:
    """Chi^2 by steps of a fixed order, cut every B frames, whose last batch is short (S50).

    N (q / B + 1 / r) / (q + 1)^2 - 1 with q whole batches and r = N mod B frames in the short one; 0 for r = 0.

    >>> round(chi2_of_short_batch(1025, batch_size=128), 2)
    12.45

    Raises:
        SamplingError: no frames, or batch_size below 1.
    """
    num_whole, rest = _cut(num_frames, batch_size)
    if not rest:
        return 0.0
    # Integers until the division, so no digits are lost near 0.
    shares = num_frames * (num_whole * rest + batch_size) - (num_whole + 1) ** 2 * batch_size * rest
    return shares / ((num_whole + 1) ** 2 * batch_size * rest)


def total_variation_of_short_batch(num_frames: int, *, batch_size: int) -> float:
    """Half the sum of |p - 1/N| for the same order by steps, 1 / (q + 1) - r / N (S50)."""
    num_whole, rest = _cut(num_frames, batch_size)
    return (num_frames - rest * (num_whole + 1)) / (num_frames * (num_whole + 1)) if rest else 0.0


def max_over_representation_of_short_batch(num_frames: int, *, batch_size: int) -> float:
    """Largest p over 1/N for the same order by steps, N / (r (q + 1)) (S50)."""
    num_whole, rest = _cut(num_frames, batch_size)
    return num_frames / (rest * (num_whole + 1)) if rest else 1.0


def chi2_of_fixed_order(num_frames: int, *, batch_size: int, dropped: int = 0, doubled: int = 0) -> float:
    """Chi^2 by steps of a fixed order, for each treatment of its remainder (S12), (S13), (S50).

    The last `dropped` frames are never shown, or the first `doubled` are shown once more. If both are 0, a short batch
    ends the order.
    """
    if dropped:
        return chi2_of_dropped_tail(num_frames, dropped)
    if doubled:
        return chi2_of_padding(num_frames, doubled)
    return chi2_of_short_batch(num_frames, batch_size=batch_size)


def fixed_order_law(law: SamplingLaw) -> SamplingLaw:
    """`law` of a fixed order, corrected for the positions that it drops or doubles.

    The last positions are dropped, so their frames are never shown; or the first positions are read again.
    """
    num_frames, dropped, doubled = law.num_frames, law.num_positions_dropped, law.num_positions_doubled
    if dropped:
        return replace(
            law,
            shard_probability=None,
            chi2=chi2_of_dropped_tail(num_frames, dropped),
            total_variation=dropped / num_frames,
            num_frames_never_shown=dropped,
            max_over_representation=num_frames / (num_frames - dropped),
            because=f"the last {counted(dropped, 'frame is', 'frames are')} never shown, the same in every epoch",
        )
    if doubled:
        rounds, again = divmod(doubled, num_frames)  # a step may contain the epoch several times
        total = num_frames + doubled
        more, once = (f"{rounds + 2} times", f"{rounds + 1} times") if rounds else ("twice", "once")
        return replace(
            law,
            shard_probability=None,
            chi2=chi2_of_padding(num_frames, doubled),
            total_variation=again * (num_frames - again) / (num_frames * total),
            max_over_representation=(1 + rounds + (again > 0)) * num_frames / total,
            because=f"the first {counted(again, 'frame is', 'frames are')} shown {more} an epoch and the others "
            f"{once}: always the same",
        )
    return law


def epoch_variance_of_permutation(num_frames: int, *, chi2_of_epoch: float) -> float:
    """Variance of the mean of one epoch's steps over sigma^2, for a random permutation (S51).

    It is chi^2 / (N - 1), where chi^2 is that of `chi2_of_fixed_order`. It is 0 only if all frames weigh the same.

    Raises:
        SamplingError: no frames, or a negative chi^2.
    """
    if operator.index(num_frames) < 1 or chi2_of_epoch < 0:
        raise SamplingError(f"no epoch of {counted(num_frames, 'frame')} has the chi^2 {chi2_of_epoch}")
    return chi2_of_epoch / (num_frames - 1) if num_frames > 1 else 0.0


def with_short_batch(law: SamplingLaw, plan: BatchPlan) -> SamplingLaw:
    """`law` of `plan`, corrected for a short last batch.

    Only the order on disk changes. A shuffled order has other frames in its short batch in each epoch, so its
    distribution over the seeds stays the same.
    """
    num_frames, batch_size = plan.num_positions, plan.batch_size
    rest = num_frames % batch_size
    ends_short = not plan.num_positions_dropped and not plan.num_positions_doubled and rest > 0
    if plan.spec.sampling != "sequential" or not ends_short or num_frames < batch_size:
        return law
    return replace(
        law,
        shard_probability=None,
        chi2=chi2_of_short_batch(num_frames, batch_size=batch_size),
        total_variation=total_variation_of_short_batch(num_frames, batch_size=batch_size),
        max_over_representation=max_over_representation_of_short_batch(num_frames, batch_size=batch_size),
        because=f"the last batch has {rest} of {batch_size} frames, always the same, and is a step like any other",
    )


def epoch_variance(plan: BatchPlan) -> float | None:
    """Variance of the mean of one epoch's steps over sigma^2, for any sampling of `plan` (S51).

    None if it depends on the data, and for draws with replacement, whose batches are independent.
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
    if plan.spec.sampling in {"block", "stratified"} and chi2:
        return None  # it depends on how alike the frames are that weigh more or less (S69)
    return epoch_variance_of_permutation(plan.num_positions, chi2_of_epoch=chi2)


def _cut(num_frames: int, batch_size: int) -> tuple[int, int]:
    """Whole batches, and frames in the short one."""
    check_batch_size(batch_size)
    if operator.index(num_frames) < 1:
        raise SamplingError(f"no batches of {counted(num_frames, 'frame')}")
    return divmod(num_frames, batch_size)
