"""Decodes a unit of a video. The frames are exactly those of decoding the whole video from its start.

A frame is identified by the ordinal of its packet, never by its pts: seeking to a pts returned wrong frames in TS, PS,
AVI, FLV and open GOPs. The ordinal travels through the decoder with the packet (`copy_opaque`). All of FFmpeg's
decoders pass it on, because FFmpeg's generic layer copies it from packet to frame.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import av
from av.video.frame import PictureType, VideoFrame

from cache_builder.errors import UnitNotIndependentError
from cache_builder.video.decode.decoded_frame import DecodedFrame
from cache_builder.video.decode.packet_reader import PacketReader, PacketTag, PlaceLostError
from cache_builder.video.ffmpeg_log import DecoderLog
from cache_builder.video.opening import describe_error
from cache_builder.video.packets import NO_PTS, VideoPacket
from cache_builder.video.picture import FrameAspects, picture_hash
from cache_builder.video.scan import tick_to_seconds

MAX_REORDERED_FRAMES: Final = 32
"""Twice the number that H.264 and HEVC allow. A frame that is this late does not come out any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderError:
    """A packet that the decoder refused. Decoding went on after it."""

    packet: int
    """Ordinal of the packet being decoded; at the end of the stream, the number of packets."""
    reason: str


class VideoReader(PacketReader):
    """An open video that decodes. Use it in the process that opened it, in one thread at a time."""

    def decode(
        self,
        first_packet: int,
        end_packet: int,
        *,
        log: DecoderLog | None = None,
        num_following: int = 1,
    ) -> "UnitDecoder":
        """Decode the unit [first_packet, end_packet). At most one decoder may be in use at a time.

        Complaints in `log` count among the decoder's errors. The first frames after the unit are decoded, too: one, to
        find the unit's end, or as many as `num_following`. See `UnitDecoder.following`.

        Both ends must be starts of units (`PacketTable.can_start_unit`) or the end of the video.
        """
        return UnitDecoder(self, first_packet, end_packet, log=log, num_following=num_following)

    def decode_sparsely(self, first_packet: int, wanted: Collection[int]) -> "UnitDecoder":
        """Decode the frames of the packets `wanted`, from `first_packet` on, and as few other frames as possible.

        Other frames may come out as well. The decoder leaves out pictures that are neither wanted nor referred to by
        other pictures. It stops after the last wanted packet, without waiting for later packets to push its frame out.
        """
        return UnitDecoder(self, first_packet, len(self.scan.packets), wanted=frozenset(wanted))


