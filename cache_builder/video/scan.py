"""Scan of a video: counts packets instead of believing headers, and learns what decoding needs to know."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import av
import msgspec
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.demuxer_log import DemuxerLog, demuxer_log, place_errors
from cache_builder.video.limits import DEFAULT_LIMITS, VideoLimits
from cache_builder.video.open_video import (
    OpenContainer,
    choose_video_stream,
    describe_error,
    hash_file,
    open_container,
    read_packets,
    set_single_thread,
)

NO_PTS: Final = -(2**63)
"""FFmpeg's AV_NOPTS_VALUE, in the columns `pts` and `dts`."""

NO_POS: Final = -1

# ITU-T H.273, as the frames carry them.
_MATRICES = {
    0: "rgb",
    1: "bt709",
    2: "unspecified",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
}
_RANGES = {0: "unspecified", 1: "limited", 2: "full"}

_CONTAINERS_WITH_TRUE_PTS = frozenset({"mov", "matroska", "mpegts", "flv", "ivf", "obu", "nut"})
_ONE_FRAME_A_PACKET = (
    *("h264", "hevc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1"),
    *("mjpeg", "prores", "dnxhd", "ffv1", "rawvideo", "png"),
)
_NOT_FILLED_IN = 2**30
"""Frames that an AVI claims which FFmpeg wrote to a pipe, or whose recorder was killed: libavformat/avienc.c."""
_VP8_SHOW_FRAME = 0x10  # In the first byte: RFC 6386, 9.1.
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE


class VideoFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the scan found out about a readable video; lands in the manifest."""

    path: str
    """Relative to the folder of videos, posix."""
    num_bytes: int
    sha256: str
    container: str
    stream_index: int
    num_video_streams: int
    """Cover art counts."""
    stream_choice: Literal["only", "best", "first"]
    """Of several video streams FFmpeg's best is taken, or the first where that is cover art."""
    codec: str
    width: int
    """Coded pixels of the first decoded frame, before rotation and sample aspect ratio."""
    height: int
    pixel_format: str
    color_matrix: str
    color_range: str
    rotation_degrees: int
    """Counter-clockwise turn that sets the frame upright, as `av.VideoFrame.rotation`."""
    sample_aspect_ratio: tuple[int, int] | None
    """Width over height of a coded pixel; None where the stream does not say."""
    time_base: tuple[int, int] | None
    """Seconds per tick of pts, as a fraction."""
    average_rate: tuple[int, int] | None
    """Frames per second that the header claims."""
    num_frames_in_header: int | None
    """None where the container has no such field or leaves it zero."""
    duration_seconds_in_header: float | None
    """Of the chosen stream; None where the header has none and FFmpeg would only guess it."""
    num_packets: int
    num_keyframes: int
    num_demuxer_errors: int
    """Errors that FFmpeg's demuxer reported while it opened and read the file, and then went on after."""
    first_demuxer_error: str | None
    has_pts: bool
    """Every packet has a pts."""
    unsplittable_reason: str | None
    """Why the video is one unit, decoded from its start."""
    uncounted_reason: str | None
    """Why the order of frames cannot be told from the packets, so that only decoding counts them."""


PACKET_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "pts": np.dtype("<i8"),
    "dts": np.dtype("<i8"),
    "pos": np.dtype("<i8"),
    "size": np.dtype("<i4"),
    "is_keyframe": np.dtype(np.bool_),
    "is_discarded": np.dtype(np.bool_),
    "is_corrupt": np.dtype(np.bool_),
    "is_at_demuxer_error": np.dtype(np.bool_),
    "can_start_unit": np.dtype(np.bool_),
}
"""Columns of a `PacketTable`, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PacketTable:
    """Packets of the chosen stream in file order, shape (num_packets,) each: a packet's row is its ordinal."""

    pts: npt.NDArray[np.int64]
    """Ticks, `NO_PTS` where missing."""
    dts: npt.NDArray[np.int64]
    """Ticks, `NO_PTS` where missing."""
    pos: npt.NDArray[np.int64]
    """Byte position in the file, `NO_POS` where the demuxer does not know."""
    size: npt.NDArray[np.int32]
    """Bytes."""
    is_keyframe: npt.NDArray[np.bool_]
    is_discarded: npt.NDArray[np.bool_]
    """Decoded but not shown: outside an edit list."""
    is_corrupt: npt.NDArray[np.bool_]
    """The demuxer flagged it: bytes are missing or fail a checksum."""
    is_at_demuxer_error: npt.NDArray[np.bool_]
    """The demuxer reported an error after this packet or, before one that is no keyframe, on the way to it.

    What it passed over is lost; a keyframe behind it needs nothing of that.
    """
    can_start_unit: npt.NDArray[np.bool_]
    """A shown keyframe of a video that may be split, and the first packet."""

    def __post_init__(self) -> None:
        """Check that the columns fit together, and freeze them."""
        for name, dtype in PACKET_COLUMNS.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != self.pts.shape:
                raise ValueError(f"column {name} must be {dtype} of shape {self.pts.shape}")
            column.flags.writeable = False

    def __len__(self) -> int:
        return len(self.pts)


