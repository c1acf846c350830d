"""Decodes a unit exactly as decoding the whole video from its start would have given it.

A frame is known by the ordinal of its packet, which travels through the decoder with it (`copy_opaque`), never
by its pts: seeking to a pts returned wrong frames in TS, PS, AVI, FLV and open GOPs. All of FFmpeg's decoders
carry it, as the generic layer copies it from packet to frame.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cache_builder.errors import NvdecError, UnitNotIndependentError, VideoChangedError, VideoError
from cache_builder.video.decoder_log import DecoderLog
from cache_builder.video.nvdec import NvdecDevice
from cache_builder.video.open_video import (
    OpenContainer,
    VideoPacket,
    choose_video_stream,
    describe_error,
    open_container,
    read_packets,
)
from cache_builder.video.scan import (
    NO_POS,
    NO_PTS,
    REORDERED_WITHOUT_PTS,
    VideoScan,
    set_single_thread,
    ticks_to_seconds,
)

MAX_REORDERED_FRAMES: Final = 32
"""Twice what H.264 and HEVC allow: a frame this far behind its place will not come any more."""

MAX_PACKETS_TO_FIND_PLACE: Final = 64
"""After a seek: packets read in search of one that the scan knows. Program streams name only every third."""

# Byte positions lead straight to the packet where timestamps are missing or jump.
_SEEKS_BY_BYTE = frozenset({"mpegts", "mpeg", "h264", "hevc", "m4v", "mpegvideo", "obu", "dv"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedFrame:
    """One frame as it left the decoder."""

    packet: int
    """Ordinal of the packet it was coded in."""
    pts: int | None
    """Ticks of the stream's time base."""
    pts_seconds: float
    """NaN where there is no pts."""
    is_corrupt: bool
    """The decoder marked it as damaged."""
    frame: VideoFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderError:
    """A packet that the decoder refused; decoding went on behind it."""

    packet: int
    """Ordinal of the packet being decoded; the number of packets stands for the end of the stream."""
    reason: str


@dataclass(frozen=True, slots=True)
class PacketTag:
    """Travels through the decoder with a packet, and comes out with its frame."""

    packet: int
    """Ordinal."""


class _PlaceLostError(Exception):
    """After a seek the packets are not the scan's: read from the start instead."""