class UnitDecoder:
    """Iterates over the frames of one unit, in the decoder's output order.

    The caller may stop early. `errors`, `following` and `following_pts` are complete once the iteration has ended.
    """

    def __init__(
        self,
        reader: VideoReader,
        first_packet: int,
        end_packet: int,
        *,
        wanted: frozenset[int] | None = None,
        log: DecoderLog | None = None,
        num_following: int = 1,
    ) -> None:
        self._reader = reader
        self._first = first_packet
        self._end = end_packet
        self._wanted = wanted
        self._last_wanted = None if wanted is None else max(wanted)
        self._log = log
        self._num_following = num_following
        self._errors: list[DecoderError] = []
        self._complaints: dict[int, str] = {}
        self._given: set[int] = set()
        self._seen: set[int] = set()
        """Packets of all frames that came out, including frames of other units."""
        self._aspects = FrameAspects()
        self.following_pts: int | None = None
        """pts of the first frame after the unit, in ticks; None at the end of the video or without pts."""
        self.following: list[tuple[int, int | None]] = []
        """Packet and `picture_hash` of the first frames after the unit, decoded with all that came before them."""

    @property
    def errors(self) -> list[DecoderError]:
        """The decoder's errors and complaints within the unit, in packet order."""
        complaints = [
            DecoderError(packet=blamed, reason=reason)
            for packet, reason in self._complaints.items()
            if (blamed := self._blamed(packet)) is not None
        ]
        return sorted([*self._errors, *complaints], key=lambda error: error.packet)

    def __iter__(self) -> Iterator[DecodedFrame]:
        """Decode.

        Raises:
            UnitNotIndependentError: decoding cannot start at this unit, or the unit's end never comes out.
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
            except PlaceLostError:
                continue  # At most once: the reader now reads from the start.
            return

    def _decode(self) -> Iterator[DecodedFrame]:
        self._errors.clear()
        self._complaints.clear()
        self._given.clear()
        self._seen.clear()
        self._aspects = FrameAspects()
        self.following_pts = None
        self.following.clear()
        has_started = self._first == 0
        for current, frame in self._decode_packets():
            ordinal = self._packet_of(frame, current)
            if ordinal == self._first and not has_started:
                # A damaged keyframe may decode as another kind of frame, which refers to pictures that are missing.
                if not frame.key_frame and frame.pict_type != PictureType.I:
                    raise UnitNotIndependentError(self._reader.scan.facts.path, ordinal)
                has_started = True
            if not has_started:
                # Frames that lead up to an open GOP's keyframe come out before it. They belong to the unit before.
                self._check_still_awaited(self._first, frame, ordinal)
            elif ordinal == self._end or self.following:
                self.following_pts = self.following_pts if self.following else frame.pts
                self.following.append((ordinal, picture_hash(frame)))
                if len(self.following) >= self._num_following:
                    return
            else:
                self._check_still_awaited(self._end, frame, ordinal)
                self._given.add(ordinal)
                yield self._describe(frame, ordinal)
        has_ended = self._end == len(self._reader.scan.packets) or bool(self.following)
        if not has_started or not has_ended:
            raise UnitNotIndependentError(
                self._reader.scan.facts.path, self._end if has_started else self._first
            )

    def _packet_of(self, frame: VideoFrame, current: int) -> int:
        """Ordinal of the packet of a frame that came out while packet `current` was decoded.

        A packet that shows an earlier picture again (VP9) gives a frame with the tag of that picture's packet.
        """
        ordinal = self._reader.packet_of(frame)
        if ordinal in self._seen and current not in self._seen and current < len(self._reader.scan.packets):
            ordinal = current
        self._seen.add(ordinal)
        return ordinal

    def _decode_packets(self) -> Iterator[tuple[int, VideoFrame]]:
        """(ordinal of the packet being decoded, frame that came out); at the end, (number of packets, frame)."""
        numbered = self._reader.packets_from(self._first)
        ending = [(len(self._reader.scan.packets), None)]
        for ordinal, packet in chain(numbered, ending):
            if packet is not None:
                if packet.size == 0:
                    continue  # A dropped frame in AVI. The decoder would take it for the end of the stream.
                # Each packet needs an object of its own: PyAV keeps these by id(), and equal small integers are one
                # object.
                packet.opaque = PacketTag(ordinal)
            self._reader.decoder.skip_frame = "NONREF" if self._may_be_left_out(ordinal) else "DEFAULT"
            for frame in self._frames_of(packet, ordinal):
                yield ordinal, frame
            if ordinal == self._last_wanted and packet is not None:
                for frame in self._frames_of(None, ordinal):
                    yield ordinal, frame
                return

    def _frames_of(self, packet: VideoPacket | None, ordinal: int) -> list[VideoFrame]:
        frames: list[VideoFrame] = []
        try:
            frames = self._reader.decoder.decode(packet)
        except av.FFmpegError as error:
            if self._is_ours(ordinal) and not self._holds_no_picture(ordinal):
                self._errors.append(DecoderError(packet=ordinal, reason=describe_error(error)))
        self._aspects.note(ordinal, self._reader.decoder)
        complaint = self._log.take(self._reader.stream) if self._log is not None else None
        if complaint is not None and packet is not None:
            self._complaints[ordinal] = complaint
        return frames

    def _blamed(self, packet: int) -> int | None:
        """Which packet to blame when the decoder reports a missing reference at `packet`; None if that is harmless."""
        is_keyframe = self._reader.scan.packets.is_keyframe
        if not is_keyframe[:packet].any():
            return None  # The recording begins between keyframes, which is harmless.
        if is_keyframe[packet]:
            # The keyframe needs no reference, but pictures that lead up to it may, and pictures of an intra refresh go
            # on to refer to earlier ones. If decoding began with the keyframe, all references before it are missing.
            return packet - 1 if self._first < packet <= self._end else None
        if packet in self._given:
            return packet
        # Pictures that lead up to the first keyframe and cannot be decoded yet are left out, which is harmless. At the
        # start of this unit they belong to the unit before, which has their references and reports their damage.
        starts = (int(is_keyframe.argmax()), self._first)
        leads_up = any(self._may_lead_up(packet, start) for start in starts if start < packet)
        return packet if not leads_up and self._is_ours(packet) else None

    def _may_lead_up(self, packet: int, keyframe: int) -> bool:
        """Whether a packet without a frame, coded after a keyframe, may be shown before that keyframe."""
        scan = self._reader.scan
        if scan.stores_pts and NO_PTS not in scan.packets.pts[[keyframe, packet]]:
            return self._is_shown_before(packet, keyframe)
        if scan.facts.codec == "hevc":  # its decoder hands out no frame after a missing picture
            return bool(
                scan.packets.is_skippable[packet]
                and not scan.packets.is_keyframe[keyframe + 1 : packet].any()
            )
        # Pictures that lead up to a keyframe are coded before all pictures that are shown after it.
        return not any(keyframe < given < packet for given in self._given)

    def _may_be_left_out(self, ordinal: int) -> bool:
        return self._wanted is not None and ordinal != self._first and ordinal not in self._wanted

    def _holds_no_picture(self, ordinal: int) -> bool:
        """Whether a packet contains no picture that could be lost. H.264's decoder calls such a packet invalid."""
        packets = self._reader.scan.packets
        return ordinal < len(packets) and bool(packets.holds_no_picture[ordinal])

    def _is_ours(self, ordinal: int) -> bool:
        """Whether the picture of a packet is shown within this unit, by its pts."""
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
        """Raise if `frame` proves that the decoder left out the frame of packet `awaited`, a keyframe."""
        scan = self._reader.scan
        if awaited == len(scan.packets):
            return
        passed = ordinal > awaited + MAX_REORDERED_FRAMES
        if scan.facts.uncounted_reason is None and frame.pts is not None:
            passed = passed or frame.pts > scan.packets.pts[awaited]
        if passed:
            raise UnitNotIndependentError(scan.facts.path, awaited)

    def _describe(self, frame: VideoFrame, ordinal: int) -> DecodedFrame:
        return DecodedFrame(
            packet=ordinal,
            pts=frame.pts,
            pts_seconds=tick_to_seconds(frame.pts, self._reader.scan.time_base),
            is_corrupt=frame.is_corrupt,
            frame=frame,
            sample_aspect_ratio=self._aspects.of_packet(ordinal)
            if self._reader.reports_aspect
            else self._reader.scan.facts.presentation.sample_aspect_ratio,
        )
