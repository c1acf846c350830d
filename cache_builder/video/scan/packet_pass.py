"""One pass over the packets of an open video: the facts of each packet, and the facts of all packets together."""

from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final, cast

import av
import numpy as np
import numpy.typing as npt
from av.bitstream import BitStreamFilterContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.ffmpeg_log import DemuxerLog
from cache_builder.video.opening import (
    NothingReadError,
    OpenContainer,
    VideoLimits,
    describe_error,
    read_packets,
    set_single_thread,
    why_packet_encrypted,
)
from cache_builder.video.packets import (
    NO_POS,
    NO_PTS,
    PACKET_COLUMNS,
    PacketHeader,
    PacketTable,
    VideoPacket,
    header_reader,
    nal_length_bytes,
    reorder_depth,
    without_picture_data,
)

_CONTAINERS_WITH_PTS: Final = frozenset({"mov", "matroska", "mpegts", "flv", "ivf", "obu", "nut"})
_REORDERING: Final = frozenset({"h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4"})
"""Codecs whose frames may be shown in another order than they are coded in."""
ONE_FRAME_A_PACKET: Final = frozenset(
    {
        *("h264", "hevc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1"),
        *("mjpeg", "prores", "dnxhd", "ffv1", "rawvideo", "png"),
    }
)
"""Codecs in which each packet is one frame, except packets whose own header states that they show none."""

