"""Which decoded frames a build keeps: all, every K-th, or the frame shown at each tick of a clock."""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np

from cache_builder.errors import VideoError
from cache_builder.settings import LONGEST_TICKS, BuildConfig, FrameTimes, fit_frame_times
from cache_builder.video.packets import NO_PTS
from cache_builder.video.picture import why_no_levels
from cache_builder.video.scan import VideoScan

Selection = Callable[[int, int | None, int | None], bool]
"""(ordinal in the video, pts, pts of the next frame or None after the last) -> whether to keep the frame."""

_MAX_VIDEOS_REMEMBERED: Final = 4
"""A process decodes units of a few long videos in turn; fitting short videos again takes no time."""


def make_selection(config: BuildConfig, scan: VideoScan) -> Selection:
    """The selection for one video.

    Raises:
        VideoError: `gray16` of a video of colours; `--fps` on a video without timestamps, or with timestamps more than
            2**62 ticks apart.
    """
    no_levels = why_no_levels(scan.facts.pixel_format) if config.pixel == "gray16" else None
    if no_levels is not None:
        raise VideoError(scan.facts.path, no_levels)
    if config.exact_fps is None:
        return lambda ordinal, pts, following_pts: ordinal % config.stride == 0
    packets = scan.packets
    is_hidden = packets.is_discarded | packets.hides_picture | packets.holds_no_picture
    shown_pts = packets.pts[(packets.pts != NO_PTS) & ~is_hidden]
    if scan.time_base is None or len(shown_pts) == 0:
        raise VideoError(scan.facts.path, "has no timestamps, so fps cannot choose its frames; use stride")
    num_ticks = int(shown_pts.max()) - int(shown_pts.min())
    if num_ticks > LONGEST_TICKS:
        raise VideoError(
            scan.facts.path,
            f"its timestamps are up to {num_ticks:,} ticks apart, so fps cannot choose its frames; use stride",
        )
    rate = Fraction(*scan.facts.average_rate) if scan.facts.average_rate else None
    times = _fit(np.sort(shown_pts).tobytes(), scan.time_base, rate, config.exact_fps)
    return shown_at_ticks(config.exact_fps, times)


@lru_cache(maxsize=_MAX_VIDEOS_REMEMBERED)
def _fit(
    sorted_pts: bytes, time_base: Fraction, rate_in_header: Fraction | None, rate_wanted: Fraction
) -> FrameTimes:
    """`fit_frame_times`, computed once for all units of a video that a process decodes."""
    return fit_frame_times(
        np.frombuffer(sorted_pts, np.int64),
        time_base=time_base,
        rate_in_header=rate_in_header,
        rate_wanted=rate_wanted,
    )


def shown_at_ticks(fps: Fraction, times: FrameTimes) -> Selection:
    """Keep a frame if a tick falls between its time and the time of the next frame, or the end of the video.

    Tick k is k/fps seconds after the first frame. A frame with several ticks is kept once.
    """

    def first_tick_from(seconds: Fraction) -> int:
        return max(0, -(-seconds.numerator * fps.numerator // (seconds.denominator * fps.denominator)))

    def keeps(ordinal: int, pts: int | None, following_pts: int | None) -> bool:
        if pts is None:
            return False
        # Several frames may share one pts. The last of them is the one whose next frame has another pts.
        start = times.seconds(pts, last_of_equal=following_pts != pts)
        if following_pts is None:
            end = times.end_seconds
        else:
            end = times.seconds(following_pts, last_of_equal=following_pts == pts)
        return first_tick_from(start) < first_tick_from(end)

    return keeps
