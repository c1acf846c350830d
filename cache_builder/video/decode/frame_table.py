"""Which packet each frame of a video was coded in: from the packets' pts, or by decoding where pts are not enough."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache_builder.errors import UnitNotIndependentError
from cache_builder.video.decode.unit_decoder import VideoReader
from cache_builder.video.decode.unit_edges import (
    MAX_PICTURES_COMPARED,
    Pictures,
    first_wrong_edge,
    num_to_decode_after,
)
from cache_builder.video.decode.units import gop_units, merge_with_previous
from cache_builder.video.ffmpeg_log import DecoderLog, decoder_log
from cache_builder.video.packets import NO_PTS, PacketTable
from cache_builder.video.picture import picture_hash
from cache_builder.video.scan import VideoScan


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTable:
    """Frames of one video in the decoder's output order, shape (num_frames,) each."""

    packet: npt.NDArray[np.int64]
    """Ordinal of the packet that each frame was coded in."""
    pts: npt.NDArray[np.int64]
    """Ticks, `NO_PTS` where there is none."""
    unit_starts: npt.NDArray[np.int64]
    """Ordinals of the packets at which a build starts to decode, ascending, shape (num_units,)."""
    is_counted: bool
    """Whether the frames were counted by decoding, not predicted from the packets."""

    def __post_init__(self) -> None:
        """Check that the columns fit together, and freeze them."""
        for column in (self.packet, self.pts, self.unit_starts):
            if column.dtype != np.int64 or column.ndim != 1:
                raise ValueError(f"expected int64 columns, found {column.dtype} {column.shape}")
            column.flags.writeable = False
        if self.packet.shape != self.pts.shape:
            raise ValueError(f"expected a pts for each frame, found {self.packet.shape} and {self.pts.shape}")

    def __len__(self) -> int:
        return len(self.packet)


def predict_frames(scan: VideoScan) -> FrameTable | None:
    """The frames in order of the packets' pts; None where this may be wrong, for the scan's `uncounted_reason`."""
    if scan.facts.uncounted_reason is not None:
        return None
    order = np.argsort(scan.packets.pts, kind="stable")
    return FrameTable(
        packet=order,
        pts=scan.packets.pts[order],
        unit_starts=_starts_of(gop_units(scan.packets)),
        is_counted=False,
    )


def count_frames(path: Path, scan: VideoScan) -> FrameTable:
    """The frames as a build gets them: decodes the whole video in the same units, without conversion.

    It captures FFmpeg's log (`decoder_log`), so nothing else in the process may use FFmpeg meanwhile.

    Raises:
        VideoError: the file is not the one that was scanned.
        OSError: the machine failed to read the file.
    """
    units = gop_units(scan.packets)
    counted: dict[tuple[int, int], _CountedUnit] = {}
    with VideoReader(path, scan) as reader, decoder_log(scan.facts.codec) as log:
        while True:
            try:
                for unit in units:
                    if unit not in counted:
                        counted[unit] = _count_unit(reader, unit, log)
            except UnitNotIndependentError as error:
                units = merge_with_previous(units, error.first_packet)
            else:
                if first_wrong_edge([counted[unit] for unit in units]) is None:
                    break
                units = [(0, len(scan.packets))]
    frames = [frame for unit in units for frame in counted[unit].frames]
    packet, pts = np.array(frames, np.int64).reshape(-1, 2).T.copy()
    if scan.sorts_pts:
        pts = sorted_packet_pts(scan.packets, packet)
    return FrameTable(packet=packet, pts=pts, unit_starts=_starts_of(units), is_counted=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class _CountedUnit:
    first_packet: int
    frames: list[tuple[int, int]]
    """Packet and pts of each frame."""
    is_damaged: bool
    first_pictures: Pictures
    following_pictures: Pictures


def _count_unit(reader: VideoReader, unit: tuple[int, int], log: DecoderLog | None) -> _CountedUnit:
    first, end = unit
    decoder = reader.decode(first, end, log=log, num_following=num_to_decode_after(first))
    frames: list[tuple[int, int]] = []
    pictures: Pictures = []
    is_damaged = bool(reader.scan.packets.is_corrupt[first:end].any())
    for decoded in decoder:
        if len(frames) < MAX_PICTURES_COMPARED:
            pictures.append((decoded.packet, picture_hash(decoded.frame)))
        frames.append((decoded.packet, NO_PTS if decoded.pts is None else decoded.pts))
        is_damaged |= decoded.is_corrupt
    return _CountedUnit(
        first_packet=first,
        frames=frames,
        is_damaged=is_damaged or bool(decoder.errors),
        first_pictures=pictures,
        following_pictures=decoder.following,
    )


def _starts_of(units: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    return np.array([first for first, _ in units], np.int64)


def sorted_packet_pts(packets: PacketTable, packet_of_frame: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Ticks of frames in output order, shape (num_frames,), for a video with `VideoScan.sorts_pts`.

    The frames take the timestamps of their packets in rising order. Where the clock goes back, recordings were joined;
    the timestamps are sorted within each recording. `NO_PTS` stays where it is.
    """
    ticks = packets.pts[packet_of_frame]
    given = np.flatnonzero(ticks != NO_PTS)
    recording = _recording_of_packet(packets)[packet_of_frame[given]]
    ticks[given[np.argsort(recording, kind="stable")]] = ticks[given[np.lexsort((ticks[given], recording))]]
    return ticks


def _recording_of_packet(packets: PacketTable) -> npt.NDArray[np.int64]:
    """The recording of each packet, where several were joined: how often dts went back before the packet."""
    given = np.flatnonzero(packets.dts != NO_PTS)
    dts = packets.dts[given]
    goes_back = np.zeros(len(packets), np.int64)
    goes_back[given[1:]] = dts[1:] < dts[:-1]
    return np.cumsum(goes_back)
