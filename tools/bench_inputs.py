"""What `cache-bench` needs on disk before it measures: videos, 200 or more of them, and a cache of each kind."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from frame_cache_tools.make_sample_videos import write_samples
from frame_cache_tools.spelled_videos import SpelledVideo
from frame_cache_tools.usual_loader import unservable

from cache_builder import build_cache, open_videos
from cache_builder.config import BuildConfig, BuildSettings, resolve
from cache_builder.discover import SourceVideo, discover_videos
from cache_builder.errors import InputFolderError, VideoError
from cache_builder.report import BuildReport
from cache_builder.workspace import Workspace
from frame_store import CacheStore, open_store

Say = Callable[[str], None]

NUM_COPIES = 200
FRAMES_PER_SHARD = 200
MAX_FLAT_BYTES = 1 << 30
_MAX_REPORT_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """The sample videos that stand for those of the user: plain H.264 with a keyframe every 30 frames."""

    num_videos: int
    num_frames: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class BenchVideos:
    """A folder of videos, as it is measured."""

    folder: Path
    """Holds at least `NUM_COPIES` videos, of which some may be links to the same file."""
    num_files: int
    """Different files among them."""
    paths: tuple[Path, ...]
    """Those that can be read."""
    num_frames: int
    frames_of_path: tuple[int, ...]
    """Packets of each of `paths`."""
    servable: tuple[Path, ...]
    """Those whose every frame the usual loader finds."""
    why_unservable: str | None
    """What the usual loader lacks in the first that it cannot serve; None where it can serve all."""
    scan_seconds: float


@dataclass(frozen=True, kw_only=True)
class BenchCache:
    """A cache that is measured."""

    name: str
    """For example `wds jpeg 444 shuffled`."""
    path: Path
    num_frames: int
    num_bytes: int
    build_seconds: float | None
    """As its report says; None where there is none."""

    @property
    def bytes_per_frame(self) -> float:
        """Of all files of the cache."""
        return self.num_bytes / self.num_frames

    @property
    def build_frames_per_second(self) -> float | None:
        """Frames over the whole time of the build."""
        return None if not self.build_seconds else self.num_frames / self.build_seconds


CACHE_KINDS: dict[str, BuildSettings] = {
    "wds jpeg 444": BuildSettings(),
    "wds jpeg 420": BuildSettings(chroma="420"),
    "wds raw": BuildSettings(encoding="raw"),
    "zarr raw": BuildSettings(format="zarr", encoding="raw"),
    "zarr zstd": BuildSettings(format="zarr", encoding="zstd"),
}
"""Every format with every encoding that it takes, shuffled."""

VIDEO_LAYOUT: dict[str, BuildSettings] = {"wds jpeg 444 video": BuildSettings(layout="video")}
"""Frames in time order, to see what the layouts are worth."""

BENCH_GEOMETRY = BuildSettings(size=224, crop_aspect="4:3", resize="stretch")
"""As configs/exercise.toml: the crop that the transforms of the usual loader always make of 16:9."""


def bench_config(kind: BuildSettings) -> BuildConfig:
    """A kind of cache in the geometry of all rows."""
    settings = BENCH_GEOMETRY.overridden_by(BuildSettings(frames_per_shard=FRAMES_PER_SHARD))
    config, _ = resolve(settings.overridden_by(kind))
    return config


def write_sample_videos(folder: Path, size: SampleSize) -> None:
    """Sample videos into `folder`, keeping those that are there."""
    specs = [
        SpelledVideo(
            path=Path(f"sample_{number:02d}_{size.width}x{size.height}_{size.num_frames}f.mp4"),
            video_number=number,
            num_frames=size.num_frames,
            width=size.width,
            height=size.height,
            gop_size=30,
        )
        for number in range(size.num_videos)
    ]
    workers = min(len(specs), len(os.sched_getaffinity(0)))
    for _ in write_samples(folder, specs, num_workers=workers):
        pass


def link_copies(folder: Path, out: Path, *, at_least: int) -> Path:
    """A folder of at least so many videos: `folder` itself, or `out` with as many links to each file as it takes.

    Raises:
        InputFolderError: no such folder, or no video in it.
    """
    videos = discover_videos(folder)
    if len(videos) >= at_least:
        return folder
    num_copies = -(-at_least // len(videos))
    for number in range(num_copies * len(videos)):
        video = videos[number % len(videos)]
        _link(out / f"{number:05d}{video.path.suffix}", video.path)
    return out


def scan_videos(folder: Path, *, scan_cache: Path, clock: Callable[[], float]) -> BenchVideos:
    """What is in a folder of videos, by its packets.

    Raises:
        InputFolderError: no video of it can be read.
    """
    started = clock()
    store = open_videos(folder, scan_cache=scan_cache)
    seconds = clock() - started
    sources: list[SourceVideo] = discover_videos(folder)
    readable = [
        (source.path, int(size))
        for source, facts, size in zip(sources, store.videos, store.shard_sizes, strict=True)
        if not isinstance(facts, VideoError) and size
    ]
    store.close()
    if not readable:
        raise InputFolderError(folder, "none of its videos can be read")
    answers: dict[Path, str | None] = {}
    for path, _ in readable:
        real = path.resolve()
        if real not in answers:
            answers[real] = unservable(real)
    refusals = [f"{path.name}: {why}" for path, why in answers.items() if why is not None]
    return BenchVideos(
        folder=folder,
        num_files=len(answers),
        paths=tuple(path for path, _ in readable),
        frames_of_path=tuple(size for _, size in readable),
        num_frames=sum(size for _, size in readable),
        servable=tuple(path for path, _ in readable if answers[path.resolve()] is None),
        why_unservable=refusals[0] if refusals else None,
        scan_seconds=seconds,
    )


def link_first_frames(videos: BenchVideos, out: Path, *, num_frames: int) -> Path:
    """A folder with the first of the videos that hold `num_frames` together, for caches that build in bearable time."""
    total = 0
    for number, (path, size) in enumerate(zip(videos.paths, videos.frames_of_path, strict=True)):
        if total >= num_frames:
            break
        total += size
        _link(out / f"{number:05d}{path.suffix}", path)
    return out


def build_bench_cache(videos: Path, out: Path, name: str, kind: BuildSettings) -> BenchCache:
    """Build a cache of one kind, or take the one that is there.

    Raises:
        FrameCacheError: what `build_cache` raises.
    """
    _, options = resolve(BuildSettings(on_error="skip"))
    build_cache(videos, out, bench_config(kind), options)
    return look_at_cache(out, name=name)


def look_at_cache(path: Path, *, name: str | None = None) -> BenchCache:
    """A finished cache as it is.

    Raises:
        StoreError: no cache there, or a damaged one.
        InputFolderError: an empty one.
    """
    store = open_store(path)
    store.close()
    if not len(store):
        raise InputFolderError(path, "an empty cache, there is nothing to measure")
    manifest = store.manifest
    return BenchCache(
        name=name or f"{path.name}: {kind_of(store)}",
        path=path,
        num_frames=len(store),
        num_bytes=sum(entry.num_bytes for entry in [*manifest.shards, *manifest.files]),
        build_seconds=_build_seconds(path, num_frames=len(store)),
    )


def kind_of(store: CacheStore) -> str:
    """Container, encoding and layout in words, such as `wds jpeg 444 video`."""
    encoding = store.manifest.encoding
    words = [store.manifest.container, encoding.name]
    words += [encoding.chroma] if encoding.chroma is not None else []
    words += [store.manifest.layout] if store.manifest.layout != "shuffled" else []
    return " ".join(words)


def write_flat(path: Path, out: Path) -> None:
    """The first frames of a cache, decoded, as one .npy file for the limit of memory."""
    store = open_store(path)
    frame_bytes = int(np.prod(store.frame_shape))
    num_frames = min(len(store), max(1, MAX_FLAT_BYTES // frame_bytes))
    flat = np.lib.format.open_memmap(out, mode="w+", dtype=np.uint8, shape=(num_frames, *store.frame_shape))
    for start in range(0, num_frames, 128):
        stop = min(start + 128, num_frames)
        flat[start:stop] = store.read_frames(range(start, stop))
    flat.flush()
    store.close()


def sources_of(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The different files behind links, in order.

    >>> sources_of([Path("/a"), Path("/a"), Path("/b")])
    (PosixPath('/a'), PosixPath('/b'))
    """
    return tuple(dict.fromkeys(path.resolve() for path in paths))


def _build_seconds(path: Path, *, num_frames: int) -> float | None:
    """What the report beside a cache says its build took; None where there is no report of this cache."""
    try:
        with Workspace(path.absolute()).report.open("rb") as file:
            report = msgspec.json.decode(file.read(_MAX_REPORT_BYTES), type=BuildReport)
    except (OSError, msgspec.MsgspecError):
        return None
    seconds = report.seconds_scan + report.seconds_decode + report.seconds_gather
    return seconds if report.num_frames == num_frames and seconds > 0 else None


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve())