@dataclass(frozen=True, kw_only=True)
class VideoScan:
    """Facts and packets of one readable video."""

    facts: VideoFacts
    packets: PacketTable
    mtime_ns: int
    """Modification time of the file when it was scanned."""

    @cached_property
    def time_base(self) -> Fraction | None:
        """Seconds per tick; None where the stream has no time base."""
        return Fraction(*self.facts.time_base) if self.facts.time_base else None

    @property
    def pts_are_true(self) -> bool:
        """Whether the container holds the pts of packets that have one, or FFmpeg makes them from dts."""
        return _has_true_pts(self.facts.container)

    @cached_property
    def sample_aspect_ratio(self) -> Fraction | None:
        """Width over height of a coded pixel; None where the stream does not say."""
        return Fraction(*self.facts.sample_aspect_ratio) if self.facts.sample_aspect_ratio else None

    @property
    def demuxer_errors_text(self) -> str:
        """How many there were, and the first."""
        count = self.facts.num_demuxer_errors
        return f"{count} demuxer error{'s' * (count != 1)} (the first: {self.facts.first_demuxer_error})"


def scan_video(path: Path, relative_path: str, *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoScan:
    """Read every packet of a video, decode its first frame, hash the file.

    Raises:
        VideoError: it cannot be read as a video, or is beyond `limits`; one line, without absolute paths.
        OSError: the machine failed to read the file.
    """
    with demuxer_log() as log:
        return _scan(path, relative_path, limits, log)


def _scan(path: Path, relative_path: str, limits: VideoLimits, log: DemuxerLog) -> VideoScan:
    opened = open_container(path, relative_path, limits=limits)
    container = opened.container
    try:
        status = path.stat()
        stream = choose_video_stream(container, relative_path, limits=limits)
        excess = limits.excess_of_header(
            num_streams=len(container.streams),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            num_frames=_num_frames_in_header(stream) or 0,
            seconds=_duration_in_header(container, stream),
        )
        if excess is not None:
            raise VideoError(relative_path, excess)
        reading = _read_all(opened, stream, relative_path, limits, log)
        packets = reading.packets
        if log.is_early:
            places = place_errors(path, relative_path, stream_index=stream.index, limits=limits)
            is_at_error = places.packets_at_errors(packets.is_keyframe)
            packets = replace(packets, is_at_demuxer_error=is_at_error)
        sha256 = hash_file(path)
        frame = reading.first_frame
        if frame.rotation % 90:
            raise VideoError(relative_path, f"rotated by {frame.rotation} degrees, not a multiple of 90")
        facts = VideoFacts(
            path=relative_path,
            num_bytes=status.st_size,
            sha256=sha256,
            container=container.format.name,
            stream_index=stream.index,
            num_video_streams=len(container.streams.video),
            stream_choice=_stream_choice(container, stream),
            codec=stream.codec_context.codec.canonical_name,
            width=frame.width,
            height=frame.height,
            pixel_format=frame.format.name,
            color_matrix=_MATRICES.get(frame.colorspace, f"matrix {frame.colorspace}"),
            color_range=_RANGES.get(frame.color_range, f"range {frame.color_range}"),
            rotation_degrees=frame.rotation,
            sample_aspect_ratio=_ratio(stream.sample_aspect_ratio),
            time_base=_ratio(stream.time_base),
            average_rate=_ratio(stream.average_rate),
            num_frames_in_header=_num_frames_in_header(stream),
            duration_seconds_in_header=_duration_in_header(container, stream),
            num_packets=len(packets),
            num_keyframes=int(packets.is_keyframe.sum()),
            num_demuxer_errors=log.num_errors,
            first_demuxer_error=log.first_error,
            has_pts=not bool((packets.pts == NO_PTS).any()),
            unsplittable_reason=reading.unsplittable_reason,
            uncounted_reason=_why_uncounted(
                container, stream, packets, has_hidden_packets=reading.has_hidden_packets
            ),
        )
    finally:
        opened.close()
    return VideoScan(facts=facts, packets=packets, mtime_ns=status.st_mtime_ns)


def ticks_to_seconds(
    ticks: npt.NDArray[np.int64] | list[int], time_base: Fraction | None
) -> npt.NDArray[np.float64]:
    """Seconds of pts ticks, float64, NaN where `NO_PTS`. Builder and live store share it, so they agree bit for bit."""
    ticks = np.asarray(ticks, np.int64)
    if time_base is None:
        return np.full(ticks.shape, np.nan)
    seconds = ticks.astype(np.float64) * time_base.numerator / time_base.denominator
    return np.where(ticks == NO_PTS, np.nan, seconds)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    packets: PacketTable
    first_frame: VideoFrame
    unsplittable_reason: str | None
    has_hidden_packets: bool


def _read_all(
    opened: OpenContainer, stream: VideoStream, relative_path: str, limits: VideoLimits, log: DemuxerLog
) -> _Reading:
    """One pass over the packets; they are decoded only until the first frame comes out."""
    set_single_thread(stream)
    decoder = stream.codec_context
    rows: list[tuple[int, int, int, int, bool, bool, bool]] = []
    first_frame: VideoFrame | None = None
    first_error: Exception | None = None
    has_hidden_packets = has_new_parameters = False
    end: tuple[None] = (None,)
    log.note(opened.container, next_packet=0)
    for packet in chain(read_packets(opened, stream, on_error=log.hear), end):
        log.note(opened.container, next_packet=len(rows))
        if first_frame is None:
            try:
                first_frame = next(iter(decoder.decode(packet)), None)
            except av.FFmpegError as error:
                first_error = first_error or error
        if packet is None:
            break
        if len(rows) == limits.max_packets:
            raise VideoError(relative_path, f"it has more packets than the limit of {limits.max_packets:,}")
        has_new_parameters |= bool(rows) and packet.has_sidedata("new_extradata")
        if decoder.name == "vp8" and packet.size:
            has_hidden_packets |= not memoryview(packet)[0] & _VP8_SHOW_FRAME
        rows.append(
            (
                NO_PTS if packet.pts is None else packet.pts,
                NO_PTS if packet.dts is None else packet.dts,
                NO_POS if packet.pos is None else packet.pos,
                packet.size,
                packet.is_keyframe,
                packet.is_discard,
                packet.is_corrupt,
            )
        )
    if not rows:
        raise VideoError(relative_path, "its video stream holds no packets: truncated?")
    if first_frame is None:
        why = f": {describe_error(first_error)}" if first_error else ""
        if not decoder.width * decoder.height:  # FFmpeg forgets sizes beyond `max_pixels`, and does not say
            why = f": their size is unknown, or beyond the limit of {limits.max_pixels:,} pixels"
        raise VideoError(relative_path, f"none of its frames can be decoded{why}")
    columns = {
        name: np.array([row[i] for row in rows], dtype)
        for i, (name, dtype) in enumerate(PACKET_COLUMNS.items())
        if name not in {"is_at_demuxer_error", "can_start_unit"}
    }
    columns["is_at_demuxer_error"] = log.packets_at_errors(columns["is_keyframe"])
    # After a seek the decoder would lack the parameters that came before.
    reason = "its codec parameters change on the way" if has_new_parameters else None
    can_start_unit = columns["is_keyframe"] & ~columns["is_discarded"] & (reason is None)
    can_start_unit[0] = True
    return _Reading(
        packets=PacketTable(**columns, can_start_unit=can_start_unit),
        first_frame=first_frame,
        unsplittable_reason=reason,
        has_hidden_packets=has_hidden_packets,
    )


def _why_uncounted(
    container: InputContainer, stream: VideoStream, packets: PacketTable, *, has_hidden_packets: bool
) -> str | None:
    """Why sorting the packets by pts might not be the decoder's output, or None."""
    reasons = {
        "codec": stream.codec_context.codec.canonical_name not in _ONE_FRAME_A_PACKET,
        "hidden packets": has_hidden_packets,
        "damaged packets": bool((packets.is_corrupt | packets.is_at_demuxer_error).any()),
        "interlaced": stream.codec_context.field_order not in _PROGRESSIVE,
        "packets without pts": bool((packets.pts == NO_PTS).any()),
        "equal pts": len(np.unique(packets.pts)) < len(packets),
        "edit list": bool(packets.is_discarded.any()),
        "begins without a keyframe": not packets.is_keyframe[0],
        "frames before the first keyframe": bool((packets.pts < packets.pts[0]).any()),
        "empty packets": bool((packets.size == 0).any()),
        # AVI, ASF and the like hold no pts: FFmpeg makes them from dts, so they tell nothing of reordering.
        "reordered frames without pts": stream.codec_context.has_b_frames
        and not _has_true_pts(container.format.name),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _has_true_pts(container: str) -> bool:
    return bool(set(container.split(",")) & _CONTAINERS_WITH_TRUE_PTS)


def _num_frames_in_header(stream: VideoStream) -> int | None:
    return stream.frames if stream.frames not in {0, _NOT_FILLED_IN} else None


def _duration_in_header(container: InputContainer, stream: VideoStream) -> float | None:
    """What the header promises, which a file that was cut off later does not keep."""
    container_names = set(container.format.name.split(","))
    if "mov" in container_names and stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    if "matroska" in container_names:
        # A tag of each track, "00:00:03.666000000"; the segment's own duration may be the sound's.
        hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
        minutes, _, seconds = rest.partition(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            pass
    is_alone = len(container.streams) == 1 and container_names & {"matroska", "flv"}
    return container.duration / 1e6 if is_alone and container.duration is not None else None


def _stream_choice(container: InputContainer, stream: VideoStream) -> Literal["only", "best", "first"]:
    if len(container.streams.video) == 1:
        return "only"
    best = container.streams.best("video")
    return "best" if best is not None and best.index == stream.index else "first"


class _Rational(Protocol):
    """A ratio of PyAV: a Fraction in PyAV 18, an `av.AVRational` later."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def _ratio(value: _Rational | None) -> tuple[int, int] | None:
    """None where FFmpeg does not know it: PyAV 18 says None, later ones 0 or a denominator of 0, which are false."""
    return (value.numerator, value.denominator) if value else None
