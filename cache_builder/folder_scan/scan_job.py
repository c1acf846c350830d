"""Jobs of a worker pool that read one video: its packets, or, if those do not determine its frames, all its pixels."""

from dataclasses import replace

from cache_builder.errors import VideoError
from cache_builder.executors import JobLimits
from cache_builder.staging import StagedVideoJob
from cache_builder.video.decode import MAX_PACKETS_DECODED, FrameTable, check_starts, count_frames
from cache_builder.video.opening import (
    DEFAULT_LIMITS,
    VideoLimits,
    out_of_memory_text,
    seconds_to_decode,
    seconds_to_scan,
)
from cache_builder.video.scan import VideoScan, scan_video


class ScanJob(StagedVideoJob, frozen=True, kw_only=True):
    """Scan the video at `path`."""

    row: int
    """In the table of videos."""
    relative_path: str
    video_limits: VideoLimits = DEFAULT_LIMITS

    @property
    def name(self) -> str:
        """The video, as messages name it."""
        return self.relative_path

    @property
    def limits(self) -> JobLimits:
        """By the size of the file, which is not open yet."""
        try:
            num_bytes = self.path.stat().st_size if self.staged is None else self.staged.num_bytes
        except OSError:  # `run` reports it
            num_bytes = 0
        return JobLimits(seconds=seconds_to_scan(num_bytes), memory_bytes=self.video_limits.max_memory_bytes)

    def run(self) -> VideoScan:
        """Scan.

        Raises:
            VideoError: it cannot be read as a video, or asks for more than the limits.
        """
        try:
            scan = scan_video(self.path, self.relative_path, limits=self.video_limits)
        except MemoryError as error:
            raise VideoError(self.name, out_of_memory_text()) from error
        # The file is a copy: what tells one state of the video from another is the object.
        return scan if self.staged is None else replace(scan, mtime_ns=self.staged.status.mtime_ns)


class _ScannedVideoJob(StagedVideoJob, frozen=True, kw_only=True, eq=False):
    """What the jobs on a scanned video have in common."""

    row: int
    """In the table of videos."""
    scan: VideoScan

    @property
    def name(self) -> str:
        """The video, as messages name it."""
        return self.scan.facts.path

    def _limits_to_decode(self, num_packets: int) -> JobLimits:
        facts = self.scan.facts
        seconds = seconds_to_decode(
            num_packets, width=facts.width, height=facts.height, num_bytes=facts.num_bytes
        )
        return JobLimits(seconds=seconds, memory_bytes=DEFAULT_LIMITS.max_memory_bytes)


class StartCheckJob(_ScannedVideoJob, frozen=True, kw_only=True, eq=False):
    """Try whether decoding can start at a few keyframes of the video for which the scan gives no proof."""

    @property
    def limits(self) -> JobLimits:
        """For twice the largest number of packets that are decoded."""
        return self._limits_to_decode(2 * MAX_PACKETS_DECODED)

    def run(self) -> VideoScan:
        """Check.

        Raises:
            VideoError: the file is not the one that was scanned.
        """
        try:
            return check_starts(self.path, self.scan)
        except MemoryError as error:
            raise VideoError(self.name, out_of_memory_text()) from error


class CountJob(_ScannedVideoJob, frozen=True, kw_only=True, eq=False):
    """Decode the whole video at `path` to count its frames."""

    @property
    def limits(self) -> JobLimits:
        """By the number of packets."""
        return self._limits_to_decode(self.scan.facts.num_packets)

    def run(self) -> FrameTable:
        """Count.

        Raises:
            VideoError: the file is not the one that was scanned.
        """
        try:
            return count_frames(self.path, self.scan)
        except MemoryError as error:
            raise VideoError(self.name, out_of_memory_text()) from error
