"""The frames that a video gives by its packets alone, proved or not."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache_builder.video.decode import predict_frames, sorted_packet_pts
from cache_builder.video.scan import VideoScan, ticks_to_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedFrames:
    """Frames of one video, shape (num_frames,) each."""

    ticks: npt.NDArray[np.int64]
    """Of the frames in output order."""
    packets: npt.NDArray[np.int64]
    """Ordinals of the packets that give a frame, rising."""
    is_proved: bool
    """Whether the packets prove the frames. If not, every packet that holds a picture is taken to give one."""


def claimed_frames(scan: VideoScan) -> ClaimedFrames:
    """The frames of a video, as far as its packets determine them."""
    table = predict_frames(scan)
    if table is not None:
        return ClaimedFrames(ticks=table.pts, packets=np.sort(table.packet), is_proved=True)
    packets = scan.packets
    with_frame = np.flatnonzero((packets.size > 0) & ~packets.is_discarded & ~packets.holds_no_picture)
    ticks = sorted_packet_pts(packets, with_frame) if scan.sorts_pts else np.sort(packets.pts[with_frame])
    return ClaimedFrames(ticks=ticks, packets=with_frame, is_proved=False)


def claimed_seconds(scan: VideoScan) -> npt.NDArray[np.float64]:
    """Pts of the claimed frames in output order, in seconds; NaN where a frame has none."""
    return ticks_to_seconds(claimed_frames(scan).ticks, scan.time_base)
