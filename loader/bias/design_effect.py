"""The design effect: the variance of a batch's mean, over that of as many independent frames.

Under a uniform distribution the mean gradient of a batch is right on average, and only its variance depends on the
sampler. The variance is design_effect * sigma^2 / B, where sigma^2 is the variance over all frames. It follows from
kappa, a number of the sampler (`loader.bias.pairs`), and rho, a number of the data. `SAMPLING.md` derives the formulas.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import (
    Booleans,
    Integers,
    Reals,
    check_batch_size,
    check_distribution,
    check_probability,
)
from loader.bias.nested import levels_of_run, mixed_design_effect, shares_left_of_arcs
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes


def least_correlation(group_sizes: npt.ArrayLike) -> float:
    """The least rho that any data can have over groups of these sizes, shape (S,) (S22).

    It is -1 / (n - 1), where n is the smallest size above one. The correlation of the pairs of a group is at least
    -sigma_s^2 / (n_s - 1), which is least for small groups. It is 0 if no group has a pair.

    >>> least_correlation([3, 9, 1])
    -0.5
    """
    sizes = check_shard_sizes(group_sizes)
    paired = sizes[sizes > 1]
    return -1 / (int(paired.min()) - 1) if paired.size else 0.0


def slot_correlation(kappa: float, rho: float, *, shard_size: float, num_shards: int) -> float:
    """Mean correlation of two distinct slots, kappa rho - (1 - kappa) (1 + (n - 1) rho) / (n (S - 1)) (S23).

    Assumes S equal shards of n frames that the sampler treats alike, different frames in the slots, and that any two
    different frames of a shard are equally likely to meet. Kappa is the probability that two slots share a shard.

    Raises:
        SamplingError: kappa is not a probability, rho is above 1, or there is one shard and kappa is below 1.
    """
    check_probability(kappa)
    if shard_size < 1 or num_shards < 1 or (num_shards == 1 and kappa < 1):
        raise SamplingError(
            f"kappa {kappa} with {counted(num_shards, 'shard')} of {shard_size} frames cannot be"
        )
    if rho > 1 + 1e-9:  # a computed rho is rounded; an estimate may also lie below -1 / (n - 1)
        raise SamplingError(f"rho is at most 1, found {rho}")
    if num_shards == 1:
        return rho
    across = -(1 + (shard_size - 1) * rho) / (shard_size * (num_shards - 1))
    return kappa * rho + (1 - kappa) * across


def design_effect(correlation: float, *, batch_size: int) -> float:
    """Variance of a batch's mean over that of B i.i.d. frames, 1 + (B - 1) c (S24).

    `correlation` is the mean over pairs of distinct slots, for instance `slot_correlation`. Assumes a uniform
    distribution in every slot, or at least on average over the slots.

    Raises:
        SamplingError: batch_size below 1.
    """
    check_batch_size(batch_size)
    return 1 + (batch_size - 1) * correlation


def visit_design_effect(rho: float, *, frames_per_visit: int) -> float:
    """Design effect of independent visits by the anchor-frame rule, 1 + (m - 1) rho (S26).

    Exact for shards of any sizes, and an upper bound if the anchors are spread, as ours are. `rho` is the correlation
    of two different frames of a shard if a visit takes different frames, which is the default, and eta^2 if it may take
    a frame twice (S22).
    """
    return design_effect(rho, batch_size=frames_per_visit)


def weighted_visit_design_effect(
    frames_by_shard: Sequence[npt.ArrayLike],
    shard_probability: npt.ArrayLike,
    *,
    frames_per_visit: int,
    with_replacement: bool | Booleans = False,
    num_spread_visits: int | None = None,
) -> float:
    """Design effect of visits that draw shard s with probability P_s (S46): exact, for any P and sizes.

    m sum_s P_s (b |mu_s - mu_P|^2 + sigma_s^2 f_s / m) / sigma^2. b is 1 for independent visits. For a batch of
    `num_spread_visits` visits whose anchors are spread over the shards in the given order, it is `spread_share`, what
    the spread leaves of the variance between shards (S26). mu_P is the mean of such visits, and sigma^2 the variance
    over all frames with equal weights. f_s = (n_s - m) / (n_s - 1) if a visit takes different frames, 1 if it
    may take one twice: `with_replacement`, of all visits, or of those to each shard, shape (S,). The variance is around
    mu_P; the distance from mu_P to the mean of all frames is the bias.

    One array of shape (n_s, D) per shard; `shard_probability` of shape (S,), 0 for shards without frames.

    >>> round(weighted_visit_design_effect([[[0.0]], [[1.0]] * 99], [0.5, 0.5], frames_per_visit=1), 2)
    25.25

    Raises:
        SamplingError: not a distribution over the shards, a visit longer than a shard that it may read, or all
            frames are equal.
    """
    check_batch_size(frames_per_visit)
    probability = check_distribution(shard_probability)
    if len(probability) != len(frames_by_shard):
        raise SamplingError(f"{len(probability)} probabilities for {counted(len(frames_by_shard), 'shard')}")
    drawn = [shard for shard, chance in zip(frames_by_shard, probability, strict=True) if chance > 0]
    may_repeat = np.broadcast_to(with_replacement, probability.shape)[probability > 0]
    if any(
        len(np.atleast_1d(shard)) < frames_per_visit and not again
        for shard, again in zip(drawn, may_repeat, strict=True)
    ):
        raise SamplingError(f"no visit of {counted(frames_per_visit, 'different frame')} in a shard of fewer")
    _, mean, variance = population(frames_by_shard)
    chances = probability[probability > 0]
    shards = [np.asarray(shard, np.float64) - mean for shard in drawn]
    sizes = np.array([len(shard) for shard in shards])
    means = np.stack([shard.mean(0) for shard in shards])
    within = np.array([np.square(shard).sum() for shard in shards]) / sizes - np.square(means).sum(1)
    between = np.square(means - chances @ means).sum(1)
    shrink = _without_replacement(sizes, frames_per_visit, with_replacement=may_repeat)
    left = 1.0
    if num_spread_visits is not None and chances @ between > 0:
        left = spread_share(chances, means, num_visits=num_spread_visits)
    return float(chances @ (frames_per_visit * left * between + within * shrink)) / variance


def spread_share(shard_probability: npt.ArrayLike, shard_means: Reals, *, num_visits: int) -> float:
    """Variance of the mean of K spread visits' shard means, over that of K independent visits' (S26).

    sum_j c_j(K) w_j of (S64) and (S67), at most 1. `shard_probability`, shape (S,), are the lengths of the shards on
    the circle, in the order of their ids. `shard_means` has shape (S, D).

    Raises:
        SamplingError: not a distribution, no visit, or means that are all alike.
    """
    shares = shares_left_of_arcs(shard_probability, shard_means, num_levels=levels_of_run(num_visits))
    return mixed_design_effect(shares, num_positions=num_visits)


def worst_visit_design_effect(
    shard_sizes: npt.ArrayLike,
    shard_probability: npt.ArrayLike,
    *,
    frames_per_visit: int,
    with_replacement: bool | Booleans = False,
) -> float:
    """The greatest `weighted_visit_design_effect` that any data can give (S47), from sizes and P.

    Some data attain it under independent visits. For spread ones it is an upper bound.

    max(m lambda, max_s f_s r_s) with r_s = P_s / pi_s, where pi_s is the share of the frames. Data that differ between
    shards give at most m lambda; lambda is the largest root of sum_s P_s / (lambda - r_s) = 0, or the largest r_s if
    two shards have it. Data that differ inside one shard give f_s r_s. It is m if P = pi and there are two shards.

    >>> round(worst_visit_design_effect([1, 99], [0.5, 0.5], frames_per_visit=1), 2)
    25.25

    Raises:
        SamplingError: not shard sizes, or not a distribution over the shards that hold frames.
    """
    check_batch_size(frames_per_visit)
    sizes, probability = check_shard_sizes(shard_sizes), check_distribution(shard_probability)
    if len(sizes) != len(probability) or probability[sizes == 0].any():
        raise SamplingError("expected a probability for each shard, 0 where it holds no frame")
    num_frames = int(sizes.sum())
    may_repeat = np.broadcast_to(with_replacement, sizes.shape)[sizes > 0]
    probability, sizes = probability[sizes > 0], sizes[sizes > 0]
    ratios = probability * num_frames / sizes
    shrink = _without_replacement(sizes, frames_per_visit, with_replacement=may_repeat)
    inside = float((ratios * shrink).max())
    if len(sizes) == 1:
        return inside if num_frames > 1 else 1.0
    return max(frames_per_visit * _largest_ratio_of_variances(ratios, probability), inside)


def _without_replacement(sizes: Integers, frames_per_visit: int, *, with_replacement: Booleans) -> Reals:
    """f_s: the variance of the mean of m frames of a shard, over sigma_s^2 / m. It is 0 for a shard of one frame."""
    different = np.maximum(sizes - frames_per_visit, 0) / np.maximum(sizes - 1, 1)
    return np.where(with_replacement, (sizes > 1).astype(np.float64), different)


def _largest_ratio_of_variances(ratios: Reals, probability: Reals) -> float:
    """Largest ratio of the variance of shard values under P to that under pi: the secular equation of (S47)."""
    order = np.argsort(ratios)
    ratios, probability = ratios[order], probability[order]
    low, high = float(ratios[-2]), float(ratios[-1])
    # The sum falls from +inf at the second largest ratio to -inf at the largest.
    while low < (middle := (low + high) / 2) < high:
        if float(np.sum(probability / (middle - ratios))) > 0:
            low = middle
        else:
            high = middle
    return high


def visit_correlation_on_shards(rho: float, shard_sizes: npt.ArrayLike, with_replacement: Booleans) -> float:
    """What takes the place of rho in (S26) if visits to some shards may draw a frame twice, from rho alone.

    sum_s pi_s r_s: r_s = rho where a visit takes different frames, and (1 + (n_s - 1) rho) / n_s where it may take one
    twice. It is exact if rho holds inside every shard, and approximate else. Both arrays have shape (S,).
    """
    sizes = check_shard_sizes(shard_sizes)
    held = np.maximum(sizes, 1)
    of_shard = np.where(with_replacement, (1 + (held - 1) * rho) / held, rho)
    return float(sizes @ of_shard) / int(sizes.sum())


def target_visit_design_effect(
    features: Reals,
    shard_ids: Integers,
    target: npt.ArrayLike,
    *,
    frames_per_visit: int,
    num_spread_visits: int | None = None,
) -> float:
    """Design effect of visits under weights, 1 + (m b - 1) eta2_t, against independent draws of the target (S58).

    A visit draws shard s with the probability P_s that the target gives it, and m of its frames by the target, with
    replacement. eta2_t = sum_s P_s |mu_s - G_t|^2 / sigma_t^2, with means and variance under the target. b is 1 for
    independent visits, and `spread_share` for batches of `num_spread_visits` spread ones. It is exact.

    Args:
        features: of each frame, shape (N, D).
        shard_ids: shard of each frame, shape (N,).
        target: probability of each frame, shape (N,).
        frames_per_visit: m.
        num_spread_visits: K; None for independent visits.

    Raises:
        SamplingError: not a distribution, or all frames that the target draws are equal.
    """
    check_batch_size(frames_per_visit)
    shares = check_distribution(target)
    drawn = shares > 0
    if not np.ptp(features[drawn], axis=0).any():
        raise SamplingError("all frames that the weights draw are equal: there is no variance to divide")
    centred = features - shares @ features
    variance = float(shares @ np.square(centred).sum(axis=1))
    probability = np.bincount(shard_ids, shares)
    sums = np.stack([np.bincount(shard_ids, shares * column) for column in centred.T], axis=1)
    held = probability > 0
    means = sums[held] / probability[held, None]
    between = float(probability[held] @ np.square(means).sum(axis=1))
    left = 1.0
    if num_spread_visits is not None and between > 0:
        left = spread_share(probability[held], means, num_visits=num_spread_visits)
    return 1 + (frames_per_visit * left - 1) * between / variance


def importance_design_effect(video_probability: npt.ArrayLike, video_sizes: npt.ArrayLike) -> float:
    """What it costs to draw by weights and to weigh each frame back to uniform frames, sum_v (n_v / N)^2 / t_v (S59).

    It is 1 + chi2 of uniform frames against the target, and Kish's design effect of the weights. It is infinite if a
    video with frames is never drawn. Both arrays have shape (V,).

    >>> importance_design_effect([0.5, 0.5], [1, 3])
    1.25

    Raises:
        SamplingError: not a distribution over videos that hold frames.
    """
    sizes, probability = check_shard_sizes(video_sizes), check_distribution(video_probability)
    if len(sizes) != len(probability) or probability[sizes == 0].any():
        raise SamplingError("expected a probability for each video, 0 where it holds no frame")
    held = sizes > 0
    shares, drawn = sizes[held] / int(sizes.sum()), probability[held]
    return float((shares**2 / drawn).sum()) if drawn.all() else float("inf")


def permutation_design_effect(num_frames: int, *, batch_size: int) -> float:
    """Design effect of any B positions of a permutation of N frames, (N - B) / (N - 1) (S27).

    Raises:
        SamplingError: not 1 <= batch_size <= num_frames.
    """
    check_batch_size(batch_size)
    if batch_size > num_frames:
        raise SamplingError(f"no batch of {batch_size} in a permutation of {counted(num_frames, 'frame')}")
    return (num_frames - batch_size) / (num_frames - 1) if num_frames > 1 else 1.0


def clip_design_effect(
    rho: float, *, clip_frames: int, batch_size: int, num_windows: int | None = None
) -> float:
    """Design effect of B clips, uniformly drawn whole windows of T frames (S21), against B T frames that clips show.

    1 + (T - 1) rho if windows are drawn with replacement (`num_windows` None); that times (M - B) / (M - 1) if the
    clips of a batch are different ones of M windows. It is exact, also if windows overlap. `rho` is the mean
    correlation of two slots of a window, over all windows.

    Raises:
        SamplingError: batch_size above num_windows, or a number below 1.
    """
    check_batch_size(batch_size)
    of_a_clip = visit_design_effect(rho, frames_per_visit=clip_frames)
    if num_windows is None:
        return of_a_clip
    if batch_size > num_windows:
        raise SamplingError(
            f"no batch of {counted(batch_size, 'different clip')}: the videos hold {counted(num_windows, 'window')}"
        )
    return of_a_clip * permutation_design_effect(num_windows, batch_size=batch_size)


def population(frames_by_shard: Sequence[npt.ArrayLike]) -> tuple[list[Reals], Reals, float]:
    """Shards that hold frames, the mean frame, and the variance over frames.

    Raises:
        SamplingError: no frames, all frames are equal, or the arrays do not fit each other.
    """
    shards = [np.asarray(shard, np.float64) for shard in frames_by_shard]
    shapes = {shard.shape[1:] for shard in shards}
    if len(shapes) != 1 or any(shard.ndim != 2 for shard in shards):
        raise SamplingError(f"expected arrays of (frames, D), found shapes {sorted(s.shape for s in shards)}")
    shards = [shard for shard in shards if len(shard)]
    num_frames = sum(map(len, shards))
    if not num_frames:
        raise SamplingError("no frames")
    mean = sum((shard.sum(0) for shard in shards), np.zeros(shards[0].shape[1])) / num_frames
    variance = sum(float(((shard - mean) ** 2).sum()) for shard in shards) / num_frames
    if not variance:
        raise SamplingError("all frames are equal: there is no variance to divide")
    return shards, mean, variance
