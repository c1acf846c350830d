"""Which packet each frame of a video was coded in: told by the packets, or where they cannot, by decoding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache_builder.video.decode import VideoReader
from cache_builder.video.packet_table import NO_PTS
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
    ticks = np.array(pts, np.int64)
    return FrameTable(packet=np.array(packets, np.int64), pts=sorted_ticks(ticks) if scan.sorts_pts else ticks)


def sorted_ticks(ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same timestamps in rising order, `NO_PTS` where it was: for videos with `VideoScan.sorts_pts`.

    >>> sorted_ticks(np.array([1, 4, 2, NO_PTS, 3])).tolist()[:3]
    [1, 2, 3]
    """
    given = ticks != NO_PTS
    rising = ticks.copy()
    rising[given] = np.sort(ticks[given])
    return rising
