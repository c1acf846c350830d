"""Opens a video and hands out its packets by their ordinals, from any of them on.

A packet is identified by its ordinal in the scan, never by its pts: seeking to a pts led to wrong frames in TS, PS,
AVI, FLV and open GOPs. After a seek the position counts as known only when a packet is found in the scan.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cache_builder.errors import DeviceError, VideoChangedError, VideoError
from cache_builder.video.decode.backend import CPU, DecodeBackend
from cache_builder.video.opening import OpenContainer, choose_video_stream, read_packets
from cache_builder.video.packets import NO_POS, NO_PTS, VideoPacket
from cache_builder.video.scan import VideoScan

MAX_PACKETS_TO_FIND_PLACE: Final = 64
"""Packets read after a seek until one is found in the scan. In program streams only every third has a position."""

# In these containers timestamps may be missing or jump. Byte positions lead straight to the packet.
_SEEKS_BY_BYTE = frozenset({"mpegts", "mpeg", "h264", "hevc", "m4v", "mpegvideo", "obu", "dv"})


@dataclass(frozen=True, slots=True)
class PacketTag:
    """Travels through the decoder with a packet and comes out with the packet's frame."""

    packet: int
    """Ordinal."""


class PlaceLostError(Exception):
    """After a seek the packets are not those of the scan. The reader then reads from the start."""