class VideoReader:
    """An open video, for one thread at a time, in the process that opened it."""

    def __init__(
        self,
        path: Path,
        scan: VideoScan,
        *,
        reorder_depth: int | None = None,
        nvdec: NvdecDevice | None = None,
    ) -> None:
        """Remember what to open; `reorder_depth` is what another reader of this file has learned.

        With `nvdec` frames come out in that GPU's memory; see `nvdec.probe_nvdec` for whether they do.
        """
        self._path = path
        self.scan = scan
        self._nvdec = nvdec
        self.reorder_depth = reorder_depth
        """Frames that the decoder holds back to sort them, once the file has been open; makes opening cheaper."""
        self._opened: OpenContainer | None = None
        self.stream: VideoStream
        self.decoder: VideoCodecContext
        """Both of the open file."""
        self._packet_of_pts: dict[int, int] | None = None
        self._is_fresh = False
        self._may_seek = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; decoding again reopens it."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            del self.stream, self.decoder  # they hold its pictures

    def decode(self, first_packet: int, end_packet: int, *, log: DecoderLog | None = None) -> "UnitDecoder":
        """Decode the unit [first_packet, end_packet). At most one decoder may be in use at a time.

        What the decoder tells `log` counts among its errors.

        Both ends must be starts of units (`PacketTable.can_start_unit`) or the end of the video.
        """
        return UnitDecoder(self, first_packet, end_packet, log=log)

    def decode_sparsely(self, first_packet: int, wanted: Collection[int]) -> "UnitDecoder":
        """Decode the frames of the packets `wanted`, from `first_packet` on, and as few others as it takes.

        Others may come out or not. The decoder leaves out pictures that neither are wanted nor referred to by
        others, and stops behind the last packet wanted instead of waiting until later ones push its frame out.
        """
        return UnitDecoder(self, first_packet, len(self.scan.packets), wanted=frozenset(wanted))

    def packets_from(self, ordinal: int) -> Iterator[tuple[int, VideoPacket]]:
        """Ordinals and packets from `ordinal` on, timestamps as in the scan; the decoder is clean."""
        packets = self.scan.packets
        for position, packet in self._seek(ordinal):
            if position >= len(packets) or packet.size != packets.size[position]:
                self._lose_place()
            if position >= ordinal:
                # Behind a seek some demuxers guess other timestamps than from the start.
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
            NvdecError: the decoder, asked for by name, tells frames by nothing but pts, and those are not unique.
        """
        if isinstance(frame.opaque, PacketTag):
            return frame.opaque.packet
        if self._packet_of_pts is None:
            packets = self.scan.packets
            ordinals = dict(zip(packets.pts.tolist(), range(len(packets)), strict=True))
            self._packet_of_pts = {} if len(ordinals) < len(packets) or NO_PTS in ordinals else ordinals
        if frame.pts not in self._packet_of_pts:
            raise NvdecError(
                self.scan.facts.path, "its frames' timestamps do not tell which packets they are of"
            )
        return self._packet_of_pts[frame.pts]

    @property
    def _is_streams_own_decoder(self) -> bool:
        return self.decoder is self.stream.codec_context

    def _lose_place(self) -> None:
        if self._may_seek:
            self._may_seek = False
            raise _PlaceLostError
        raise VideoChangedError(
            self.scan.facts.path, "its packets are not those of the scan: the file has changed"
        )

    def _reopen(self) -> OpenContainer:
        self.close()
        path, nvdec = self.scan.facts.path, self._nvdec
        known_depth = self.reorder_depth if self.scan.facts.codec == "h264" else None
        try:
            opens = open_container if nvdec is None else nvdec.open_container
            opened = opens(self._path, path, decodes_nothing=known_depth is not None)
        except VideoError as error:
            if nvdec is not None:
                raise NvdecError(path, f"NVDEC: {error.reason}") from error
            # It was readable when it was scanned.
            raise VideoChangedError(path, f"{error.reason}; the file has changed since the scan") from error
        try:
            stream = choose_video_stream(opened.container, path)
            if nvdec is None:
                set_single_thread(stream)
                self.decoder = stream.codec_context
            else:
                self.decoder = nvdec.open_decoder(stream, path)
            self.stream = stream
        except NvdecError:
            opened.close()
            raise
        except VideoError as error:
            opened.close()
            raise VideoChangedError(path, f"{error.reason}; the file has changed since the scan") from error
        if self._is_streams_own_decoder:  # one by name orders its frames itself, and hands nothing on
            self.decoder.copy_opaque = True
            if known_depth is not None:
                self.decoder.reorder_depth = known_depth
            else:
                self.reorder_depth = self.decoder.reorder_depth
        self._opened, self._is_fresh = opened, True
        return opened

    def _seek(self, ordinal: int) -> Iterator[tuple[int, VideoPacket]]:
        """Packets with their ordinals, from one at or before `ordinal`."""
        if ordinal and self._may_seek:
            opened = self._opened or self._reopen()
            self._is_fresh = False
            for offset, by_byte in self._seek_targets(ordinal):
                try:
                    opened.seek(offset, self.stream, by_byte=by_byte)
                except av.FFmpegError:
                    continue
                if not self._is_streams_own_decoder:  # that one is flushed by the seek
                    self.decoder.flush_buffers()
                found = self._recognize(read_packets(opened, self.stream), ordinal)
                if found is not None:
                    return found
        opened = self._opened if self._opened is not None and self._is_fresh else self._reopen()
        self._is_fresh = False
        return enumerate(read_packets(opened, self.stream))

    def _seek_targets(self, ordinal: int) -> Iterator[tuple[int, bool]]:
        """Where to try, the best first: the packet itself, then starts of units further and further back."""
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
        """Number the packets by the first that the scan knows, or None if that is behind `ordinal`."""
        for _, packet in zip(range(MAX_PACKETS_TO_FIND_PLACE), packets, strict=False):
            place = self._place_of(packet)
            if place is not None:
                return enumerate(chain([packet], packets), start=place) if place <= ordinal else None
        return None

    def _place_of(self, packet: VideoPacket) -> int | None:
        """Ordinal of the one packet of this position and size; None where there is no such, or several."""
        if packet.pos is None:
            return None
        packets = self.scan.packets
        places = np.flatnonzero((packets.pos == packet.pos) & (packets.size == packet.size))
        return int(places[0]) if len(places) == 1 else None


class UnitDecoder:
    """Iterates over the frames of one unit, in the decoder's output order.

    Stopping early is fine. `errors` and `following_pts` are complete once the iteration has ended.
    """

    def __init__(
        self,
        reader: VideoReader,
        first_packet: int,
        end_packet: int,
        *,
        wanted: frozenset[int] | None = None,
        log: DecoderLog | None = None,
    ) -> None:
        self._reader = reader
        self._first = first_packet
        self._end = end_packet
        self._wanted = wanted
        self._last_wanted = None if wanted is None else max(wanted)
        self._log = log
        self._errors: list[DecoderError] = []
        self._said_of: dict[int, str] = {}
        self._given: set[int] = set()
        self.following_pts: int | None = None
        """pts of the frame behind the unit's last, in ticks; None at the end of the video or without pts."""

    @property
    def errors(self) -> list[DecoderError]:
        """What the decoder complained of within the unit, in packet order."""
        said = [
            DecoderError(packet=packet, reason=reason)
            for packet, reason in self._said_of.items()
            if self._counts(packet)
        ]
        return sorted([*self._errors, *said], key=lambda error: error.packet)

    def __iter__(self) -> Iterator[DecodedFrame]:
        """Decode.

        Raises:
            UnitNotIndependentError: decoding cannot start here, or the unit's end never shows up.
            VideoError: the file is not the one that was scanned.
            OSError: the machine failed to read the file.
        """
        num_given = 0
        while True:
            try:
                for number, frame in enumerate(self._decode()):
                    if number >= num_given:
                        yield frame
                        num_given += 1
            except _PlaceLostError:
                continue  # Once: from here on the reader reads from the start.
            return

    def _decode(self) -> Iterator[DecodedFrame]:
        self._errors.clear()
        self._said_of.clear()
        self._given.clear()
        self.following_pts = None
        has_started = self._first == 0
        for frame in self._decode_packets():
            ordinal = self._reader.packet_of(frame)
            if ordinal == self._first and not has_started:
                # A damaged keyframe may decode as another kind of frame, from pictures that are not there.
                if not frame.key_frame and frame.pict_type != PictureType.I:
                    raise UnitNotIndependentError(self._reader.scan.facts.path, ordinal)
                has_started = True
            if not has_started:
                # Frames that lead up to an open GOP's keyframe come out before it: they are the unit before's.
                self._check_still_awaited(self._first, frame, ordinal)
            elif ordinal == self._end:
                self.following_pts = frame.pts
                return
            else:
                self._check_still_awaited(self._end, frame, ordinal)
                self._given.add(ordinal)
                yield self._describe(frame, ordinal)
        if not has_started or self._end != len(self._reader.scan.packets):
            raise UnitNotIndependentError(
                self._reader.scan.facts.path, self._end if has_started else self._first
            )

    def _decode_packets(self) -> Iterator[VideoFrame]:
        numbered = self._reader.packets_from(self._first)
        ending = [(len(self._reader.scan.packets), None)]
        for ordinal, packet in chain(numbered, ending):
            if packet is not None:
                if packet.size == 0:
                    continue  # A dropped frame in AVI; the decoder would take it for the end of the stream.
                # An object of its own: PyAV keeps these by id(), and small integers share theirs.
                packet.opaque = PacketTag(ordinal)
            self._reader.decoder.skip_frame = "NONREF" if self._may_be_left_out(ordinal) else "DEFAULT"
            yield from self._frames_of(packet, ordinal)
            if ordinal == self._last_wanted and packet is not None:
                yield from self._frames_of(None, ordinal)
                return

    def _frames_of(self, packet: VideoPacket | None, ordinal: int) -> list[VideoFrame]:
        frames: list[VideoFrame] = []
        try:
            frames = self._reader.decoder.decode(packet)
        except av.FFmpegError as error:
            if self._is_ours(ordinal):
                self._errors.append(DecoderError(packet=ordinal, reason=describe_error(error)))
        said = self._log.take(self._reader.stream) if self._log is not None else None
        if said is not None and packet is not None:
            self._said_of[ordinal] = said
        return frames

    def _counts(self, packet: int) -> bool:
        """Whether it is damage that a picture before this one is missing."""
        scan = self._reader.scan
        is_keyframe = scan.packets.is_keyframe
        if is_keyframe[packet]:
            return False  # It needs none; and where decoding began with it, all before it are missing.
        if packet in self._given:
            return True
        # Where a recording begins between keyframes, what cannot be decoded yet is left out, and nothing is wrong.
        first_keyframe = int(is_keyframe.argmax())
        is_behind_it = is_keyframe[:packet].any() and not self._is_shown_before(packet, first_keyframe)
        # Nor where this unit begins: then it is the unit before's to say, which has the pictures that it needs.
        may_lead_up = self._first > 0 and scan.facts.uncounted_reason == REORDERED_WITHOUT_PTS
        return bool(is_behind_it) and not may_lead_up and self._is_ours(packet)

    def _may_be_left_out(self, ordinal: int) -> bool:
        return self._wanted is not None and ordinal != self._first and ordinal not in self._wanted

    def _is_ours(self, ordinal: int) -> bool:
        """Whether what a packet holds is shown within this unit, as far as its pts tells."""
        packets = self._reader.scan.packets
        if ordinal == len(packets):
            return self._end == len(packets)
        leads_to_first = self._first > 0 and self._is_shown_before(ordinal, self._first)
        is_before_end = ordinal < self._end or self._is_shown_before(ordinal, self._end)
        return is_before_end and not leads_to_first

    def _is_shown_before(self, ordinal: int, keyframe: int) -> bool:
        pts, keyframe_pts = self._reader.scan.packets.pts[[ordinal, keyframe]].tolist()
        return NO_PTS not in (pts, keyframe_pts) and pts < keyframe_pts

    def _check_still_awaited(self, awaited: int, frame: VideoFrame, ordinal: int) -> None:
        """Raise if `frame` shows that the frame of packet `awaited`, a keyframe, was left out."""
        scan = self._reader.scan
        if awaited == len(scan.packets):
            return
        passed = ordinal > awaited + MAX_REORDERED_FRAMES
        if scan.facts.uncounted_reason is None and frame.pts is not None:
            passed = passed or frame.pts > scan.packets.pts[awaited]
        if passed:
            raise UnitNotIndependentError(scan.facts.path, awaited)

    def _describe(self, frame: VideoFrame, ordinal: int) -> DecodedFrame:
        time_base = self._reader.scan.time_base
        ticks = NO_PTS if frame.pts is None else frame.pts
        return DecodedFrame(
            packet=ordinal,
            pts=frame.pts,
            pts_seconds=float(ticks_to_seconds([ticks], time_base)[0]),
            is_corrupt=frame.is_corrupt,
            frame=frame,
        )
