"""What is known of a folder of videos before anything is built, as plain values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from frame_cache_tools.report.folder.peek import PeekedFrame

from cache_builder import BuildEstimate

Finding: TypeAlias = Literal["nothing found", "damaged", "unreadable"]
"""Nobody has decoded all of a video, so none is called whole."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A damaged stretch of a video."""

    first: float
    """Seconds."""
    last: float
    text: str


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What the scan of a readable file found."""

    codec: str
    container: str
    pixel_format: str
    width: int
    """Coded pixels of the first frame."""
    height: int
    fps: float | None
    """That the header claims."""
    seconds: float | None
    """Until the last packet ends."""
    num_frames: int
    """That it would give."""
    is_proved: bool
    """Whether the packets prove the number; else each packet is taken for a frame."""
    num_keyframes: int
    gop_median: int
    """Packets from one keyframe to the next."""
    gop_longest: int


@dataclass(frozen=True, kw_only=True)
class FolderVideo:
    """A file of the folder."""

    name: str
    finding: Finding
    num_bytes: int | None
    """None if the file could not be looked at."""
    facts: FileFacts | None
    """None if it is unreadable."""
    problems: tuple[str, ...]
    """What is wrong, one line each."""
    notes: tuple[str, ...]
    """What is unusual and no damage."""
    stretches: tuple[Stretch, ...]
    """Where damage lies, as far as packets show it."""
    num_stretches_left_out: int
    num_episodes: int
    """Episodes in it; 0 for a file that is a video of its own."""
    frames: tuple[PeekedFrame, ...]
    """A few decoded frames, rising in time; empty for a file that was not looked into."""
    num_frames_peeked: int
    """Decoded for this page."""
    is_peeked: bool
    """Whether frames were decoded, or at least tried."""


@dataclass(frozen=True, kw_only=True)
class FolderReport:
    """All that the page of a folder states."""

    name: str
    path: str
    version: str
    videos: tuple[FolderVideo, ...]
    """Every file, those with problems first, then as the source has them."""
    num_videos: int
    """That a cache would have: files, or episodes; with cameras, of each camera."""
    cameras: tuple[str, ...]
    is_of_episodes: bool
    passed_over: str | None
    """Files that are no videos."""
    copies: tuple[tuple[str, ...], ...]
    """Files that are byte for byte the same."""
    num_peeked: int
    """Videos of which frames were decoded, or tried."""
    seconds_scan: float
    seconds_peek: float
    estimate: BuildEstimate | None
    why_no_estimate: str | None
    memory_bytes: int | None
    """Of this machine."""
    command: str
    """What builds the cache, for a shell."""
    settings: tuple[tuple[str, str], ...]
    """What the estimate assumes."""

    @property
    def num_damaged(self) -> int:
        """Files with damage that is known."""
        return sum(video.finding == "damaged" for video in self.videos)

    @property
    def num_unreadable(self) -> int:
        """Files that give no frame."""
        return sum(video.finding == "unreadable" for video in self.videos)

    @property
    def num_frames(self) -> int:
        """Frames of all files."""
        return sum(video.facts.num_frames for video in self.videos if video.facts is not None)

    @property
    def num_unproved(self) -> int:
        """Readable files whose packets do not prove how many frames they give."""
        return sum(video.facts is not None and not video.facts.is_proved for video in self.videos)

    @property
    def seconds(self) -> float:
        """Of all files whose length is known."""
        return sum(video.facts.seconds or 0.0 for video in self.videos if video.facts is not None)

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(video.num_bytes or 0 for video in self.videos)
