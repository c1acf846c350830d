"""Scan of a video: counts packets instead of believing headers, and learns what decoding needs to know."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.demuxer_log import DemuxerLog, demuxer_log, place_errors
from cache_builder.video.limits import DEFAULT_LIMITS, VideoLimits
from cache_builder.video.open_video import choose_video_stream, hash_file, open_container
from cache_builder.video.packet_pass import has_true_pts, may_reorder, read_all_packets
from cache_builder.video.packet_table import NO_PTS, PacketTable

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

_NOT_FILLED_IN = 2**30
"""Frames that an AVI claims which FFmpeg wrote to a pipe, or whose recorder was killed: libavformat/avienc.c."""


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
    reorder_depth: int | None
    """H.264: frames that a decoder must hold back so that all come out, in order; from the pts of all packets where the
    container holds true ones, else as many as the stream says or its level allows. None for other codecs."""


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
        return has_true_pts(self.facts.container)

    @property
    def sorts_pts(self) -> bool:
        """Whether frames take the timestamps of their packets in rising order, not each that of its own packet.

        Where a container holds no pts, FFmpeg makes them of the order in the file, which is not that of the frames.
        """
        return may_reorder(self.facts.codec) and not self.pts_are_true

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
        reading = read_all_packets(opened, stream, relative_path, limits=limits, log=log)
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
            uncounted_reason=reading.uncounted_reason,
            reorder_depth=reading.reorder_depth,
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


def _num_frames_in_header(stream: VideoStream) -> int | None:
    return stream.frames if stream.frames not in {0, _NOT_FILLED_IN} else None


def _duration_in_header(container: InputContainer, stream: VideoStream) -> float | None:
    """What the header promises, which a file that was cut off later does not keep."""
    container_names = set(container.format.name.split(","))
    if "mov" in container_names and stream.duration is not None and stream.time_base is not None:
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


def _ratio(value: Fraction | None) -> tuple[int, int] | None:
    return (value.numerator, value.denominator) if value else None
