"""How many frames of a video a build would decode and store, by its scan alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache_builder.plan import Selection, make_selection
from cache_builder.settings import BuildConfig
from cache_builder.video.decode import predict_frames, sorted_packet_pts
from cache_builder.video.packets import NO_PTS
from cache_builder.video.scan import VideoScan


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedFrames:
    """Frames of one video."""

    num_decoded: int
    num_stored: int
    is_proved: bool
    """Whether the packets prove the numbers; else each packet is taken for a frame. Damage inside of pictures, which
    only decoding shows, may still leave some out."""


def expected_frames(scan: VideoScan, config: BuildConfig) -> ExpectedFrames:
    """Count the frames of a video, and those that `config` keeps.

    Raises:
        VideoError: `fps` cannot choose frames of this video.
    """
    table = predict_frames(scan)
    pts = _claimed_pts(scan) if table is None else table.pts
    return ExpectedFrames(
        num_decoded=len(pts),
        num_stored=_num_kept(pts, make_selection(config, scan), config),
        is_proved=table is not None and not scan.damage_texts,
    )


def _claimed_pts(scan: VideoScan) -> npt.NDArray[np.int64]:
    """Ticks of the frames in output order, if every packet that holds a picture gives one."""
    packets = scan.packets
    with_frame = np.flatnonzero((packets.size > 0) & ~packets.is_discarded & ~packets.holds_no_picture)
    return sorted_packet_pts(packets, with_frame) if scan.sorts_pts else np.sort(packets.pts[with_frame])


def _num_kept(pts: npt.NDArray[np.int64], keeps: Selection, config: BuildConfig) -> int:
    if config.fps is None:
        return -(-len(pts) // config.stride)
    ticks = [None if tick == NO_PTS else tick for tick in pts.tolist()]
    shown = zip(ticks, [*ticks[1:], None], strict=True)
    return sum(keeps(ordinal, start, end) for ordinal, (start, end) in enumerate(shown))
