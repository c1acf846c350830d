"""Which packet each frame of a video was coded in: told by the packets, or where they cannot, by decoding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache_builder.video.decode import VideoReader
from cache_builder.video.packet_table import NO_PTS, PacketTable
from cache_builder.video.scan import VideoScan


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTable:
    """Frames of one video in the decoder's output order, shape (num_frames,) each."""

    packet: npt.NDArray[np.int64]
    """Ordinal of the packet that each frame was coded in."""
    pts: npt.NDArray[np.int64]
    """Ticks, `NO_PTS` where there is none."""

    def __post_init__(self) -> None:
        """Check that the columns fit together, and freeze them."""
        for column in (self.packet, self.pts):
            if column.dtype != np.int64 or column.shape != self.packet.shape:
                raise ValueError(
                    f"expected int64 of shape {self.packet.shape}, found {column.dtype} {column.shape}"
                )
            column.flags.writeable = False

    def __len__(self) -> int:
        return len(self.packet)


def predict_frames(scan: VideoScan) -> FrameTable | None:
    """The frames as the packets' pts order them; None where `uncounted_reason` says that this may be wrong."""
    if scan.facts.uncounted_reason is not None:
        return None
    order = np.argsort(scan.packets.pts, kind="stable")
    return FrameTable(packet=order, pts=scan.packets.pts[order])


def count_frames(path: Path, scan: VideoScan) -> FrameTable:
    """The frames as they come out of the decoder: decodes the whole video, converts nothing.

    Raises:
        VideoError: the file is not the one that was scanned.
    """
    packets: list[int] = []
    pts: list[int] = []
    with VideoReader(path, scan) as reader:
        for frame in reader.decode(0, len(scan.packets)):
            packets.append(frame.packet)
            pts.append(NO_PTS if frame.pts is None else frame.pts)
    packet = np.array(packets, np.int64)
    ticks = sorted_packet_pts(scan.packets, packet) if scan.sorts_pts else np.array(pts, np.int64)
    return FrameTable(packet=packet, pts=ticks)


def sorted_packet_pts(packets: PacketTable, packet_of_frame: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ticks of frames in output order, shape (num_frames,), for a video with `VideoScan.sorts_pts`.

    The frames take the timestamps of their packets in rising order. `NO_PTS` stays where it is.
    """
    ticks = packets.pts[packet_of_frame]
    given = ticks != NO_PTS
    ticks[given] = np.sort(ticks[given])
    return ticks
