"""The rows of `cache-bench` without a GPU: usual loader, live, cached, other loaders, limits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from frame_cache_tools.bench.measure import LESS, MORE, MOST, BenchCase, ImageSource, SliceRule
from frame_cache_tools.bench.usual_loader import USUAL_NUM_WORKERS
from frame_cache_tools.bias import BiasCase, BiasTable, case_of_cache, largest_divisor

from cache_builder.video.picture import FrameGeometry
from frame_store import open_store
from loader import SamplingError, SamplingSpec
from loader.bias.webdataset import WebDatasetSpec

TAKE_LIMIT = "np.take, 1 thread"
SEQUENTIAL_LIMIT = "sequential decode of the videos"
AUGMENTED = " + augmentation"
MODES = ("permutation", "stratified", "iid", "shards m=8", "block k=4", "sequential")
"""Names of the sampling modes where shards and batches are large enough for the usual m and k."""
_OTHERS_WORKERS = 2
DATALOADER = f"DataLoader, {_OTHERS_WORKERS} workers"
WEBDATASET = f"webdataset, {_OTHERS_WORKERS} workers"
ZARR_PYTHON = "zarr-python frames[ids]"
_PERMUTATION = SamplingSpec()
_SLOW_SECONDS = 8.0
_LOOKAHEAD_SECONDS = 20.0
_SHUFFLE_BUFFER = 1000


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """How much of everything is measured, and for how long."""

    batch_size: int = 128
    seconds: float = 0.6
    """Length of a slice of a fast row."""
    usual_seconds: float = 3.0
    usual_images: int = 60
    usual_workers: tuple[int, ...] = (USUAL_NUM_WORKERS,)
    """Each of these numbers of workers is a row of the usual loader."""
    num_cpus: int = 1
    lookahead: Lookahead
    main_caches: tuple[str, ...] | None = None
    """Names of the caches that get every sampling mode, other loaders, and `permutation` with augmentation. The other
    caches get `permutation` alone. None: every cache gets all of these, and every mode with augmentation too."""
    with_effective_batch: bool = True
    """Whether rows state the effective batch, for which frames of each cache are compared."""

    def is_main(self, cache: BenchCache) -> bool:
        """Whether a cache gets all rows."""
        return self.main_caches is None or cache.name in self.main_caches


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
    """Every cache by every sampling mode it allows, other loaders on it, and the limits of its encoding.

    `flat` is the path of the raw frames for the limit of memory, whether they are written yet or not.
    """
    ours: list[BenchCase] = []
    others: list[BenchCase] = []
    limits: dict[str, BenchCase] = {}
    for cache in caches:
        priority = MOST if cache is caches[0] else MORE
        limit = _limit_of(cache, plan, flat=flat, priority=priority)
        limits.setdefault(limit.name, limit)
        rows = list(_loader_cases(cache, plan, limit=limit.name, priority=priority))
        ours += rows
        if plan.is_main(cache):
            by_permutation = [row.effective_batch for row in rows if row.sampling == str(_PERMUTATION)]
            others += _other_loaders(
                cache, plan, limit=limit.name, effective_batch=(*by_permutation, None)[0]
            )
    return [*ours, *others, *limits.values()]


def _limit_of(cache: BenchCache, plan: BenchPlan, *, flat: Path, priority: int) -> BenchCase:
    encoding = open_store(cache.path).common.encoding
    if encoding.name == "raw":
        name = TAKE_LIMIT
        source: ImageSource = TakeLimit(flat=flat, batch_size=plan.batch_size)
    else:
        bare = "simplejpeg" if encoding.name == "jpeg" else "zstd"
        name = " ".join(filter(None, ("bare", bare, encoding.chroma))) + ", all CPUs"
        source = DecodeLimit(path=cache.path, num_threads=plan.num_cpus)
    return BenchCase(name=name, group="limits", source=source, rule=_fast_rule(plan), priority=priority)


def _fast_rule(plan: BenchPlan) -> SliceRule:
    return SliceRule(seconds=plan.seconds, warm_seconds=0.2)


def _usual_cases(videos: BenchVideos, plan: BenchPlan) -> Iterator[BenchCase]:
    servable = videos.servable
    sizes = dict(zip(videos.paths, videos.frames_of_path, strict=True))
    main_workers = plan.num_cpus if plan.num_cpus in plan.usual_workers else plan.usual_workers[0]
    for num_videos in sorted({min(1, len(servable)), len(servable)} - {0}):
        paths = servable[:num_videos]
        priority = MORE if num_videos == len(servable) else LESS
        effective_batch = _effective_batch(
            _videos_without_pixels([sizes[path] for path in paths]), _PERMUTATION, plan
        )
        for num_workers in plan.usual_workers:
            yield BenchCase(
                name=f"usual loader, {num_videos} video{'s' * (num_videos > 1)}, {num_workers} workers",
                group="usual loader",
                source=UsualLoaderSource(paths=paths, num_workers=num_workers, batch_size=plan.batch_size),
                rule=SliceRule(seconds=plan.usual_seconds, images=plan.usual_images),
                limit=SEQUENTIAL_LIMIT,
                sampling=str(_PERMUTATION),
                augmented=True,
                effective_batch=effective_batch,
                images_to_first_batch=num_workers * plan.batch_size,
                priority=MOST if num_workers == main_workers and priority == MORE else priority,
                seconds_expected=_SLOW_SECONDS,
            )


def _live_cases(
    videos: BenchVideos, plan: BenchPlan, *, geometry: FrameGeometry, scan_cache: Path
) -> Iterator[BenchCase]:
    store = LiveFrames(folder=videos.folder, geometry=geometry, scan_cache=scan_cache)
    bias = _videos_without_pixels(list(videos.frames_of_path))
    # One thread for each CPU makes a batch, so batches arrive in bursts of that size.
    rule = SliceRule(
        seconds=plan.seconds, images=plan.batch_size * plan.num_cpus, batch_multiple=plan.num_cpus
    )
    ahead = plan.lookahead.batches
    window = SliceRule(  # one whole window, after the first one
        seconds=plan.seconds, images=plan.batch_size * ahead, warm_batches=ahead, batch_multiple=ahead
    )
    rows = [
        ("live, permutation", _PERMUTATION, None, rule, MOST),
        (f"live, permutation, look-ahead {ahead} batches", _PERMUTATION, plan.lookahead, window, MORE),
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
            effective_batch=_effective_batch(bias, sampling, plan),
            priority=priority,
            seconds_expected=_SLOW_SECONDS if lookahead is None else _LOOKAHEAD_SECONDS,
        )


def _loader_cases(cache: BenchCache, plan: BenchPlan, *, limit: str, priority: int) -> Iterator[BenchCase]:
    bias = case_of_cache(cache.path)
    table = BiasTable(bias, batch_size=plan.batch_size)
    modes = sampling_modes(bias.shard_sizes, batch_size=plan.batch_size)
    for spec in modes if plan.is_main(cache) else modes[:1]:
        try:
            effective_batch = _worth(table, spec) if plan.with_effective_batch else None
        except SamplingError:  # the loader refuses this mode for this cache, too
            continue
        is_first = spec == modes[0]
        augments = plan.main_caches is None or (plan.is_main(cache) and is_first)
        for augmented in (False, True) if augments else (False,):
            yield BenchCase(
                name=f"{cache.name}, {_mode_text(spec)}{AUGMENTED if augmented else ''}",
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
                effective_batch=effective_batch,
                # `permutation` first; with augmentation, as the usual loader works, second; other modes last.
                priority=min(LESS, priority + augmented) if is_first else LESS,
            )
    if bias.store is not None:
        bias.store.close()


def sampling_modes(shard_sizes: npt.NDArray[np.int64], *, batch_size: int) -> list[SamplingSpec]:
    """Every sampling mode, in the form that the shards allow; `permutation` first."""
    sizes = shard_sizes[shard_sizes > 0]
    frames_per_visit = largest_divisor(batch_size, at_most=min(8, int(sizes.min())))
    return [
        _PERMUTATION,
        SamplingSpec(sampling="stratified"),
        SamplingSpec(sampling="iid"),
        SamplingSpec(sampling="shards", frames_per_visit=frames_per_visit),
        SamplingSpec(sampling="block", shards_per_block=min(4, len(sizes))),
        SamplingSpec(sampling="sequential"),
    ]


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
    cache: BenchCache, plan: BenchPlan, *, limit: str, effective_batch: float | None
) -> Iterator[BenchCase]:
    """Other readers of the same cache: torch's DataLoader, plain webdataset, zarr-python.

    `effective_batch` is that of a permutation.
    """
    size = plan.batch_size
    rule = SliceRule(seconds=2 * plan.seconds, warm_seconds=0.5)  # workers fill their queues first
    loader = DataLoaderSource(path=cache.path, batch_size=size, num_workers=_OTHERS_WORKERS)
    rows: list[tuple[str, ImageSource, SliceRule, float | None]] = [
        (DATALOADER, loader, rule, effective_batch)
    ]
    if open_store(cache.path).common.container == "wds":
        spec = WebDatasetSpec(shuffle_buffer=_SHUFFLE_BUFFER, num_workers=_OTHERS_WORKERS)
        stream = WebDatasetSource(
            path=cache.path, batch_size=size, num_workers=_OTHERS_WORKERS, shuffle_buffer=_SHUFFLE_BUFFER
        )
        of_stream = (
            _effective_batch(case_of_cache(cache.path), spec, plan) if plan.with_effective_batch else None
        )
        rows.append((WEBDATASET, stream, rule, of_stream))
    else:
        array = ZarrPythonSource(path=cache.path, batch_size=size)
        rows.append((ZARR_PYTHON, array, SliceRule(seconds=plan.seconds), effective_batch))
    for what, source, row_rule, effective in rows:
        yield BenchCase(
            name=f"{cache.name}, {what}",
            group="other loaders",
            source=source,
            rule=row_rule,
            limit=limit,
            cache=cache.name,
            effective_batch=effective,
        )


def _effective_batch(bias: BiasCase, spec: SamplingSpec | WebDatasetSpec, plan: BenchPlan) -> float | None:
    try:
        return _worth(BiasTable(bias, batch_size=plan.batch_size), spec)
    except SamplingError:
        return None


def _worth(table: BiasTable, spec: SamplingSpec | WebDatasetSpec) -> float | None:
    """The effective batch of a sampler, without figures over many steps."""
    return table.report(spec, with_long_run=False).effective_batch


def _videos_without_pixels(sizes: list[int]) -> BiasCase:
    """Videos as shards in time order. Without pixels, the likeness of their frames is not known."""
    array = np.array(sizes, np.int64)
    return BiasCase(name="videos", layout="video", shard_sizes=array, video_sizes=array, store=None)
