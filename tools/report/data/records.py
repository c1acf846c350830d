"""What a report states, as plain values: gathered by this room, written as a page by `page`."""

from dataclasses import dataclass
from typing import Literal

from frame_cache_tools.report.data.video_records import Bar, VideoFacts, VideosSummary

from frame_store.html import Picture
from frame_store.manifest import Fidelity


@dataclass(frozen=True, kw_only=True)
class ComparedFrame:
    """A stored frame beside the one that its video gives now."""

    path: str
    frame_in_video: int
    seconds: float | None
    psnr_db: float | None
    """None if they are equal."""
    stored: Picture
    original: Picture
    difference: Picture
    gain: int
    """Times that the difference is amplified around gray."""


@dataclass(frozen=True, kw_only=True)
class VideoFidelity:
    """What the build measured of one video."""

    path: str
    fidelity: Fidelity


@dataclass(frozen=True, kw_only=True)
class FidelityFacts:
    """How close stored frames are to what they were made of."""

    is_exact: bool
    """Whether the encoding keeps every value."""
    recorded: Fidelity | None
    worst_videos: tuple[VideoFidelity, ...]
    """Those with the worst sampled frames, the worst first."""
    compared: tuple[ComparedFrame, ...]
    """The worst frames of those that were compared for this page, the worst first."""
    num_compared: int
    num_compared_videos: int
    why_none: str | None
    """Why no originals are shown; None if there are."""


@dataclass(frozen=True, kw_only=True)
class GenerationFacts:
    """A generation of a cache, or of one of its cameras."""

    folder: str
    num_frames: int
    num_videos: int
    num_shards: int
    num_bytes: int
    num_parts: int
    """Builds that it was joined from; 1 if a build made it."""


@dataclass(frozen=True, kw_only=True)
class CameraFacts:
    """What is known of a cache without cameras, or of one camera of a cache."""

    name: str | None
    frame_shape: tuple[int, int, int]
    pixel: str
    encoding: str
    """In words: `jpeg, quality 95, chroma 444`."""
    container: str
    layout: str
    settings: tuple[tuple[str, str], ...]
    """Name and value of each setting of the build."""
    versions: tuple[tuple[str, str], ...]
    fingerprint: str
    num_frames: int
    num_shards: int
    shard_frames: tuple[int, int]
    """Frames of the smallest and of the largest shard."""
    chi2_of_shards: float
    num_bytes: int
    """Of the files of its generations."""
    generations: tuple[GenerationFacts, ...]
    summary: VideosSummary | None
    """None if the table of videos is damaged."""
    videos: tuple[VideoFacts, ...]
    """The videos that are shown: those that are not whole first, then an even sample."""
    fidelity: FidelityFacts | None
    problems: tuple[str, ...]
    """What of this camera's files is damaged."""

    @property
    def has_pictures(self) -> bool:
        """Whether a video is shown with pictures."""
        return any(video.sheet for video in self.videos)

    @property
    def raw_frame_bytes(self) -> int:
        """Bytes of a frame's pixels."""
        height, width, channels = self.frame_shape
        return height * width * channels * (2 if self.pixel == "gray16" else 1)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Values along one video."""

    label: str
    values: tuple[float | None, ...]
    """None where the value is missing or not finite."""


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """A column at a glance."""

    name: str
    scope: Literal["frame", "video"]
    kind: str
    num_rows: int
    num_missing: int
    num_sampled: int
    """Values that minimum, maximum, mean and bars are of; `num_rows` if they are of all."""
    num_not_finite: int
    """Of the sampled ones."""
    minimum: float | None
    maximum: float | None
    mean: float | None
    bars: tuple[Bar, ...]
    """How often values lie in each of equal stretches, or how often the most frequent texts occur."""
    num_other_texts: int
    """Texts that have no bar."""
    curves: tuple[Curve, ...]
    """Of one video; empty for columns of videos, and of texts."""
    curves_of: str
    """The video of the curves."""
    num_curves_left_out: int


@dataclass(frozen=True, kw_only=True)
class SamplerFacts:
    """What one sampler does to a batch; the texts have the marks of `cache-bias`."""

    name: str
    options: tuple[tuple[str, str | int], ...]
    """Keywords of `FrameLoader`; empty for samplers that it does not have."""
    is_ours: bool
    bias: str
    effective_batch: str
    long_run: str
    effective_batch_value: float | None
    long_run_value: float | None
    is_unbiased: bool
    num_left_out: int
    """Frames that an epoch leaves out, as they fill no batch."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SamplingFacts:
    """The samplers compared."""

    batch_size: int
    horizon: float
    proxy: str
    """The quantity that was compared."""
    is_of_all_frames: bool
    samplers: tuple[SamplerFacts, ...]
    refused: tuple[str, ...]
    best: SamplerFacts | None
    """What `cache-bias` would pick on a disk that is fast enough; None if no sampler is unbiased."""
    why: str


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What a data set states about itself."""

    kind: str
    facts: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...]
    num_tasks: int


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """Where a cache comes from, as far as files beside it say."""

    written: str
    """When its newest manifest was written, by the file's date, UTC: `2026-11-30 03:33`."""
    source: str | None
    """The videos that were found again for this page."""
    seconds: tuple[tuple[str, float], ...]
    """Steps of the last build and what they took; empty where its report does not lie beside the cache."""
    is_append: bool
    """Whether these seconds are those of an append."""


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """All that the page of a cache states."""

    name: str
    path: str
    version: str
    cameras: tuple[CameraFacts, ...]
    """One without a name for a cache without cameras."""
    num_frames: int
    """Of one camera."""
    num_videos: int
    is_of_episodes: bool
    num_bytes: int
    """Of all generations, columns and content orders that are in use."""
    num_column_bytes: int
    num_order_bytes: int
    record: BuildRecord
    num_superseded: int
    """Folders that the newest version of the cache does not use."""
    num_superseded_bytes: int
    """Of these that are still on disk."""
    has_content_order: bool
    dataset: DatasetFacts | None
    columns: tuple[ColumnFacts, ...]
    num_columns_left_out: int
    sampling: SamplingFacts | None
    why_no_sampling: str | None
    problems: tuple[str, ...]
    """What is damaged, one line for each file."""
    num_files_checked: int

    @property
    def leader(self) -> CameraFacts:
        """The first camera."""
        return self.cameras[0]

    @property
    def noun(self) -> str:
        """What its videos are called."""
        return "episode" if self.is_of_episodes else "video"
