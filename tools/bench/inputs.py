"""The files that `cache-bench` measures: videos, 200 or more of them, and a cache of each kind."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import msgspec
import numpy as np
from frame_cache_tools.bench.settings import SampleSize
from frame_cache_tools.bench.usual_loader import unservable
from frame_cache_tools.samples import NumberedVideo, write_samples

from cache_builder import open_videos
from cache_builder.build import BuildReport, run_build
from cache_builder.errors import InputFolderError, VideoError
from cache_builder.settings import BuildConfig, BuildSettings, resolve
from cache_builder.sources import SourceVideo, discover_videos
from cache_builder.stages import Workspace
from frame_store import CacheStore, open_store
from frame_store.shared import num_usable_cpus

FRAMES_PER_SHARD = 200
MAX_FLAT_BYTES = 1 << 30
_MAX_REPORT_BYTES = 1 << 28
_PIXELS_A_PROCESS = 100_000_000
"""Encoding these takes about as long as starting another process that encodes."""


@dataclass(frozen=True, kw_only=True)
class BenchVideos:
    """The folder of videos that is measured."""

    folder: Path
    """The user's folder, or a folder of links to its videos, several to each file where there are few."""
    num_passed_over: int
    """Videos of the user's folder that were left out, because they exceed the limit of bytes."""
    num_files: int
    """Different files among them."""
    paths: tuple[Path, ...]
    """The readable videos."""
    num_frames: int
    frames_of_path: tuple[int, ...]
    """Packets of each of `paths`."""
    servable: tuple[Path, ...]
    """Videos in which the usual loader finds every frame."""
    why_unservable: str | None
    """Why the usual loader cannot serve the first of the others; None where it can serve all."""
    scan_seconds: float


@dataclass(frozen=True, kw_only=True)
class BenchCache:
    """A cache that is measured."""

    name: str
    """For example `wds jpeg 444 shuffled`."""
    path: Path
    is_raw: bool
    """Whether its frames are stored without an encoding."""
    num_frames: int
    num_bytes: int
    build_seconds: float | None
    """From the report of its build; None where there is no report."""

    @property
    def bytes_per_frame(self) -> float:
        """Size of all files of the cache, per frame."""
        return self.num_bytes / self.num_frames

    @property
    def build_frames_per_second(self) -> float | None:
        """Frames over the whole time of the build."""
        return None if not self.build_seconds else self.num_frames / self.build_seconds


CACHE_KINDS: dict[str, BuildSettings] = {
    "wds jpeg 444": BuildSettings(),
    "wds raw": BuildSettings(encoding="raw"),
    "wds jpeg 420": BuildSettings(chroma="420"),
    "zarr raw": BuildSettings(format="zarr", encoding="raw"),
    "zarr zstd": BuildSettings(format="zarr", encoding="zstd"),
}
"""Every format with each of its encodings, shuffled; the most used come first."""

VIDEO_LAYOUT: dict[str, BuildSettings] = {"wds jpeg 444 video": BuildSettings(layout="video")}
"""Frames in time order, to compare the layouts."""

BENCH_GEOMETRY = BuildSettings(size=224, crop_aspect="4:3", resize="stretch")
"""As configs/exercise.toml: the crop that the transforms of the usual loader always make of 16:9."""


def bench_config(kind: BuildSettings) -> BuildConfig:
    """A kind of cache in the geometry of all rows."""
    settings = BENCH_GEOMETRY.overridden_by(BuildSettings(frames_per_shard=FRAMES_PER_SHARD))
    config, _ = resolve(settings.overridden_by(kind))
    return config


