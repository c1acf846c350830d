"""Which decoded frames a build keeps: all, every K-th, or the one shown at each tick of a clock."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from cache_builder.config import BuildConfig
from cache_builder.errors import VideoError
from cache_builder.video.packet_table import NO_PTS
from cache_builder.video.scan import VideoScan

Selection = Callable[[int, int | None, int | None], bool]
"""(ordinal in the video, pts, pts of the frame that follows or None behind the last) -> keep it?"""


def make_selection(config: BuildConfig, scan: VideoScan) -> Selection:
    """The selection that `config` asks for, for one video.

    Raises:
        VideoError: `--fps` on a video without timestamps.
    """
    if config.exact_fps is None:
        return lambda ordinal, pts, following_pts: ordinal % config.stride == 0
    shown_pts = np.sort(scan.packets.pts[(scan.packets.pts != NO_PTS) & ~scan.packets.is_discarded])
    if scan.time_base is None or len(shown_pts) == 0:
        raise VideoError(
            scan.facts.path, "has no timestamps, so --fps cannot choose its frames; use --stride"
        )
    typical_duration = int(np.median(np.diff(shown_pts))) if len(shown_pts) > 1 else 1
    return shown_at_ticks(
        config.exact_fps,
        time_base=scan.time_base,
        first_pts=int(shown_pts[0]),
        end_pts=int(shown_pts[-1]) + typical_duration,
    )


def shown_at_ticks(fps: Fraction, *, time_base: Fraction, first_pts: int, end_pts: int) -> Selection:
    """Keep a frame if a tick first_pts + k/fps falls while it is shown: from its pts to the next, or to `end_pts`.

    Containers round pts to their time base (Matroska to milliseconds), so a frame counts as shown half a
    unit of it before its pts: else 30 ticks a second would miss every third frame of a 30 fps Matroska file.
    A frame that several ticks fall on is kept once.
    """
    ticks_per_unit = fps * time_base

    def first_tick_from(pts: int) -> int:
        return max(0, math.ceil((pts - first_pts - Fraction(1, 2)) * ticks_per_unit))

    def keeps(ordinal: int, pts: int | None, following_pts: int | None) -> bool:
        if pts is None:
            return False
        return first_tick_from(pts) < first_tick_from(end_pts if following_pts is None else following_pts)

    return keeps
