"""Rho of the shards of a cache that has grown, in the mean over the shuffles of its builds."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loader.bias.design_effect import population


def rho_of_generations(
    frames_by_generation: Sequence[npt.ArrayLike], shard_sizes: Sequence[Sequence[int]]
) -> float:
    """Sum_g w_g C_g / sigma^2 (S71). One array (n_g, D) and the sizes of its shards for each generation."""
    generations, mean, variance = population(frames_by_generation)
    num_frames = sum(map(len, generations))
    paired = [sum(size for size in sizes if size > 1) / num_frames for sizes in shard_sizes]
    correlations = [_correlation(frames, mean) for frames in generations]
    return float(np.dot(paired, correlations)) / variance


def rho_by_videos(
    video_sizes: Sequence[Sequence[int]], rho_of_videos: float, *, many_videos: bool = False
) -> list[float]:
    """`q_g r + (1 - q_g) r'` of each generation (S72): one list of frames per video for each.

    With `many_videos`, r' is 0, as in a cache of very many videos.
    """
    q_of_all = _q([size for sizes in video_sizes for size in sizes])
    num_frames = sum(map(sum, video_sizes))
    others = 0.0
    if not many_videos:
        others = -(1 / (num_frames - 1) + q_of_all * rho_of_videos) / (1 - q_of_all)
    return [_q(sizes) * rho_of_videos + (1 - _q(sizes)) * others for sizes in video_sizes]


def rho_of_joined_generations(
    frames_by_generation: Sequence[npt.ArrayLike], shard_sizes: Sequence[int]
) -> float:
    """Sum_s pi_s E C_s / sigma^2 with E C_s of (S73), for shards that are cut from the joined ids."""
    generations, mean, variance = population(frames_by_generation)
    ends = np.cumsum([len(frames) for frames in generations])
    correlations = np.array([_correlation(frames, mean) for frames in generations])
    distances = np.stack([frames.mean(0) - mean for frames in generations])
    products = distances @ distances.T
    total, first = 0.0, 0
    for size in shard_sizes:
        held = np.clip(ends, first, first + size) - np.clip(
            ends - np.diff(ends, prepend=0), first, first + size
        )
        first += size
        if size < 2:
            continue
        across = held @ products @ held - np.dot(held**2, np.diag(products))
        total += size * (np.dot(held * (held - 1), correlations) + across) / (size * (size - 1))
    return total / first / variance


def _correlation(frames: npt.NDArray[np.float64], mean: npt.NDArray[np.float64]) -> float:
    """C_g: the mean of the product over pairs of different frames; 0 for a single frame."""
    count = len(frames)
    if count < 2:
        return 0.0
    sums = float(np.square((frames - mean).sum(0)).sum()) - float(np.square(frames - mean).sum())
    return sums / (count * (count - 1))


def _q(video_sizes: Sequence[int]) -> float:
    count = sum(video_sizes)
    return sum(size * (size - 1) for size in video_sizes) / (count * (count - 1))