_HELD_BACK: Final = frozenset({"h264", "hevc"})
"""Codecs whose decoders hold the first frame back for several packets."""
_NO_PIXELS: Final = {"skip_loop_filter": "all", "skip_idct": "all", "ec": "0"}
"""Options of a decoder whose picture nobody sees: only its size, its format and its side data count. So it does not
make up pixels that are missing, either."""
_STANDS_ALONE: Final = frozenset({"png", "ffv1", "tiff", "jpegls", "qoi", "webp", "cfhd"})
"""Codecs whose keyframes need no earlier picture, although FFmpeg does not call the codec intra-only."""
_MEANT_FOR_SEEKING: Final = frozenset(
    {
        *("h264", "hevc", "vvc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1"),
        *("msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "wmv3", "vc1", "theora", "vp6", "vp6f"),
        *("rv10", "rv20", "rv30", "rv40", "svq1", "svq3", "cavs", "dirac"),
    }
)
"""Codecs in which decoding may start at a keyframe. Other codecs (screen recorders, animations) may keep palettes,
windows or code books across a keyframe, so their videos are decoded from the start."""

_PROGRESSIVE: Final = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE
_BYTES_TO_CUT: Final = 1 << 13
"""Smaller packets are checked whole."""
_HEADER_CHECKS: Final = {
    "h264": "h264_metadata",
    "hevc": "hevc_metadata",
    "mpeg2video": "mpeg2_metadata",
    "vp9": "vp9_metadata",
    "av1": "av1_metadata",
}
"""Codec -> FFmpeg's filter that reads all headers of a packet, and fails where they break the codec's rules. It takes
6 to 40 us a packet."""


@dataclass(frozen=True, kw_only=True)
class PacketPass:
    """Result of the pass."""

    packets: PacketTable
    end_pts: int | None
    """Ticks at which the last packet ends (pts and duration); None without pts."""
    first_frame: VideoFrame
    """As decoded."""
    reorder_depth: int | None
    """H.264: frames that the decoder must hold back so that it loses none."""
    unsplittable_reason: str | None
    uncounted_reason: str | None


def stores_pts(container: str) -> bool:
    """Whether a container (FFmpeg's name) stores pts. If not, FFmpeg derives them from dts."""
    return bool(set(container.split(",")) & _CONTAINERS_WITH_PTS)


def may_reorder(codec: str) -> bool:
    """Whether frames of the codec may be shown in another order than they are coded in."""
    return codec in _REORDERING


def read_all_packets(
    opened: OpenContainer,
    stream: VideoStream,
    relative_path: str,
    *,
    is_undecoded: bool,
    limits: VideoLimits,
    log: DemuxerLog,
) -> PacketPass:
    """Read every packet; decode until the first frame comes out. `is_undecoded`: see `open_to_scan`.

    Raises:
        VideoError: there are no packets, or more than `limits` allow, or encrypted ones, or no frame comes out.
        OSError: the machine failed to read the file.
    """
    set_single_thread(stream)
    decoder = stream.codec_context
    codec = decoder.codec.canonical_name
    depth_stated = decoder.reorder_depth
    if codec == "h264" and not is_undecoded:
        # A stream that does not state its reordering is then taken for the most that its level allows.
        decoder.options = decoder.options | {"strict": "1"}
    decoder.options = decoder.options | _NO_PIXELS
    is_intra_only = decoder.codec.intra_only or codec in _STANDS_ALONE
    notes = _PacketNotes(stream, codec, is_intra_only=is_intra_only)
    # What decides over the reordering is then the pts.
    may_drain = codec in _HELD_BACK and stores_pts(opened.container.format.name)
    first_frame: VideoFrame | None = None
    first_error: Exception | None = None
    end: tuple[None] = (None,)
    log.note(opened.container, next_packet=0)
    read = read_packets(opened, stream, on_error=lambda error: log.note_returned(describe_error(error)))
    for packet in chain(read, end):
        log.note(opened.container, next_packet=len(notes.rows))
        if first_frame is None:
            try:
                first_of = notes if may_drain and not notes.rows else None
                first_frame = _decoded(decoder, packet, first_of=first_of)
                if is_undecoded:
                    depth_stated = max(depth_stated, decoder.reorder_depth)
            except av.FFmpegError as error:
                first_error = first_error or error
        if packet is None:
            break
        if (encrypted := why_packet_encrypted(packet, len(notes.rows))) is not None:
            raise VideoError(relative_path, encrypted)
        if len(notes.rows) == limits.max_packets:
            raise VideoError(relative_path, f"it has more packets than the limit of {limits.max_packets:,}")
        notes.take(packet)
    if not notes.rows:
        raise NothingReadError(relative_path, "its video stream holds no packets: truncated?")
    if first_frame is None:
        why = f": {describe_error(first_error)}" if first_error else ""
        if not decoder.width * decoder.height:  # FFmpeg forgets sizes beyond `max_pixels`, without a message
            why = f": their size is unknown, or beyond the limit of {limits.max_pixels:,} pixels"
        raise NothingReadError(relative_path, f"none of its frames can be decoded{why}")
    reason = notes.unsplittable_reason
    if reason is None and not is_intra_only and codec not in _MEANT_FOR_SEEKING:
        reason = f"keyframes of {codec} may need what was decoded before them"
    packets = notes.table(log, is_splittable=reason is None)
    pts_tell = stores_pts(opened.container.format.name) and 2 * (packets.pts == NO_PTS).sum() < len(packets)
    return PacketPass(
        packets=packets,
        end_pts=notes.end_pts,
        first_frame=first_frame,
        reorder_depth=None
        if codec != "h264"
        else max(depth_stated, reorder_depth(packets.pts[packets.pts != NO_PTS]))
        if pts_tell
        else decoder.reorder_depth,
        unsplittable_reason=reason,
        uncounted_reason=_why_uncounted(opened, stream, packets, notes),
    )


def _decoded(
    decoder: VideoCodecContext, packet: VideoPacket | None, *, first_of: "_PacketNotes | None"
) -> VideoFrame | None:
    """The frame that comes out of a packet, if any; `first_of` are the notes of a packet that is the first one."""
    frame: VideoFrame | None = None
    if packet is not None and first_of is not None:
        frame = _frame_of_headers(decoder, first_of.without_picture_data(packet))
    return next(iter(decoder.decode(packet)), None) if frame is None else frame


def _frame_of_headers(decoder: VideoCodecContext, headers: VideoPacket) -> VideoFrame | None:
    """The frame of the first packet, decoded from what describes its picture, without waiting for later packets.

    Nobody sees the picture, and to read all of a large one takes 14 ms of 18. The decoder holds a frame back until it
    has seen what is shown before it, so it is told that the stream ends. Where nothing comes out, such as after one
    field of a frame, the decoder has forgotten the packet.
    """
    if not headers.is_keyframe or headers.pts is None:
        return None
    frame: VideoFrame | None = None
    with suppress(av.FFmpegError):
        frame = next(chain(decoder.decode(headers), decoder.decode(None)), None)
    if frame is None:
        decoder.flush_buffers()
    return frame


class _PacketNotes:
    """Rows of the packet table while they are collected."""

    def __init__(self, stream: VideoStream, codec: str, *, is_intra_only: bool) -> None:
        self.rows: list[tuple[int | bool, ...]] = []
        self.end_pts: int | None = None
        self.unsplittable_reason: str | None = None
        self.has_bad_headers = False
        self.has_open_keyframes = False
        """Some keyframe has no header to prove that later packets need no picture from before it."""
        self._read_header = header_reader(codec, stream.codec_context.extradata, is_intra_only=is_intra_only)
        self._codec = codec
        self._num_length_bytes = (
            nal_length_bytes(codec, stream.codec_context.extradata or b"") if codec in {"h264", "hevc"} else 0
        )
        self._has_telling_headers = codec in {"vp8", "vp9", "av1", "h264", "hevc"}
        self._header_check: BitStreamFilterContext | None = None
        if codec in _HEADER_CHECKS:
            with suppress(av.FFmpegError):
                self._header_check = BitStreamFilterContext(_HEADER_CHECKS[codec], stream)
            self.has_bad_headers = self._header_check is None

    def take(self, packet: VideoPacket) -> None:
        """Note the next packet. Its content is gone afterwards."""
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            self.end_pts = end if self.end_pts is None else max(end, self.end_pts)
        if self.unsplittable_reason is None:
            self.unsplittable_reason = self._why_unsplittable(packet)
        header = PacketHeader()
        if packet.size and (packet.is_keyframe or self._has_telling_headers):
            header = self._read_header(memoryview(packet))
        self.has_open_keyframes |= packet.is_keyframe and not header.is_closed
        self.rows.append(
            (
                NO_PTS if packet.pts is None else packet.pts,
                NO_PTS if packet.dts is None else packet.dts,
                NO_POS if packet.pos is None else packet.pos,
                packet.size,
                packet.is_keyframe,
                packet.is_discard,
                packet.is_corrupt,
                header.hides_picture,
                header.shows_again,
                header.holds_no_picture,
                header.is_skippable,
                packet.is_keyframe and header.resets_decoder,
            )
        )
        if packet.size:
            self._check_headers(packet)

    def without_picture_data(self, packet: VideoPacket) -> VideoPacket:
        """The packet, cut off behind the headers of its pictures; as it is where that spares little, or has side data.

        Only H.264 and HEVC are cut, where lengths separate their units.
        """
        if not self._num_length_bytes or packet.size < _BYTES_TO_CUT or any(packet.iter_sidedata()):
            return packet
        data = without_picture_data(memoryview(packet), self._codec, self._num_length_bytes)
        cut = cast("VideoPacket", av.Packet(data))
        cut.pts, cut.dts, cut.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
        return cut

    def _check_headers(self, packet: VideoPacket) -> None:
        if self._header_check is None or self.has_bad_headers:
            return
        try:
            # The filter copies all that it gets.
            self._header_check.filter(self.without_picture_data(packet))
        except av.FFmpegError:
            self.has_bad_headers = True

    def table(self, log: DemuxerLog, *, is_splittable: bool) -> PacketTable:
        """The rows as columns."""
        names = [name for name in PACKET_COLUMNS if name not in {"is_at_demuxer_error", "can_start_unit"}]
        columns = {
            name: np.array([row[i] for row in self.rows], PACKET_COLUMNS[name])
            for i, name in enumerate(names)
        }
        columns["is_at_demuxer_error"] = log.packets_at_errors(columns["is_keyframe"])
        can_start_unit = columns["is_keyframe"] & ~columns["is_discarded"] & is_splittable
        can_start_unit[0] = True
        return PacketTable(**columns, can_start_unit=can_start_unit)

    def _why_unsplittable(self, packet: VideoPacket) -> str | None:
        """What of this packet a decoder that starts elsewhere would lack; None if nothing."""
        if self.rows and packet.has_sidedata("new_extradata"):
            return "its codec parameters change on the way"
        if packet.has_sidedata("palette"):
            return "its palette comes with some packets alone"
        return None


def leads_up(packets: PacketTable) -> npt.NDArray[np.bool_]:
    """bool per packet: coded after a keyframe and shown before it."""
    keyframe = last_keyframes(packets)
    keyframe_pts = packets.pts[np.maximum(keyframe, 0)]
    has_pts = (packets.pts != NO_PTS) & (keyframe_pts != NO_PTS)
    leads: npt.NDArray[np.bool_] = (keyframe >= 0) & has_pts & (packets.pts < keyframe_pts)
    return leads


def last_keyframes(packets: PacketTable) -> npt.NDArray[np.int64]:
    """Ordinal of the last keyframe at or before each packet, shape (num_packets,); -1 where there is none."""
    ordinals = np.where(packets.is_keyframe, np.arange(len(packets)), -1)
    return np.maximum.accumulate(ordinals)


def _why_uncounted(
    opened: OpenContainer, stream: VideoStream, packets: PacketTable, notes: _PacketNotes
) -> str | None:
    """Why the packets sorted by pts might not be the decoder's output; None if they are."""
    codec = stream.codec_context.codec.canonical_name
    reasons = {
        "codec": codec not in ONE_FRAME_A_PACKET,
        "hidden packets": bool((packets.hides_picture | packets.shows_again).any()),
        "packets without a picture": bool(packets.holds_no_picture.any()),
        "headers that break the rules of its codec": notes.has_bad_headers,
        "damaged packets": bool((packets.is_corrupt | packets.is_at_demuxer_error).any()),
        "interlaced": stream.codec_context.field_order not in _PROGRESSIVE,
        "packets without pts": bool((packets.pts == NO_PTS).any()),
        "equal pts": len(np.unique(packets.pts)) < len(packets),
        "edit list": bool(packets.is_discarded.any()),
        "begins without a keyframe": not packets.is_keyframe[0],
        "frames before the first keyframe": bool((packets.pts < packets.pts[0]).any()),
        "empty packets": bool((packets.size == 0).any()),
        # Where a stream was cut or joined, a decoder leaves out pictures that lead up to a keyframe, and an H.264
        # decoder leaves out pictures until one is whole again.
        "open GOPs": codec in _REORDERING and bool(leads_up(packets).any()),
        "keyframes that are no IDR pictures": codec == "h264" and notes.has_open_keyframes,
        # AVI, ASF and similar containers store no pts. FFmpeg derives them from dts, so they do not show reordering.
        "frames that may be reordered, without pts": codec in _REORDERING
        and not stores_pts(opened.container.format.name),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
