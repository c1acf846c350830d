"""What `stratified` leaves of the variance, estimated from a few frames of a large cache (S70)."""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from frame_store.shared import counted
from loader.bias.checks import Integers, Reals
from loader.bias.nested import levels_of_run, mixture_weights
from loader.bias.pixels import ReadFeatures
from loader.bias.rho import CONFIDENCE, DRAWS, FRAMES_PER_DRAW, RhoEstimate, student_quantile
from loader.errors import SamplingError
from loader.sampling.orders import draw_without_replacement, epoch_keys, integers_below, words_at

IdsAt: TypeAlias = Callable[[Integers], Integers]
"""Frame ids at places of the order that strata are cut from."""

STRETCH: Final = "stretch"
_BITS_OF_FRAME: Final = 20
_LEAST_DRAWS: Final = 12
"""Stretches drawn of a length that a batch holds few pairs of."""


def rho_of_stretches(
    num_frames: int,
    read_features: ReadFeatures,
    *,
    ids_at: IdsAt | None = None,
    proxy: str,
    batch_size: int,
    draws: int = DRAWS,
    frames_per_draw: int = FRAMES_PER_DRAW,
    seed: int = 0,
) -> RhoEstimate | None:
    """The share of the variance that `stratified` removes from a batch's mean, 1 - sum_j c_j w_j, estimated (S70).

    For each length L = N / 2^j that a batch of M needs, it draws stretches of neighbouring places at a uniform start of
    the circle, and up to `frames_per_draw` different frames of each. w_j is half the mean square distance of two frames
    of a stretch over that of two frames of different stretches, times (L - 1) / L. The interval leaves out one stretch
    at a time. None if all frames drawn are alike.

    Args:
        num_frames: N.
        read_features: features of frames by their ids, shape (n, D).
        ids_at: frame ids at places of the order of the strata; None where ids are in that order.
        proxy: the name of the features.
        batch_size: M, of the global batch, at most N.
        draws: about half the number of stretches.
        frames_per_draw: frames of a stretch, two or more.
        seed: of the draws.

    Raises:
        SamplingError: a batch of no slot or of more than N, or fewer than two frames of a stretch.
    """
    if frames_per_draw < 2 or not 1 <= batch_size <= num_frames:
        raise SamplingError(
            f"no stretches for a batch of {batch_size} among {counted(num_frames, 'frame')}, {frames_per_draw} of each"
        )
    weights = mixture_weights(batch_size)
    lengths = [max(1, round(num_frames / (1 << level))) for level in range(levels_of_run(batch_size) + 1)]
    levels = [
        level for level, weight in enumerate(weights.tolist()) if level and weight and lengths[level] > 1
    ]
    key_start, key_frame = epoch_keys(seed=seed, epoch=0, num_keys=2)
    places: list[Integers] = []
    sizes: list[int] = []
    of_level: list[int] = []
    factors: list[float] = []
    for level in levels:
        length, number = lengths[level], max(_LEAST_DRAWS, math.ceil(2 * draws * weights[level]))
        words = words_at(key_start, np.arange(len(sizes), len(sizes) + number, dtype=np.uint64))
        for start in integers_below(words, num_frames).astype(np.int64).tolist():
            size = min(frames_per_draw, length)
            first = len(sizes) << _BITS_OF_FRAME
            counters = np.arange(first, first + size, dtype=np.uint64)
            places.append(
                (start + draw_without_replacement(words_at(key_frame, counters), length)) % num_frames
            )
            sizes.append(size)
            of_level.append(level)
        factors.append(float(weights[level]) * (length - 1) / length)
    if not levels:  # a batch of one frame, or stretches of one frame
        return _estimate(float(weights[0]), 0.0, 0, proxy=proxy, num_draws=0, frames_per_draw=frames_per_draw)
    chosen = np.concatenate(places)
    features = read_features(chosen if ids_at is None else ids_at(chosen))
    groups = np.split(features - features.mean(axis=0), np.cumsum(sizes)[:-1])
    return _of_groups(
        groups,
        np.array(of_level),
        np.array(factors),
        constant=float(weights[0]),
        proxy=proxy,
        frames_per_draw=frames_per_draw,
    )


def _of_groups(
    groups: list[Reals],
    of_level: Integers,
    factors: Reals,
    *,
    constant: float,
    proxy: str,
    frames_per_draw: int,
) -> RhoEstimate | None:
    """The estimate from groups of frames, each of one stretch of a level; levels are sorted."""
    sizes = np.array([len(group) for group in groups])
    means = np.stack([group.mean(axis=0) for group in groups])
    norms = np.array([np.square(group).sum(axis=1).mean() for group in groups])
    within = (norms - np.square(means).sum(axis=1)) * sizes / (sizes - 1)
    _, rows, counts = np.unique(of_level, return_inverse=True, return_counts=True)
    sums = np.bincount(rows, within)
    # All of it for every set of groups with one left out, and, in the last row, for all of them.
    number = len(groups)
    left = np.full(number + 1, number - 1.0)
    left[-1] = number
    total, squares = means.sum(axis=0), np.square(means).sum(axis=1)
    totals = np.vstack([total - means, total])
    own = np.append(squares.sum() - squares, squares.sum())
    norm = np.append(norms.sum() - norms, norms.sum()) / left
    between = norm - (np.square(totals).sum(axis=1) - own) / (left * (left - 1))
    of_levels = np.tile(sums / counts, (number + 1, 1))
    here = np.arange(number)
    of_levels[here, rows] = (sums[rows] - within) / (counts[rows] - 1)
    if (between <= 0).any():
        return None
    effects = constant + of_levels @ factors / between
    if (effects <= 0).any():  # no stretch varies
        return _estimate(0.0, 0.0, 0, proxy=proxy, num_draws=number, frames_per_draw=frames_per_draw)
    logs = np.log(effects[:-1])
    deviations = logs - (np.bincount(rows, logs) / counts)[rows]
    variance = float((np.square(deviations) * ((counts - 1) / counts)[rows]).sum())
    freedom = int(counts[np.argmax(factors)]) - 1
    return _estimate(
        float(effects[-1]),
        math.sqrt(variance),
        freedom,
        proxy=proxy,
        num_draws=number,
        frames_per_draw=frames_per_draw,
    )


def _estimate(
    effect: float, error_of_log: float, freedom: int, *, proxy: str, num_draws: int, frames_per_draw: int
) -> RhoEstimate:
    reach = student_quantile((1 + CONFIDENCE) / 2, freedom) * error_of_log if freedom else 0.0
    return RhoEstimate(
        level=STRETCH,
        proxy=proxy,
        rho=1 - effect,
        low=1 - effect * math.exp(reach),
        high=1 - effect * math.exp(-reach),
        num_draws=num_draws,
        frames_per_draw=frames_per_draw,
    )
