"""A run of `cache-bench`: prepare what is measured, measure it in rounds, report."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

from frame_cache_tools.bench_inputs import (
    CACHE_KINDS,
    MAX_FLAT_BYTES,
    NUM_COPIES,
    VIDEO_LAYOUT,
    BenchCache,
    BenchVideos,
    SampleSize,
    bench_config,
    build_bench_cache,
    link_copies,
    link_first_frames,
    look_at_cache,
    scan_videos,
    write_flat,
    write_sample_videos,
)
from frame_cache_tools.bench_machine import read_machine, read_versions
from frame_cache_tools.bench_process import measure_in_process
from frame_cache_tools.bench_report import BenchReport, break_even_rows, fastest_row, make_rows
from frame_cache_tools.bench_rounds import Rounds, run_rounds
from frame_cache_tools.bench_sources import Lookahead, usable_cpus
from frame_cache_tools.bench_subjects import (
    TAKE_LIMIT,
    BenchPlan,
    BenchSubject,
    cache_subjects,
    video_subjects,
)
from frame_cache_tools.usual_loader import USUAL_NUM_WORKERS

from cache_builder.config import BuildSettings
from cache_builder.errors import ConfigError
from cache_builder.interrupts import Terminated

_MODES = ("permutation", "iid", "shards m=8", "block k=4", "sequential")
_OTHERS = ("DataLoader, 2 workers", "webdataset, 2 workers", "zarr-python frames[ids]")


_SAMPLE = SampleSize(num_videos=8, num_frames=90, width=1920, height=1080)


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What the command was asked for.

    Raises:
        ConfigError: a number out of range.
    """

    videos: Path | None = None
    caches: tuple[Path, ...] = ()
    work: Path | None = None
    """Where videos and caches are made and kept; None for a temporary folder."""
    only: tuple[str, ...] = ()
    is_quick: bool = False
    num_rounds: int = 3
    seconds: float = 0.6
    seconds_per_subject: float = 45.0
    batch_size: int = 128
    num_copies: int = NUM_COPIES
    cache_frames: int = 2400
    usual_images: int = 60
    usual_workers: tuple[int, ...] = ()
    """Empty for ten, one a CPU and two a CPU."""
    lookahead_batches: int = 32
    lookahead_bytes: int = 2_500_000_000
    sample: SampleSize = _SAMPLE

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in (
            "num_rounds",
            "batch_size",
            "num_copies",
            "cache_frames",
            "usual_images",
            "lookahead_batches",
            "lookahead_bytes",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, found {getattr(self, name)}")
        for name in ("seconds", "seconds_per_subject"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be above 0, found {getattr(self, name)}")
        if any(number < 1 for number in self.usual_workers):
            raise ConfigError(f"usual_workers must be 1 or more each, found {self.usual_workers}")

    @property
    def plan(self) -> BenchPlan:
        """How much is measured of everything."""
        num_cpus = usable_cpus()
        workers = (
            (USUAL_NUM_WORKERS, num_cpus) if self.is_quick else (USUAL_NUM_WORKERS, num_cpus, 2 * num_cpus)
        )
        lookahead = Lookahead(batches=self.lookahead_batches, max_bytes=self.lookahead_bytes)
        return BenchPlan(
            batch_size=self.batch_size,
            seconds=self.seconds,
            usual_seconds=2 * self.seconds if self.is_quick else 5 * self.seconds,
            usual_images=self.usual_images,
            usual_workers=tuple(dict.fromkeys(self.usual_workers or workers)),
            num_cpus=num_cpus,
            lookahead=lookahead,
            augments_every_mode=not self.is_quick,
            every_mode_of=("wds jpeg 444",) if self.is_quick else None,
            other_loaders_of=("wds jpeg 444",) if self.is_quick else None,
        )


QUICK = {
    "is_quick": True,
    "seconds": 0.3,
    "seconds_per_subject": 3.0,
    "cache_frames": 1000,
    "usual_images": 20,
    "lookahead_batches": 4,
    "sample": SampleSize(num_videos=4, num_frames=60, width=640, height=360),
}
"""What `--quick` changes."""


def run_bench(settings: BenchSettings, *, command: Sequence[str], say: Callable[[str], None]) -> BenchReport:
    """Measure; Ctrl-C while measuring ends it early, with what there is.

    Raises:
        FrameCacheError: what the videos, the caches and their builds raise.
        ConfigError: `only` names no row; not enough disk.
        OSError: the machine failed.
        KeyboardInterrupt: before anything was measured; `Terminated` at any time.
    """
    with _work_folder(settings.work) as work:
        plan = settings.plan
        videos = _prepare_videos(settings, work, say)
        caches = _prepare_caches(settings, work, videos, say)
        flat = work / "flat.npy"
        subjects = list(cache_subjects(caches, plan, flat=flat))
        if videos is not None:
            geometry = bench_config(BuildSettings()).geometry
            subjects += video_subjects(videos, plan, geometry=geometry, scan_cache=work / "bench.scan")
        subjects = _selected(subjects, settings.only)
        if any(subject.name == TAKE_LIMIT for subject in subjects):
            _prepare_flat(flat, caches, say)
        rounds = Rounds()
        interrupted = False
        started = time.monotonic()

        def report_progress(number: int, subject: BenchSubject) -> None:
            say(
                f"round {number + 1} of {settings.num_rounds}, {time.monotonic() - started:.0f} s: {subject.name}"
            )

        try:
            run_rounds(
                subjects,
                lambda subject: measure_in_process(subject.source, subject.rule),
                num_rounds=settings.num_rounds,
                seconds_allowed=lambda subject: _seconds_allowed(subject, settings),
                into=rounds,
                clock=time.monotonic,
                say=report_progress,
            )
        except KeyboardInterrupt as stop:
            if isinstance(stop, Terminated) or not rounds.slices:
                raise
            interrupted = True
        usual_row = fastest_row(subjects, rounds, "usual loader")
        return BenchReport(
            command=tuple(command),
            date=datetime.now().astimezone().isoformat(timespec="seconds"),
            machine=read_machine(work),
            versions=read_versions(),
            batch_size=settings.batch_size,
            num_rounds=settings.num_rounds,
            interrupted=interrupted,
            videos=videos,
            caches=tuple(caches),
            usual_row=usual_row,
            rows=tuple(make_rows(subjects, rounds, usual_row=usual_row)),
            break_even=tuple(
                break_even_rows(
                    subjects,
                    rounds,
                    caches,
                    usual_row=usual_row,
                    num_frames=0 if videos is None else videos.num_frames,
                )
            ),
            notes=tuple(_notes(settings, videos, caches, rounds, interrupted=interrupted)),
        )


@contextmanager
def _work_folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="cache-bench-") as folder:
        yield Path(folder)


def _prepare_videos(settings: BenchSettings, work: Path, say: Callable[[str], None]) -> BenchVideos | None:
    if settings.videos is None and settings.caches:
        return None
    folder = settings.videos
    if folder is None:
        sample = settings.sample
        say(
            f"making {sample.num_videos} sample videos of {sample.num_frames} frames, "
            f"{sample.width}x{sample.height}"
        )
        folder = work / f"sample_videos_{sample.width}x{sample.height}_{sample.num_frames}"
        write_sample_videos(folder, sample)
    folder = link_copies(folder.absolute(), work / "copies", at_least=settings.num_copies)
    say(f"scanning {folder}")
    return scan_videos(folder, scan_cache=work / "bench.scan", clock=time.monotonic)


def _prepare_caches(
    settings: BenchSettings, work: Path, videos: BenchVideos | None, say: Callable[[str], None]
) -> list[BenchCache]:
    if settings.caches:
        caches = [look_at_cache(path) for path in settings.caches]
        if len({cache.name for cache in caches}) < len(caches):
            caches = [look_at_cache(path, name=str(path)) for path in settings.caches]
        return caches
    assert videos is not None  # without caches there are videos
    kinds = CACHE_KINDS if settings.is_quick else CACHE_KINDS | VIDEO_LAYOUT
    wanted = {name: kind for name, kind in kinds.items() if _may_have_rows(name, settings.only)}
    if not wanted:
        return []
    folder = link_first_frames(videos, work / "cached_videos", num_frames=settings.cache_frames)
    caches = []
    for name, kind in wanted.items():
        say(f"building cache {name}")
        caches.append(build_bench_cache(folder, work / f"cache_{name.replace(' ', '_')}", name, kind))
    return caches


def _may_have_rows(cache_name: str, only: Sequence[str]) -> bool:
    rows = [f"{cache_name}, {mode}{extra}" for mode in _MODES for extra in ("", " + augmentation")]
    rows += [f"{cache_name}, {other}" for other in _OTHERS]
    return not only or any(_matches(row, only) for row in rows)


def _prepare_flat(flat: Path, caches: Sequence[BenchCache], say: Callable[[str], None]) -> None:
    free = shutil.disk_usage(flat.parent).free
    if free < 1.1 * MAX_FLAT_BYTES:  # a full disk would kill who writes to a memory map
        raise ConfigError(
            f"{flat.parent}: {free / 1e9:.1f} GB free, {1.1 * MAX_FLAT_BYTES / 1e9:.1f} GB needed; "
            "give --work DIR on another disk"
        )
    say("writing raw frames for the limit of memory")
    write_flat(next(cache.path for cache in caches if "raw" in cache.name), flat)


def _selected(subjects: Sequence[BenchSubject], only: Sequence[str]) -> list[BenchSubject]:
    """Rows whose name matches, with the limits they are compared with."""
    if not only:
        return list(subjects)
    chosen = [subject for subject in subjects if _matches(subject.name, only)]
    if not chosen:
        names = ", ".join(repr(subject.name) for subject in subjects)
        raise ConfigError(f"--only {' '.join(only)} names no row; rows here: {names}")
    limits = {subject.limit for subject in chosen}
    return [subject for subject in subjects if subject in chosen or subject.name in limits]


def _matches(name: str, only: Sequence[str]) -> bool:
    return any(fnmatch(name.lower(), f"*{pattern.lower()}*") for pattern in only)


def _notes(
    settings: BenchSettings,
    videos: BenchVideos | None,
    caches: Sequence[BenchCache],
    rounds: Rounds,
    *,
    interrupted: bool,
) -> list[str]:
    notes = [
        "x usual and of limit: medians of the ratios inside each round. peak MB: RssAnon + RssShmem, workers "
        "included, over the interpreter with torch. eff. batch: independent frames a batch is worth (cache-bias).",
        "usual loader: images counted as the workers finish them, in steady state. ~: computed, since each of W "
        "workers makes a batch of its own, and the first is whole when W are nearly done.",
    ]
    if caches:
        smallest = min(cache.num_frames for cache in caches)
        notes.append(
            "cached rows: the wait for each epoch's first batch counts, and an epoch of the smallest cache here is "
            f"only {-(-smallest // settings.batch_size)} batches; with more --cache-frames it weighs less."
        )
    if videos is None:
        notes.append(
            "neither the usual loader nor live rows: give --videos DIR, or no --cache, to compare with them"
        )
    elif videos.why_unservable is not None:
        notes.append(
            f"the usual loader cannot serve {len(videos.paths) - len(videos.servable)} of the videos, "
            f"for example {videos.why_unservable}"
        )
    few = [name for name, pieces in rounds.slices.items() if len(pieces) < settings.num_rounds]
    if few and not interrupted:
        notes.append(
            f"fewer rounds than {settings.num_rounds}, after {settings.seconds_per_subject:g} s each: {'; '.join(few)}"
        )
    return notes


def _seconds_allowed(subject: BenchSubject, settings: BenchSettings) -> float:
    """Without end where a slice is short by construction: a stall of the machine must not cost the other rounds."""
    return float("inf") if subject.group in {"cached", "limits"} else settings.seconds_per_subject


def command_line() -> tuple[str, ...]:
    """As it was typed, less the folder of the program."""
    return (os.path.basename(sys.argv[0]), *sys.argv[1:])  # noqa: PTH119 - a name, perhaps of no file
