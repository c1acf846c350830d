"""The videos and caches of a run of `cache-bench`. Each is made in a process that can be cut off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TypeVar

from frame_cache_tools.bench.cases import AUGMENTED, DATALOADER, MODES, TAKE_LIMIT, WEBDATASET, ZARR_PYTHON
from frame_cache_tools.bench.gpu import CACHE_ROWS
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
from frame_cache_tools.bench.measure import Budget, Call, Deadline, LeftOut, SourceFailedError, TimeUpError
from frame_cache_tools.bench.settings import BenchSettings

from cache_builder.errors import MachineError, OutputError
from cache_builder.settings import BuildSettings
from frame_store.shared import counted

Result = TypeVar("Result")


@dataclass(kw_only=True)
class Preparation:
    """Makes videos and caches until the deadline, and lists what it left out."""

    settings: BenchSettings
    work: Path
    flat: Path
    """File of raw frames for the limit of memory."""
    budget: Budget
    call: Call
    say: Callable[[str], None]
    left_out: list[LeftOut] = field(default_factory=list)
    has_gpu: bool = False
    """Whether this machine has GPU rows."""
    has_flat: bool = False
    """Whether the file at `flat` is written, which follows the first raw cache."""

    def videos(self) -> BenchVideos | None:
        """The videos to measure; None where only caches are measured, or where the time was up.

        Raises:
            FrameCacheError: no such folder, or it has no readable video.
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
        """The caches given by the user, else one of each kind that has rows and time, the most important first.

        Raises:
            FrameCacheError: a cache is damaged, or a build fails.
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
        """The deadline of what many rows need, or the first row."""
        return self.budget.preparing_what_matters_most

    def _call(self, function: Callable[[], Result], deadline: Deadline) -> Result:
        try:
            return self.call(function, seconds=deadline.left())
        except SourceFailedError as error:
            raise MachineError(f"preparing: {error}") from error

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(LeftOut(name=name, reason=reason))


def row_names(cache_name: str, *, has_gpu: bool) -> list[str]:
    """Names that rows of a cache may have."""
    rows = [
        *(f"{mode}{extra}" for mode in MODES for extra in ("", AUGMENTED)),
        DATALOADER,
        WEBDATASET,
        ZARR_PYTHON,
    ]
    return [*(f"{cache_name}, {row}" for row in rows), *(CACHE_ROWS.get(cache_name, ()) if has_gpu else ())]


def may_have_rows(cache_name: str, only: Sequence[str], *, has_gpu: bool = False) -> bool:
    """Whether `--only` may name a row of a cache."""
    return not only or any(matches(row, only) for row in row_names(cache_name, has_gpu=has_gpu))


def matches(name: str, only: Sequence[str]) -> bool:
    """Whether a row's name contains one of the patterns."""
    return any(fnmatch(name.lower(), f"*{pattern.lower()}*") for pattern in only)
