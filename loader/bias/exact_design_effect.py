"""Design effects computed exactly, from the features of every frame and the order of the sampler."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias import design_effect as formulas
from loader.bias.checks import Integers, Reals
from loader.bias.distributions import SamplingLaw
from loader.bias.pairs import block_design_effect, can_average_orders, circle_autocovariance
from loader.errors import SamplingError
from loader.sampling import SamplingSpec
from loader.sampling.orders import check_shard_sizes, frames_per_block


@dataclass(frozen=True, kw_only=True)
class ExactEffect:
    """How the mean of a global batch varies, compared with the mean of as many independent, uniform frames."""

    design_effect: float
    """Its variance around its own expectation, over sigma^2 / B. sigma^2 is the variance over all frames."""
    mean_square_effect: float | None
    """Its mean square distance from the mean of all frames, over sigma^2 / B; this includes the bias. None for clips,
    whose target is the mean over windows, and for the order on disk if it ends with a short step."""


def exact_effect(
    law: SamplingLaw,
    spec: SamplingSpec,
    shard_sizes: Integers,
    features: Reals,
    *,
    video_sizes: npt.ArrayLike | None = None,
) -> ExactEffect | None:
    """The effect of `spec` on frames of these `features`, shape (N, D), with a row for each frame id.

    None if all frames are alike, for `block` if the shards have too many sizes (`can_average_orders`), and for
    `permutation` and `iid`, which need no features.
    """
    if not np.ptp(features, axis=0).any():
        return None
    if spec.clip_frames is not None:
        assert video_sizes is not None  # clips have a law only with them
        return _of_clips(law, spec, features, check_shard_sizes(video_sizes))
    if spec.sampling == "shards":
        return _of_visits(law, spec, shard_sizes, features)
    if spec.sampling == "sequential":
        return _of_the_order_on_disk(law, features)
    if spec.sampling == "block" and can_average_orders(shard_sizes):
        effect = block_design_effect(
            circle_autocovariance(features, shard_sizes),
            block_frames=frames_per_block(shard_sizes, shards_per_block=spec.shards_per_block or 1),
            batch_size=law.slots_per_batch,
            num_batches=law.num_whole_steps,
        )
        return ExactEffect(design_effect=effect, mean_square_effect=effect)
    return None


def window_means(
    features: Reals, video_sizes: npt.ArrayLike, *, clip_frames: int, stride: int
) -> tuple[Reals, Reals]:
    """The mean of each whole window, shape (M, D), and the number of windows that show each frame, shape (N,).

    Raises:
        SamplingError: no window fits into a video.
    """
    sizes = check_shard_sizes(video_sizes)
    num_starts = np.maximum(sizes - (clip_frames - 1) * stride, 0)
    if not num_starts.any():
        raise SamplingError(
            f"no clip of {counted(clip_frames, 'frame')} with stride {stride} fits into a video"
        )
    first = np.repeat(np.cumsum(sizes) - sizes, num_starts)
    starts = first + np.arange(len(first)) - np.repeat(np.cumsum(num_starts) - num_starts, num_starts)
    total, times = np.zeros((len(starts), features.shape[1])), np.zeros(len(features))
    for slot in range(clip_frames):
        total += features[starts + slot * stride]
        times += np.bincount(starts + slot * stride, minlength=len(features))
    return total / clip_frames, times


def clip_correlation(
    features: Reals, video_sizes: npt.ArrayLike, *, clip_frames: int, stride: int
) -> float | None:
    """Rho of (S21), the mean correlation of two slots of a whole window, over all windows.

    None if all frames are alike. It needs no array of all windows. A clip has two frames or more.

    Raises:
        SamplingError: no window fits into a video.
    """
    means, times = window_means(features, video_sizes, clip_frames=clip_frames, stride=stride)
    if not np.ptp(features[times > 0], axis=0).any():
        return None
    law = times / times.sum()
    centre = law @ features
    variance = float(law @ np.square(features - centre).sum(axis=1))
    of_means = float(np.square(means - centre).sum(axis=1).mean())
    return (clip_frames * of_means / variance - 1) / (clip_frames - 1)


def _of_clips(
    law: SamplingLaw, spec: SamplingSpec, features: Reals, video_sizes: Integers
) -> ExactEffect | None:
    clip_frames = spec.clip_frames or 1
    if clip_frames == 1:
        return None  # single frames need no features
    rho = clip_correlation(features, video_sizes, clip_frames=clip_frames, stride=spec.clip_stride)
    if rho is None:
        return None
    effect = formulas.clip_design_effect(
        rho,
        clip_frames=clip_frames,
        batch_size=law.slots_per_batch // clip_frames,
        num_windows=None if spec.with_replacement else law.num_windows,
    )
    return ExactEffect(design_effect=effect, mean_square_effect=None)


def _of_visits(law: SamplingLaw, spec: SamplingSpec, shard_sizes: Integers, features: Reals) -> ExactEffect:
    assert law.shard_probability is not None  # visits draw the frames of a shard uniformly
    shards = np.split(features, np.cumsum(shard_sizes)[:-1])
    effect = formulas.weighted_visit_design_effect(
        shards,
        law.shard_probability,
        frames_per_visit=law.slots_per_visit,
        with_replacement=spec.frames_with_replacement,
    )
    weights = np.repeat(law.shard_probability / np.maximum(shard_sizes, 1), shard_sizes)
    centred = features - features.mean(axis=0)
    bias = float(np.square(weights @ centred).sum() / np.square(centred).sum(axis=1).mean())
    return ExactEffect(
        design_effect=effect, mean_square_effect=effect + (law.slots_per_batch * bias if law.chi2 else 0.0)
    )


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
