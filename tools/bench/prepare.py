"""What a run of `cache-bench` makes before it measures, step by step, each in a process that can be cut off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from frame_cache_tools.bench.cases import TAKE_LIMIT
from frame_cache_tools.bench.inputs import (
    CACHE_KINDS,
    VIDEO_LAYOUT,
    BenchCache,
    BenchVideos,
    build_bench_cache,
    link_first_frames,
    look_at_cache,
    prepare_videos,
    write_flat,
    write_sample_videos,
)
from frame_cache_tools.bench.measure import Budget, Deadline, LeftOut, SourceFailedError, TimeUpError
from frame_cache_tools.bench.settings import BenchSettings

from cache_builder.errors import MachineError, OutputError
from cache_builder.settings import BuildSettings
from frame_store.shared import counted

_MODES = ("permutation", "iid", "shards m=8", "block k=4", "sequential")
_GPU_ROWS = {
    "wds raw": ("to the GPU", "floats to the GPU", "GPU: ResNet-18"),
    "wds jpeg 444": ("to the GPU", "decoded by the GPU", "GPU: ResNet-18"),
}
_OTHERS = ("DataLoader, 2 workers", "webdataset, 2 workers", "zarr-python frames[ids]")

Result = TypeVar("Result")


class Call(Protocol):
    """Runs a function in a process of its own: `call_in_process`."""

    def __call__(self, function: Callable[[], Result], *, seconds: float) -> Result:
        """Raises `TimeUpError` where it takes longer."""
        ...


@dataclass(kw_only=True)
class Preparation:
    """Makes videos and caches, as far as the deadline allows, and keeps what it had to leave out."""

    settings: BenchSettings
    work: Path
    flat: Path
    """Where raw frames for the limit of memory go."""
    budget: Budget
    call: Call
    say: Callable[[str], None]
    left_out: list[LeftOut] = field(default_factory=list)
    has_gpu: bool = False
    """Whether there are rows of a GPU."""
    has_flat: bool = False
    """Whether those frames are there; they are written as soon as a raw cache is."""

    def videos(self) -> BenchVideos | None:
        """The videos that are measured; None where only caches are, or the time was up.

        Raises:
            FrameCacheError: no such folder, no video in it that can be read.
        """
        settings = self.settings
        folder = settings.videos
        if folder is None and settings.caches:
            return None
        if folder is None:
            sample = settings.sample
            folder = self.work / f"sample_videos_{sample.width}x{sample.height}_{sample.num_frames}"
            self.say(
                f"making {counted(sample.num_videos, 'sample video')} of {counted(sample.num_frames, 'frame')}, "
                f"{sample.width}x{sample.height}"
            )
            try:
                self._call(partial(write_sample_videos, folder, sample), self._latest)
            except TimeUpError as error:
                self._leave_out("usual loader, live rows and caches", f"making sample videos was {error}")
                return None
        self.say(f"scanning {folder}")
        try:
            return self._call(
                partial(
                    prepare_videos,
                    folder.absolute(),
                    self.work,
                    at_least=settings.num_copies,
                    most_bytes=settings.most_video_bytes,
                    clock=self.budget.clock,
                ),
                self._latest,
            )
        except TimeUpError as error:
            self._leave_out("usual loader, live rows and caches", f"scanning {folder} was {error}")
            return None

    def caches(self, videos: BenchVideos | None) -> list[BenchCache]:
        """The caches that were named, else one of each kind that has rows and time, those that matter most first.

        Raises:
            FrameCacheError: what a cache or its build raises.
            OSError: the disk is full.
        """
        settings = self.settings
        if settings.caches:
            caches = [look_at_cache(path) for path in settings.caches]
            if len({cache.name for cache in caches}) < len(caches):
                caches = [look_at_cache(path, name=str(path)) for path in settings.caches]
            for cache in caches:
                self._write_flat(cache)
            return caches
        if videos is None:
            return []
        kinds = CACHE_KINDS if settings.is_quick else CACHE_KINDS | VIDEO_LAYOUT
        wanted = {
            name: kind
            for name, kind in kinds.items()
            if may_have_rows(name, settings.only, has_gpu=self.has_gpu)
        }
        if not wanted:
            return []
        folder = link_first_frames(videos, self.work / "cached_videos", num_frames=settings.cache_frames)
        return self._build_all(folder, wanted)

    def _build_all(self, folder: Path, wanted: dict[str, BuildSettings]) -> list[BenchCache]:
        caches: list[BenchCache] = []
        slowest = 0.0
        for name, kind in wanted.items():
            deadline = self.budget.preparing if caches else self._latest
            left = deadline.left()
            if slowest > left:
                self._leave_out(
                    f"cache {name}", f"building it would take about {slowest:.0f} s, {left:.0f} s were left"
                )
                continue
            self.say(f"building cache {name}")
            started = self.budget.clock()
            out = self.work / f"cache_{name.replace(' ', '_')}_{folder.name.rpartition('_')[2]}"
            try:
                cache = self._call(partial(build_bench_cache, folder, out, name, kind), deadline)
            except TimeUpError as error:
                self._leave_out(f"cache {name}", f"building it was {error}")
            except OutputError as error:
                raise OutputError(f"{error}; give --work another folder") from error
            else:
                caches.append(cache)
                self._write_flat(cache)
            slowest = max(slowest, self.budget.clock() - started)
        return caches

    def _write_flat(self, cache: BenchCache) -> None:
        if self.has_flat or not cache.is_raw:
            return
        self.say("writing raw frames for the limit of memory")
        try:
            self._call(partial(write_flat, cache.path, self.flat), self._latest)
        except TimeUpError as error:
            self._leave_out(TAKE_LIMIT, f"writing its frames was {error}")
        else:
            self.has_flat = True

    @property
    def _latest(self) -> Deadline:
        """For what many rows, or the first of them, cannot do without."""
        return self.budget.preparing_what_matters_most

    def _call(self, function: Callable[[], Result], deadline: Deadline) -> Result:
        try:
            return self.call(function, seconds=deadline.left())
        except SourceFailedError as error:
            raise MachineError(f"preparing: {error}") from error

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(LeftOut(name=name, reason=reason))


def may_have_rows(cache_name: str, only: Sequence[str], *, has_gpu: bool = False) -> bool:
    """Whether some row of a cache of this kind could have been asked for."""
    rows = [f"{cache_name}, {mode}{extra}" for mode in _MODES for extra in ("", " + augmentation")]
    rows += [f"{cache_name}, {other}" for other in _OTHERS]
    rows += [f"{cache_name}, {row}" for row in _GPU_ROWS.get(cache_name, ()) if has_gpu]
    return not only or any(matches(row, only) for row in rows)


def matches(name: str, only: Sequence[str]) -> bool:
    """Whether a row's name holds one of the patterns."""
    return any(fnmatch(name.lower(), f"*{pattern.lower()}*") for pattern in only)
