"""Design effects computed exactly, from the features of every frame and the order of the sampler."""

from dataclasses import dataclass, replace

import numpy as np

from loader.bias import design_effect as formulas
from loader.bias.checks import Integers, Reals
from loader.bias.distributions import SamplingLaw, WindowsOfVideos, offsets_of
from loader.bias.nested import nested_design_effect, weighted_nested_effect
from loader.bias.pairs import block_design_effect, can_average_orders, circle_autocovariance
from loader.sampling import SamplingSpec
from loader.sampling.orders import draws_again, frames_per_block


@dataclass(frozen=True, kw_only=True)
class ExactEffect:
    """How the mean of a global batch varies, compared with the mean of as many independent, uniform frames."""

    design_effect: float
    """Its variance around its own expectation, over sigma^2 / B. sigma^2 is the variance over all frames."""
    mean_square_effect: float | None
    """Its mean square distance from the mean of all frames, over sigma^2 / B; this includes the bias. None for windows,
    whose target is the mean over windows, and for the order on disk if it ends with a short step."""
    standard_error: float = 0.0
    """Of the design effect, which is a mean over some batches of an epoch; 0 if it is over all of them."""
    why_not_exact: str | None = None
    """Over which batches the design effect is a mean; None if over all of an epoch."""

    @property
    def low(self) -> float:
        """Two standard errors below the design effect."""
        return max(0.0, self.design_effect - 2 * self.standard_error)

    @property
    def high(self) -> float:
        """Two standard errors above the design effect."""
        return self.design_effect + 2 * self.standard_error


def exact_effect(
    law: SamplingLaw,
    spec: SamplingSpec,
    shard_sizes: Integers,
    features: Reals,
    *,
    windows: WindowsOfVideos | None = None,
    target: Reals | None = None,
    strata_ids: Integers | None = None,
) -> ExactEffect | None:
    """The effect of `spec` on frames of these `features`, shape (N, D), with a row for each frame id.

    None if all frames are alike, for `block` if the shards have too many sizes (`can_average_orders`), and for
    `permutation` and `iid` of single frames, which need no features. `target`, shape (N,), has the probability of each
    frame under weights; both effects are then against the mean of the target and independent draws of it.
    `strata_ids`, shape (N,), has the frame ids in the order that `stratified` cuts into strata; None where ids are in
    that order.
    """
    if target is not None:
        return _of_target(law, spec, shard_sizes, features, target, strata_ids=strata_ids)
    if not np.ptp(features, axis=0).any():
        return None
    if windows is not None:
        return _of_windows(law, spec, shard_sizes, features, windows, strata_ids=strata_ids)
    if spec.sampling == "stratified":
        return _of_strata(law, features if strata_ids is None else features[strata_ids])
    if spec.sampling in {"shards", "sequential"}:
        is_visits = spec.sampling == "shards"
        return (
            _of_visits(law, spec, shard_sizes, features)
            if is_visits
            else _of_the_order_on_disk(law, features)
        )
    return _of_blocks(law, spec, shard_sizes, features) if spec.sampling == "block" else None


def window_correlation(features: Reals, windows: WindowsOfVideos) -> float | None:
    """Rho of (S21), the mean correlation of two slots of a window, over all windows.

    None if all frames shown are alike. A window has two frames or more. `features`, shape (N, D), has a row for each
    frame id.

    Raises:
        SamplingError: no window fits into a video.
    """
    means, times = windows.means(features)
    slots = len(offsets_of(windows.spec))
    of_means = float(np.square(means - means.mean(axis=0)).sum(axis=1).mean())
    variance = _variance_of_slots(features, times)
    return None if variance is None else (slots * of_means / variance - 1) / (slots - 1)


def _variance_of_slots(features: Reals, times: Reals) -> float | None:
    """Variance of the frames under the distribution of the slots; None if all frames shown are alike."""
    if not np.ptp(features[times > 0], axis=0).any():
        return None
    law = times / times.sum()
    return float(law @ np.square(features - law @ features).sum(axis=1))