def write_sample_videos(folder: Path, size: SampleSize) -> None:
    """Write sample videos into `folder`, except those that exist."""
    specs = [
        NumberedVideo(
            path=Path(f"sample_{number:02d}_{size.width}x{size.height}_{size.num_frames}f.mp4"),
            video_number=number,
            num_frames=size.num_frames,
            width=size.width,
            height=size.height,
            gop_size=30,
        )
        for number in range(size.num_videos)
    ]
    pixels = size.num_videos * size.num_frames * size.width * size.height
    workers = min(len(specs), num_usable_cpus(), 1 + pixels // _PIXELS_A_PROCESS)
    for _ in write_samples(folder, specs, num_workers=workers):
        pass


def prepare_videos(
    folder: Path, work: Path, *, at_least: int, most_bytes: int | None, clock: Callable[[], float]
) -> BenchVideos:
    """Scan the videos of `folder`. They are linked below `work` where they are too few or too many bytes.

    With `most_bytes`, take the first videos that have at most this size together, or the smallest video where the first
    one alone is larger.

    Raises:
        InputFolderError: no such folder, or no video of it can be read.
    """
    found = [video.path for video in discover_videos(folder)]
    paths = found if most_bytes is None else _first_bytes(found, most_bytes)
    if len(paths) < len(found) or len(paths) < at_least:
        links = _repeated(paths, at_least)
        folder = _link_all(links, _named_after(links, work / "copies"))
    videos = scan_videos(folder, scan_cache=work / "bench.scan", clock=clock)
    return replace(videos, num_passed_over=len(found) - len(paths))


def _repeated(paths: list[Path], at_least: int) -> list[Path]:
    return paths * -(-at_least // len(paths))


def _first_bytes(paths: list[Path], most_bytes: int) -> list[Path]:
    sizes = [path.stat().st_size for path in paths]
    num_first = sum(total <= most_bytes for total in accumulate(sizes))
    return paths[:num_first] or [paths[sizes.index(min(sizes))]]


def scan_videos(folder: Path, *, scan_cache: Path, clock: Callable[[], float]) -> BenchVideos:
    """The videos of a folder and their frames, by their packets.

    Raises:
        InputFolderError: no video of it can be read.
    """
    started = clock()
    store = open_videos(folder, scan_cache=scan_cache)
    seconds = clock() - started
    sources: list[SourceVideo] = discover_videos(folder)
    readable = [
        (source.path, int(size))
        for source, facts, size in zip(sources, store.facts_of_videos, store.shard_sizes, strict=True)
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
        num_passed_over=0,
        num_files=len(answers),
        paths=tuple(path for path, _ in readable),
        frames_of_path=tuple(size for _, size in readable),
        num_frames=sum(size for _, size in readable),
        servable=tuple(path for path, _ in readable if answers[path.resolve()] is None),
        why_unservable=refusals[0] if refusals else None,
        scan_seconds=seconds,
    )


def link_first_frames(videos: BenchVideos, out: Path, *, num_frames: int) -> Path:
    """A folder beside `out` with videos of `num_frames` frames together, from which a cache builds in acceptable time.

    These are the first videos, without those that would make it more than twice the number. Where every video would,
    it is the shortest alone.
    """
    taken: list[Path] = []
    total = 0
    for path, size in zip(videos.paths, videos.frames_of_path, strict=True):
        if total < num_frames and total + size <= 2 * num_frames:
            taken.append(path)
            total += size
    shortest = min(range(len(videos.paths)), key=lambda number: videos.frames_of_path[number])
    chosen = taken or [videos.paths[shortest]]
    return _link_all(chosen, _named_after(chosen, out))


def build_bench_cache(videos: Path, out: Path, name: str, kind: BuildSettings) -> BenchCache:
    """Build a cache of one kind, unless it exists."""
    _, options = resolve(BuildSettings(on_error="skip"))
    run_build(videos, out, bench_config(kind), options)
    return look_at_cache(out, name=name)


def look_at_cache(path: Path, *, name: str | None = None) -> BenchCache:
    """The facts of a finished cache.

    Raises:
        StoreError: there is no cache, or it is damaged.
        InputFolderError: it is empty.
    """
    store = open_store(path)
    store.close()
    if not len(store):
        raise InputFolderError(path, "an empty cache, there is nothing to measure")
    if store.common.pixel != "rgb8":
        raise InputFolderError(
            path,
            f"a cache of pixel {store.common.pixel!r} (16-bit gray); cache-bench compares loaders of colour frames",
        )
    generation = store.common
    return BenchCache(
        name=name or f"{path.name}: {kind_of(store)}",
        path=path,
        is_raw=generation.encoding.name == "raw",
        num_frames=len(store),
        num_bytes=generation.num_bytes,
        build_seconds=build_seconds_of(path, num_frames=len(store)),
    )


def kind_of(store: CacheStore) -> str:
    """Container, encoding and layout, such as `wds jpeg 444 video`."""
    encoding = store.common.encoding
    words: list[str] = [store.common.container, encoding.name]
    words += [encoding.chroma] if encoding.chroma is not None else []
    words += [store.common.layout] if store.common.layout != "shuffled" else []
    return " ".join(words)


def write_flat(path: Path, out: Path) -> None:
    """The first frames of a cache, decoded, as one .npy file for the limit of memory.

    Raises:
        OSError: it cannot be written, for example on a full disk.
    """
    store = open_store(path)
    frame_bytes = int(np.prod(store.frame_shape))
    num_frames = min(len(store), max(1, MAX_FLAT_BYTES // frame_bytes))
    shape = (num_frames, *store.frame_shape)
    with out.open("wb") as file:  # not a memory map: on a full disk, writing to one kills the process
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, num_frames, 128):
            frames = store.read_frames(range(start, min(start + 128, num_frames)))
            file.write(np.ascontiguousarray(frames).data)
    store.close()


def build_seconds_of(path: Path, *, num_frames: int) -> float | None:
    """Time of the build from the report beside a cache; None where there is no report of this cache."""
    try:
        with Workspace(path.absolute()).report.open("rb") as file:
            report = msgspec.json.decode(file.read(_MAX_REPORT_BYTES), type=BuildReport)
    except (OSError, msgspec.MsgspecError):
        return None
    seconds = report.seconds_scan + report.seconds_decode + report.seconds_gather
    return seconds if report.num_frames == num_frames and seconds > 0 else None


def _link_all(targets: Sequence[Path], out: Path) -> Path:
    """Links to `targets`, in order, in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(targets):
        link = out / f"{number:05d}{path.suffix}"
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    return out


def _named_after(targets: Sequence[Path], out: Path) -> Path:
    """A folder beside `out`, named after its contents, so that a kept folder never mixes the videos of two runs."""
    names = b"\0".join(os.fsencode(path.resolve()) for path in targets)
    return out.with_name(f"{out.name}_{hashlib.sha256(names).hexdigest()[:8]}")
