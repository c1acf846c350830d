"""Scan of a video: counts packets instead of believing headers, and finds out what decoding needs."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError
from cache_builder.video.ffmpeg_log import DemuxerLog, demuxer_log
from cache_builder.video.opening import (
    DEFAULT_LIMITS,
    NothingReadError,
    ScrambledPart,
    VideoLimits,
    explain_nothing_read,
    find_scrambled_part,
    why_encrypted,
)
from cache_builder.video.packets import NO_PTS, PacketTable
from cache_builder.video.picture import (
    MATRIX_NAMES,
    RANGE_NAMES,
    TRANSFER_NAMES,
    read_presentation,
)
from cache_builder.video.scan.error_places import place_errors
from cache_builder.video.scan.facts import VideoFacts
from cache_builder.video.scan.header_facts import (
    bytes_not_read,
    duration_in_header,
    end_seconds,
    num_frames_in_header,
    ratio,
    stream_choice,
)
from cache_builder.video.scan.opening import open_to_scan
from cache_builder.video.scan.packet_pass import may_reorder, read_all_packets, stores_pts
from cache_builder.video.scan.second_file import SecondFile, find_second_file, hash_and_find_beginnings
from frame_store.shared import counted


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
    def stores_pts(self) -> bool:
        """Whether the container stores pts. If not, FFmpeg derives them from dts."""
        return stores_pts(self.facts.container)

    @property
    def sorts_pts(self) -> bool:
        """Whether frames take the timestamps of all packets in rising order, not each the one of its own packet.

        Where a container stores no pts, FFmpeg derives them from the order in the file, which is not that of the
        frames.
        """
        return may_reorder(self.facts.codec) and not self.stores_pts

    @property
    def damage_texts(self) -> list[str]:
        """The damage that the scan alone found, one line each. Units report corrupt packets, so they are not listed."""
        texts = [self.demuxer_errors_text] if self.packets.is_at_demuxer_error.any() else []
        return texts + [part.text for part in self.parts_not_read]

    @property
    def parts_not_read(self) -> list[SecondFile | ScrambledPart]:
        """Parts of the file that belong to the video and that FFmpeg passed over."""
        second_file, scrambled = self.facts.second_file, self.facts.scrambled_part
        parts: list[SecondFile | ScrambledPart] = []
        parts += [second_file] if second_file is not None and not second_file.is_read else []
        return parts + ([scrambled] if scrambled is not None else [])

    @property
    def demuxer_errors_text(self) -> str:
        """The number of demuxer errors, and the first."""
        count = self.facts.num_demuxer_errors
        return f"{counted(count, 'demuxer error')} (the first: {self.facts.first_demuxer_error})"


def scan_video(path: Path, relative_path: str, *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoScan:
    """Read every packet of a video, decode its first frame, hash the file.

    Raises:
        VideoError: the file cannot be read as a video, or is beyond `limits`; one line, without absolute paths.
        OSError: the machine failed to read the file.
    """
    with demuxer_log() as log:
        try:
            return _scan(path, relative_path, limits, log)
        except NothingReadError as error:
            raise VideoError(relative_path, explain_nothing_read(path, error, limits=limits)) from error


def _scan(path: Path, relative_path: str, limits: VideoLimits, log: DemuxerLog) -> VideoScan:
    opened, stream, is_undecoded = open_to_scan(path, relative_path, limits=limits, log=log)
    container = opened.container
    try:
        status = path.stat()
        excess = limits.excess_of_header(
            num_streams=len(container.streams),
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            num_frames=num_frames_in_header(stream) or 0,
            seconds=duration_in_header(container, stream),
        )
        if (refusal := excess or why_encrypted(stream)) is not None:
            raise VideoError(relative_path, refusal)
        reading = read_all_packets(
            opened, stream, relative_path, is_undecoded=is_undecoded, limits=limits, log=log
        )
        packets = reading.packets
        if log.is_early:
            places = place_errors(path, relative_path, stream_index=stream.index, limits=limits)
            is_at_error = places.packets_at_errors(packets.is_keyframe)
            packets = replace(packets, is_at_demuxer_error=is_at_error)
        sha256, beginnings = hash_and_find_beginnings(path, container.format.name)
        frame = reading.first_frame
        facts = VideoFacts(
            path=relative_path,
            num_bytes=status.st_size,
            sha256=sha256,
            container=container.format.name,
            stream_index=stream.index,
            num_video_streams=len(container.streams.video),
            stream_choice=stream_choice(container, stream),
            codec=stream.codec_context.codec.canonical_name,
            width=frame.width,
            height=frame.height,
            pixel_format=frame.format.name,
            color_matrix=MATRIX_NAMES.get(frame.colorspace, f"matrix {frame.colorspace}"),
            color_range=RANGE_NAMES.get(frame.color_range, f"range {frame.color_range}"),
            color_transfer=TRANSFER_NAMES.get(frame.color_trc, f"transfer {frame.color_trc}"),
            presentation=read_presentation(container, stream, frame, relative_path),
            time_base=ratio(stream.time_base),
            average_rate=ratio(stream.average_rate),
            num_frames_in_header=num_frames_in_header(stream),
            duration_seconds_in_header=duration_in_header(container, stream),
            end_seconds_of_packets=end_seconds(reading.end_pts, stream),
            num_packets=len(packets),
            num_keyframes=int(packets.is_keyframe.sum()),
            num_demuxer_errors=log.num_errors,
            first_demuxer_error=log.first_error,
            second_file=find_second_file(beginnings, container.format.name, packets),
            scrambled_part=find_scrambled_part(path, pid=stream.id, packets=packets)
            if container.format.name == "mpegts"
            else None,
            bytes_not_read=bytes_not_read(opened, num_bytes=status.st_size),
            has_pts=not bool((packets.pts == NO_PTS).any()),
            unsplittable_reason=reading.unsplittable_reason,
            uncounted_reason=reading.uncounted_reason,
            reorder_depth=reading.reorder_depth,
        )
    finally:
        opened.close()
    return VideoScan(facts=facts, packets=packets, mtime_ns=status.st_mtime_ns)


def tick_to_seconds(tick: int | None, time_base: Fraction | None) -> float:
    """`ticks_to_seconds` of one frame, with the same result, in a tenth of the time; NaN for None."""
    if tick is None or tick == NO_PTS or time_base is None:
        return nan
    return float(tick) * time_base.numerator / time_base.denominator


def ticks_to_seconds(
    ticks: npt.NDArray[np.int64] | list[int], time_base: Fraction | None
) -> npt.NDArray[np.float64]:
    """Seconds of pts ticks, float64, NaN where `NO_PTS`. Builder and live store share it, so they agree bit for bit."""
    ticks = np.asarray(ticks, np.int64)
    if time_base is None:
        return np.full(ticks.shape, np.nan)
    seconds = ticks.astype(np.float64) * time_base.numerator / time_base.denominator
    return np.where(ticks == NO_PTS, np.nan, seconds)