def _of_windows(
    law: SamplingLaw,
    spec: SamplingSpec,
    shard_sizes: Integers,
    features: Reals,
    windows: WindowsOfVideos,
    *,
    strata_ids: Integers | None,
) -> ExactEffect | None:
    """The effect of `spec` on the means of windows, times what a window's mean varies more than that of T frames."""
    slots = law.slots_per_window
    means, times = windows.means(features)
    variance = _variance_of_slots(features, times)
    if variance is None:
        return None
    of_window = slots * float(np.square(means - means.mean(axis=0)).sum(axis=1).mean()) / variance
    if spec.sampling in {"permutation", "iid"}:
        if slots == 1:
            return None  # as single frames, which need no features
        of_means = formulas.clip_design_effect(
            0.0,
            clip_frames=1,
            batch_size=law.slots_per_batch // slots,
            num_windows=None if spec.with_replacement else law.num_windows,
        )
        return ExactEffect(design_effect=of_means * of_window, mean_square_effect=None)
    sizes = windows.anchor_shard_sizes(shard_sizes)
    of_anchors = replace(
        law,
        slots_per_batch=law.slots_per_batch // slots,
        slots_per_visit=law.slots_per_visit // slots,
        slots_per_window=1,
        shard_probability=sizes / sizes.sum(),
    )
    if spec.sampling == "stratified":
        strata_ids = windows.windows_in_order(strata_ids)
    effect = exact_effect(of_anchors, spec, sizes, means, strata_ids=strata_ids)
    if effect is None:
        return None
    return replace(
        effect,
        design_effect=effect.design_effect * of_window,
        standard_error=effect.standard_error * of_window,
        mean_square_effect=None,
    )


def _of_strata(law: SamplingLaw, features_in_order: Reals) -> ExactEffect | None:
    """Global batches are runs of neighbouring positions of a nested order."""
    if not law.num_whole_steps:
        return None
    found = nested_design_effect(
        features_in_order, batch_size=law.slots_per_batch, num_batches=law.num_whole_steps
    )
    why = None
    if found.batches_summed < found.num_batches:
        why = f"over {found.batches_summed} of {found.num_batches} batches of an epoch"
    return ExactEffect(
        design_effect=found.design_effect,
        mean_square_effect=found.design_effect,
        standard_error=found.standard_error,
        why_not_exact=why,
    )


def _of_blocks(
    law: SamplingLaw, spec: SamplingSpec, shard_sizes: Integers, features: Reals
) -> ExactEffect | None:
    if not can_average_orders(shard_sizes):
        return None
    effect = block_design_effect(
        circle_autocovariance(features, shard_sizes),
        block_frames=frames_per_block(shard_sizes, shards_per_block=spec.shards_per_block or 1),
        batch_size=law.slots_per_batch,
        num_batches=law.num_whole_steps,
    )
    return ExactEffect(design_effect=effect, mean_square_effect=effect)


def _of_visits(law: SamplingLaw, spec: SamplingSpec, shard_sizes: Integers, features: Reals) -> ExactEffect:
    assert law.shard_probability is not None  # visits draw the frames of a shard uniformly
    shards = np.split(features, np.cumsum(shard_sizes)[:-1])
    effect = formulas.weighted_visit_design_effect(
        shards,
        law.shard_probability,
        frames_per_visit=law.slots_per_visit,
        with_replacement=draws_again(shard_sizes, spec),
    )
    weights = np.repeat(law.shard_probability / np.maximum(shard_sizes, 1), shard_sizes)
    centred = features - features.mean(axis=0)
    bias = float(np.square(weights @ centred).sum() / np.square(centred).sum(axis=1).mean())
    return ExactEffect(
        design_effect=effect, mean_square_effect=effect + (law.slots_per_batch * bias if law.chi2 else 0.0)
    )


def _of_target(
    law: SamplingLaw,
    spec: SamplingSpec,
    shard_sizes: Integers,
    features: Reals,
    target: Reals,
    *,
    strata_ids: Integers | None,
) -> ExactEffect | None:
    if not np.ptp(features[target > 0], axis=0).any():
        return None
    if spec.sampling == "stratified":
        if strata_ids is not None:
            features, target = features[strata_ids], target[strata_ids]
        effect = weighted_nested_effect(target, features, batch_size=law.slots_per_batch)
    else:
        effect = formulas.target_visit_design_effect(
            features,
            np.repeat(np.arange(len(shard_sizes)), shard_sizes),
            target,
            frames_per_visit=spec.frames_per_visit or 1,
        )
    return ExactEffect(design_effect=effect, mean_square_effect=effect)


def _of_the_order_on_disk(law: SamplingLaw, features: Reals) -> ExactEffect | None:
    """Whole global batches are runs of frame ids. Batches that `pad` fills continue at the first frame."""
    num_frames, slots = len(features), law.slots_per_batch
    centred = features - features.mean(axis=0)
    num_inside = num_frames // slots
    means = centred[: num_inside * slots].reshape(num_inside, slots, features.shape[1]).mean(axis=1)
    for batch in range(num_inside, law.num_whole_steps):
        padded = np.arange(batch * slots, (batch + 1) * slots) % num_frames
        means = np.concatenate([means, centred[padded].mean(axis=0)[None]])
    if not len(means):
        return None
    scale = slots / float(np.square(centred).sum(axis=1).mean())
    around_own = np.square(means - means.mean(axis=0)).sum(axis=1).mean()
    is_all = law.num_positions_read % slots == 0
    around_all = float(np.square(means).sum(axis=1).mean()) * scale
    return ExactEffect(
        design_effect=float(around_own) * scale, mean_square_effect=around_all if is_all else None
    )
