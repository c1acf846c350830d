"""Which frames of a file that holds several episodes a build keeps. `--stride` and `--fps` count in each by itself."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from cache_builder.plan.cutting import Cut, cut_file
from cache_builder.plan.selection import shown_at_ticks
from cache_builder.settings import BuildConfig, fit_frame_times
from cache_builder.sources import EpisodeSpan
from cache_builder.video.scan import VideoScan


def kept_of_file(
    pts_seconds: npt.NDArray[np.float64],
    episodes: Sequence[tuple[str, EpisodeSpan]],
    scan: VideoScan,
    config: BuildConfig,
) -> npt.NDArray[np.bool_]:
    """Whether each frame of a file is kept: bool, shape (num_frames,). Frames outside every episode are not.

    `pts_seconds` and `episodes` are those of `cut_file`.
    """
    keeps = np.zeros(len(pts_seconds), np.bool_)
    for cut in cut_file(pts_seconds, episodes):
        if isinstance(cut, Cut):
            frames = slice(cut.first_frame, cut.end_frame)
            keeps[frames] = kept_of_episode(pts_seconds[frames], scan, config)
    return keeps


def kept_of_episode(
    pts_seconds: npt.NDArray[np.float64], scan: VideoScan, config: BuildConfig
) -> npt.NDArray[np.bool_]:
    """Whether each frame of an episode is kept, by the pts of its frames alone, all of them known."""
    num_frames = len(pts_seconds)
    if config.exact_fps is None or scan.time_base is None or not num_frames:
        return np.asarray(np.arange(num_frames) % config.stride == 0)
    ticks = np.rint(pts_seconds * scan.time_base.denominator / scan.time_base.numerator).astype(np.int64)
    times = fit_frame_times(
        np.sort(ticks),
        time_base=scan.time_base,
        rate_in_header=Fraction(*scan.facts.average_rate) if scan.facts.average_rate else None,
        rate_wanted=config.exact_fps,
    )
    keeps = shown_at_ticks(config.exact_fps, times)
    shown = ticks.tolist()
    following = [*shown[1:], None]
    kept = (keeps(0, start, end) for start, end in zip(shown, following, strict=True))
    return np.fromiter(kept, np.bool_, count=num_frames)