class PacketReader:
    """An open video. Use it in the process that opened it, in one thread at a time."""

    def __init__(
        self,
        path: Path,
        scan: VideoScan,
        *,
        opens_quickly: bool = False,
        backend: DecodeBackend = CPU,
    ) -> None:
        """Remember what to open.

        With `opens_quickly` FFmpeg decodes no picture while it opens H.264: the scan has the facts. `backend` decodes.
        """
        self._path = path
        self.scan = scan
        self._backend = backend
        self._opens_quickly = opens_quickly and scan.facts.codec == "h264"
        self._opened: OpenContainer | None = None
        self.stream: VideoStream
        self.decoder: VideoCodecContext
        """Stream and decoder of the open file."""
        self._packet_of_pts: dict[int, int] | None = None
        self._is_fresh = False
        self._may_seek = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def descriptor(self) -> int | None:
        """Descriptor of the open file; None while it is closed."""
        return None if self._opened is None else self._opened.file.number

    def close(self) -> None:
        """Close the file. The next read reopens it."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            del self.stream, self.decoder  # they keep its pictures in memory

    @property
    def reports_aspect(self) -> bool:
        """Whether the decoder reports the shape of a frame's pixels."""
        return self._backend.reports_aspect

    def packets_from(self, ordinal: int) -> Iterator[tuple[int, VideoPacket]]:
        """Ordinals and packets from `ordinal` on, with the scan's timestamps. The decoder is flushed."""
        packets = self.scan.packets
        for position, packet in self._seek(ordinal):
            if position >= len(packets) or packet.size != packets.size[position]:
                self._lose_place()
            if position >= ordinal:
                # After a seek some demuxers guess other timestamps than when they read from the start.
                pts, dts = int(packets.pts[position]), int(packets.dts[position])
                packet.pts = None if pts == NO_PTS else pts
                packet.dts = None if dts == NO_PTS else dts
                yield position, packet
                ordinal = position + 1
        if ordinal != len(packets):
            self._lose_place()

    def packet_of(self, frame: VideoFrame) -> int:
        """Ordinal of the packet that a frame was coded in.

        Raises:
            DeviceError: the decoder (one chosen by name) identifies frames by pts alone, and pts are not unique.
        """
        if isinstance(frame.opaque, PacketTag):
            return frame.opaque.packet
        if self._packet_of_pts is None:
            packets = self.scan.packets
            ordinals = dict(zip(packets.pts.tolist(), range(len(packets)), strict=True))
            self._packet_of_pts = {} if len(ordinals) < len(packets) or NO_PTS in ordinals else ordinals
        if frame.pts not in self._packet_of_pts:
            raise DeviceError(self.scan.facts.path, "its frames' timestamps do not identify their packets")
        return self._packet_of_pts[frame.pts]

    @property
    def _is_streams_own_decoder(self) -> bool:
        return self.decoder is self.stream.codec_context

    def _lose_place(self) -> None:
        if self._may_seek:
            self._may_seek = False
            raise PlaceLostError
        raise VideoChangedError(
            self.scan.facts.path, "its packets are not those of the scan: the file has changed"
        )

    def _reopen(self) -> OpenContainer:
        self.close()
        path, backend = self.scan.facts.path, self._backend
        try:
            opened = backend.open_container(self._path, path, decodes_nothing=self._opens_quickly)
        except VideoError as error:
            raise backend.error_of_opening(path, error.reason) from error
        try:
            stream = choose_video_stream(opened.container, path)
            self.decoder = backend.open_decoder(stream, path)
            self.stream = stream
        except DeviceError:
            opened.close()
            raise
        except VideoError as error:
            opened.close()
            raise VideoChangedError(path, f"{error.reason}; the file has changed since the scan") from error
        if (
            self._is_streams_own_decoder
        ):  # a decoder chosen by name orders its frames itself and passes no tag on
            self.decoder.copy_opaque = True
            # With too small a depth the decoder drops a frame each time it finds that it must hold back more.
            self.decoder.reorder_depth = max(self.decoder.reorder_depth, self.scan.facts.reorder_depth or 0)
        self._opened, self._is_fresh = opened, True
        return opened

    def _seek(self, ordinal: int) -> Iterator[tuple[int, VideoPacket]]:
        """Packets with their ordinals, from a packet at or before `ordinal` on."""
        if ordinal and self._may_seek:
            opened = self._opened or self._reopen()
            self._is_fresh = False
            for offset, by_byte in self._seek_targets(ordinal):
                try:
                    opened.seek(offset, self.stream, by_byte=by_byte)
                except av.FFmpegError:
                    continue
                if not self._is_streams_own_decoder:  # the seek flushes the stream's own decoder
                    self.decoder.flush_buffers()
                found = self._recognize(read_packets(opened, self.stream), ordinal)
                if found is not None:
                    return found
        opened = self._opened if self._opened is not None and self._is_fresh else self._reopen()
        self._is_fresh = False
        return enumerate(read_packets(opened, self.stream))

    def _seek_targets(self, ordinal: int) -> Iterator[tuple[int, bool]]:
        """Positions to try, the best first: the packet itself, then starts of units further and further back."""
        packets = self.scan.packets
        earlier = packets.can_start_unit[:ordinal].nonzero()[0][::-1][:4].tolist()
        by_byte = bool(set(self.scan.facts.container.split(",")) & _SEEKS_BY_BYTE)
        for target in (ordinal, *earlier):
            if by_byte:
                known = (packets.pos[: target + 1] != NO_POS).nonzero()[0]
                if len(known):
                    yield int(packets.pos[known[-1]]), True
            for ticks in dict.fromkeys((int(packets.pts[target]), int(packets.dts[target]))):
                if ticks != NO_PTS:
                    yield ticks, False

    def _recognize(
        self, packets: Iterator[VideoPacket], ordinal: int
    ) -> Iterator[tuple[int, VideoPacket]] | None:
        """Number the packets by the first one found in the scan; None if none is found at or before `ordinal`."""
        for _, packet in zip(range(MAX_PACKETS_TO_FIND_PLACE), packets, strict=False):
            place = self._place_of(packet)
            if place is not None:
                return enumerate(chain([packet], packets), start=place) if place <= ordinal else None
        return None

    def _place_of(self, packet: VideoPacket) -> int | None:
        """Ordinal of the one packet with this position and size; None where there is none, or several."""
        if packet.pos is None:
            return None
        packets = self.scan.packets
        places = np.flatnonzero((packets.pos == packet.pos) & (packets.size == packet.size))
        return int(places[0]) if len(places) == 1 else None
