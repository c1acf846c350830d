"""The rows of `cache-bench`: usual loader, live, cached, other loaders, limits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from frame_cache_tools.bench.cases.limits import DecodeLimit, SequentialDecodeLimit, TakeLimit
from frame_cache_tools.bench.cases.sources import (
    CachedFrames,
    DataLoaderSource,
    LiveFrames,
    LoaderSource,
    Lookahead,
    UsualLoaderSource,
    WebDatasetSource,
    ZarrPythonSource,
)
from frame_cache_tools.bench.inputs import BenchCache, BenchVideos
from frame_cache_tools.bench.measure import ImageSource, SliceRule
from frame_cache_tools.bench.usual_loader import USUAL_NUM_WORKERS
from frame_cache_tools.bias import BiasSubject, BiasTable, largest_divisor, subject_of_cache

from cache_builder.video.picture import FrameGeometry
from frame_store import open_store
from loader import SamplingError, SamplingSpec
from loader.bias.webdataset import WebDatasetSpec

Group = Literal["usual loader", "live", "cached", "other loaders", "GPU", "limits"]

TAKE_LIMIT = "np.take, 1 thread"
SEQUENTIAL_LIMIT = "sequential decode of the videos"
MOST, MORE, LESS = 0, 1, 2
_SLOW_SECONDS = 8.0
_LOOKAHEAD_SECONDS = 20.0
_OTHERS_WORKERS = 2
_SHUFFLE_BUFFER = 1000


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """How much is measured of everything, and how long."""

    batch_size: int = 128
    seconds: float = 0.6
    """A slice of a fast case."""
    usual_seconds: float = 3.0
    usual_images: int = 60
    usual_workers: tuple[int, ...] = (USUAL_NUM_WORKERS,)
    """Numbers of workers that the usual loader is tried with."""
    num_cpus: int = 1
    lookahead: Lookahead
    every_mode_of: tuple[str, ...] | None = None
    """Names of the caches measured in every sampling mode and augmented; None for all. The others are measured by
    `permutation` alone, as they are."""
    augments_every_mode: bool = True
    """Otherwise `permutation` alone is measured augmented, too."""
    other_loaders_of: tuple[str, ...] | None = None
    """Names of the caches that other loaders are measured on; None for all."""
    tells_effective_batch: bool = True
    """Otherwise no row says it: frames of each cache are looked at for it."""


@dataclass(frozen=True, kw_only=True)
class BenchCase:
    """One row: what is measured, how, and what it is compared with."""

    name: str
    group: Group
    source: ImageSource
    rule: SliceRule
    limit: str | None = None
    """Name of the row that limits this one."""
    cache: str | None = None
    sampling: str | None = None
    augmented: bool = False
    effective_batch: float | None = None
    """Independent frames that a batch is worth, as `cache-bias` reports it; None where it is not known."""
    images_to_first_batch: int | None = None
    """Usual loader: images that are made before the first batch is whole, a batch of each worker."""
    priority: int = LESS
    """Where time is short: `MOST` for what every comparison needs, then `MORE`, then `LESS`."""
    seconds_expected: float = 3.0
    """Of a slice with all around it, on a slow machine."""


def video_cases(
    videos: BenchVideos,
    plan: BenchPlan,
    *,
    geometry: FrameGeometry,
    scan_cache: Path,
    with_usual: bool = True,
) -> list[BenchCase]:
    """Usual loader, live store and sequential decoding over a folder of videos."""
    return [
        *(_usual_cases(videos, plan) if with_usual else ()),
        *_live_cases(videos, plan, geometry=geometry, scan_cache=scan_cache),
        BenchCase(
            name=SEQUENTIAL_LIMIT,
            group="limits",
            source=SequentialDecodeLimit(paths=videos.paths, geometry=geometry, num_threads=plan.num_cpus),
            rule=SliceRule(seconds=2 * plan.seconds, images=100),
            priority=MOST,
        ),
    ]


def cache_cases(caches: Sequence[BenchCache], plan: BenchPlan, *, flat: Path) -> list[BenchCase]:
    """Every cache by every sampling mode it allows, and the limits of its encoding.

    `flat` is where the raw frames for the limit of memory lie, or will lie.
    """
    cases: list[BenchCase] = []
    limits: dict[str, BenchCase] = {}
    for cache in caches:
        encoding = open_store(cache.path).manifest.encoding
        if encoding.name == "raw":
            limit = TAKE_LIMIT
            source: ImageSource = TakeLimit(flat=flat, batch_size=plan.batch_size)
        else:
            bare = "simplejpeg" if encoding.name == "jpeg" else "zstd"
            limit = " ".join(filter(None, ("bare", bare, encoding.chroma))) + ", all CPUs"
            source = DecodeLimit(path=cache.path, num_threads=plan.num_cpus)
        is_first = cache is caches[0]
        limits.setdefault(
            limit,
            BenchCase(
                name=limit,
                group="limits",
                source=source,
                rule=_fast_rule(plan),
                priority=MOST if is_first else MORE,
            ),
        )
        cases += _loader_cases(cache, plan, limit=limit, priority=MOST if is_first else MORE)
    return [*cases, *_other_loaders(caches, plan, list(cases)), *limits.values()]


def _fast_rule(plan: BenchPlan) -> SliceRule:
    return SliceRule(seconds=plan.seconds, warm_seconds=0.2)


def _usual_cases(videos: BenchVideos, plan: BenchPlan) -> Iterator[BenchCase]:
    if not videos.servable:
        return
    rule = SliceRule(seconds=plan.usual_seconds, images=plan.usual_images)
    first, many = videos.servable[:1], videos.servable
    sizes = dict(zip(videos.paths, videos.frames_of_path, strict=True))
    main_workers = plan.num_cpus if plan.num_cpus in plan.usual_workers else plan.usual_workers[0]
    for paths, what in ((first, "1 video"), (many, f"{len(many)} videos")):
        if paths is many and len(many) == 1:
            return
        others = MORE if len(paths) == len(many) else LESS
        worth = _effective_batch(
            _sizes_alone([sizes[path] for path in paths]), SamplingSpec(), batch_size=plan.batch_size
        )
        for num_workers in plan.usual_workers:
            yield BenchCase(
                name=f"usual loader, {what}, {num_workers} workers",
                group="usual loader",
                source=UsualLoaderSource(paths=paths, num_workers=num_workers, batch_size=plan.batch_size),
                rule=rule,
                limit=SEQUENTIAL_LIMIT,
                sampling=str(SamplingSpec()),
                augmented=True,
                effective_batch=worth,
                images_to_first_batch=num_workers * plan.batch_size,
                priority=MOST if num_workers == main_workers and others == MORE else others,
                seconds_expected=_SLOW_SECONDS,
            )


def _live_cases(
    videos: BenchVideos, plan: BenchPlan, *, geometry: FrameGeometry, scan_cache: Path
) -> Iterator[BenchCase]:
    store = LiveFrames(folder=videos.folder, geometry=geometry, scan_cache=scan_cache)
    sizes = _sizes_alone(list(videos.frames_of_path))
    # Batches are made by as many threads as there are CPUs and come in bursts of as many.
    rule = SliceRule(
        seconds=plan.seconds, images=plan.batch_size * plan.num_cpus, batch_multiple=plan.num_cpus
    )
    window = SliceRule(  # one whole window, once the first is through
        seconds=plan.seconds,
        images=plan.batch_size * plan.lookahead.batches,
        warm_batches=plan.lookahead.batches,
        batch_multiple=plan.lookahead.batches,
    )
    name = f"live, permutation, look-ahead {plan.lookahead.batches} batches"
    rows = [
        ("live, permutation", SamplingSpec(), None, rule, MOST),
        (name, SamplingSpec(), plan.lookahead, window, MORE),
        ("live, sequential", SamplingSpec(sampling="sequential"), None, rule, LESS),
    ]
    for name, sampling, lookahead, row_rule, priority in rows:
        yield BenchCase(
            name=name,
            group="live",
            source=LoaderSource(
                store=store, sampling=sampling, batch_size=plan.batch_size, lookahead=lookahead
            ),
            rule=row_rule,
            limit=SEQUENTIAL_LIMIT,
            sampling=str(sampling),
            effective_batch=_effective_batch(sizes, sampling, batch_size=plan.batch_size),
            priority=priority,
            seconds_expected=_SLOW_SECONDS if lookahead is None else _LOOKAHEAD_SECONDS,
        )


def _loader_cases(cache: BenchCache, plan: BenchPlan, *, limit: str, priority: int) -> Iterator[BenchCase]:
    bias = subject_of_cache(cache.path)
    every_mode = plan.every_mode_of is None or cache.name in plan.every_mode_of
    table = BiasTable(bias, batch_size=plan.batch_size)
    modes = sampling_modes(bias.shard_sizes, batch_size=plan.batch_size)
    for spec in modes if every_mode else modes[:1]:
        try:
            worth = table.report(spec).effective_batch if plan.tells_effective_batch else None
        except SamplingError:  # what the loader refuses of this cache as well
            continue
        augments = every_mode and (plan.augments_every_mode or spec == modes[0])
        for augmented in (False, True) if augments else (False,):
            yield BenchCase(
                name=f"{cache.name}, {_mode_text(spec)}{' + augmentation' if augmented else ''}",
                group="cached",
                source=LoaderSource(
                    store=CachedFrames(path=cache.path),
                    sampling=spec,
                    batch_size=plan.batch_size,
                    augmented=augmented,
                ),
                rule=_fast_rule(plan),
                limit=limit,
                cache=cache.name,
                sampling=str(spec),
                augmented=augmented,
                effective_batch=worth,
                priority=_priority_of_mode(priority, is_first_mode=spec == modes[0], augmented=augmented),
            )
    if bias.store is not None:
        bias.store.close()


def _priority_of_mode(priority: int, *, is_first_mode: bool, augmented: bool) -> int:
    """`permutation` as the cache has it; augmented, as the usual loader is, one less; the other modes last."""
    if not is_first_mode:
        return LESS
    return min(LESS, priority + augmented)


def sampling_modes(shard_sizes: npt.NDArray[np.int64], *, batch_size: int) -> list[SamplingSpec]:
    """Every sampling mode, in the form that the shards allow."""
    sizes = shard_sizes[shard_sizes > 0]
    modes = [SamplingSpec(sampling="permutation"), SamplingSpec(sampling="iid")]
    frames_per_visit = largest_divisor(batch_size, at_most=min(8, int(sizes.min())))
    modes.append(SamplingSpec(sampling="shards", frames_per_visit=frames_per_visit))
    modes.append(SamplingSpec(sampling="block", shards_per_block=min(4, len(sizes))))
    return [*modes, SamplingSpec(sampling="sequential")]


def _mode_text(spec: SamplingSpec) -> str:
    """`shards m=8`, `block k=4`, or the mode alone.

    >>> _mode_text(SamplingSpec(sampling="shards", frames_per_visit=8))
    'shards m=8'
    """
    if spec.sampling == "shards":
        return f"shards m={spec.frames_per_visit}"
    if spec.sampling == "block":
        return f"block k={spec.shards_per_block}"
    return spec.sampling


def _other_loaders(
    caches: Sequence[BenchCache], plan: BenchPlan, cases: Sequence[BenchCase]
) -> Iterator[BenchCase]:
    """What else reads the same caches: torch's DataLoader, plain webdataset, zarr-python."""
    size = plan.batch_size
    limits = {case.cache: case.limit for case in cases}
    worth = {case.cache: case.effective_batch for case in cases if case.sampling == str(SamplingSpec())}
    rule = SliceRule(seconds=2 * plan.seconds, warm_seconds=0.5)  # workers fill their queues first
    for cache in caches:
        if plan.other_loaders_of is not None and cache.name not in plan.other_loaders_of:
            continue
        manifest = open_store(cache.path).manifest
        rows: list[tuple[str, ImageSource, SliceRule, float | None]] = [
            (
                f"DataLoader, {_OTHERS_WORKERS} workers",
                DataLoaderSource(path=cache.path, batch_size=size, num_workers=_OTHERS_WORKERS),
                rule,
                worth.get(cache.name),
            )
        ]
        if manifest.container == "wds":
            spec = WebDatasetSpec(shuffle_buffer=_SHUFFLE_BUFFER, num_workers=_OTHERS_WORKERS)
            rows.append(
                (
                    f"webdataset, {_OTHERS_WORKERS} workers",
                    WebDatasetSource(
                        path=cache.path,
                        batch_size=size,
                        num_workers=_OTHERS_WORKERS,
                        shuffle_buffer=_SHUFFLE_BUFFER,
                    ),
                    rule,
                    _effective_batch(subject_of_cache(cache.path), spec, batch_size=size)
                    if plan.tells_effective_batch
                    else None,
                )
            )
        else:
            zarr = ZarrPythonSource(path=cache.path, batch_size=size)
            rows.append(
                ("zarr-python frames[ids]", zarr, SliceRule(seconds=plan.seconds), worth.get(cache.name))
            )
        for what, source, row_rule, effective in rows:
            yield BenchCase(
                name=f"{cache.name}, {what}",
                group="other loaders",
                source=source,
                rule=row_rule,
                limit=limits.get(cache.name),
                cache=cache.name,
                effective_batch=effective,
            )


def _effective_batch(
    case: BiasSubject, spec: SamplingSpec | WebDatasetSpec, *, batch_size: int
) -> float | None:
    try:
        return BiasTable(case, batch_size=batch_size).report(spec).effective_batch
    except SamplingError:
        return None


def _sizes_alone(sizes: list[int]) -> BiasSubject:
    """Videos as shards in time order, with no pixels at hand to say how alike they are."""
    array = np.array(sizes, np.int64)
    return BiasSubject(name="videos", layout="video", shard_sizes=array, video_sizes=array, store=None)
