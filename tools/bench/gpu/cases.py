"""The GPU rows of `cache-bench`: live and cached frames to the GPU, what limits them, builds, and a network fed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from frame_cache_tools.bench.cases import LESS, MORE, MOST, BenchCase, BenchPlan, CachedFrames, LiveFrames
from frame_cache_tools.bench.gpu.machine import why_no_gpu
from frame_cache_tools.bench.gpu.model import Resident, TrainingSource
from frame_cache_tools.bench.gpu.sources import (
    BuildSource,
    CopyLimit,
    Feed,
    GpuBatchesSource,
    GpuDevice,
    JpegLimit,
    LiveInOrderSource,
    NvdecSource,
)
from frame_cache_tools.bench.inputs import BenchCache, BenchVideos, link_first_frames
from frame_cache_tools.bench.measure import ImageSource, SliceRule, SourceFailedError, TimeUpError
from frame_cache_tools.bench.prepare import Call

from cache_builder.gpu import NvdecDevice
from cache_builder.video.picture import FrameGeometry
from frame_store import open_store
from frame_store.shared import CUDA_LIBRARY, load_library
from loader import SamplingSpec

TO_GPU, ON_GPU = "to the GPU", "decoded by the GPU"
PINNED, PAGEABLE = "pinned copy to the GPU", "pageable copy to the GPU"
BARE_JPEG = "bare JPEG decoder on the GPU"
RESIDENT = "GPU: ResNet-18, batches that lie there"
LIVE_IN_ORDER = "GPU: live NVDEC in order, {} threads"
DECODE = "GPU: NVDEC decodes alone, {} threads"
LIVE_NVDEC, LIVE_CPU = "GPU: live NVDEC, permutation", "GPU: live CPU, permutation, uploaded"
NUM_THREADS = (1, 4, 7, 14)
"""An H100 has 7 engines that decode video."""

_STREAMS = 16
_MOST_LIVE_BATCH = 32
"""Each random live frame takes the decoding of a GOP, and a slice is to hold some batches."""
_WATCHED_SECONDS = 3.0
"""nvidia-smi reads how busy an engine is over about a second."""


def why_no_gpu_rows(call: Call, *, seconds: float) -> str | None:
    """Why there are none here; None where there are. Without a driver no process is started to ask."""
    if load_library(CUDA_LIBRARY) is None:
        return why_no_gpu()
    try:
        return call(partial(why_no_gpu), seconds=seconds)
    except (SourceFailedError, TimeUpError) as error:
        return f"asking for the GPU: {error}"


def gpu_cases(
    videos: BenchVideos | None,
    caches: Sequence[BenchCache],
    plan: BenchPlan,
    *,
    geometry: FrameGeometry,
    work: Path,
    device: GpuDevice = "cuda",
) -> list[BenchCase]:
    """All of them; `work` is where links to a few of the videos are made."""
    rows = _GpuRows(plan=plan, geometry=geometry, work=work, device=device)
    first = {kind: next((c for c in caches if _encoding(c) == kind), None) for kind in ("raw", "jpeg")}
    return [
        *(rows.of_videos(videos) if videos is not None else ()),
        *(rows.of_raw(first["raw"]) if first["raw"] is not None else ()),
        *(rows.of_jpeg(first["jpeg"]) if first["jpeg"] is not None else ()),
        *rows.of_noise(),
    ]


def _encoding(cache: BenchCache) -> str:
    return open_store(cache.path).manifest.encoding.name


@dataclass(frozen=True, kw_only=True)
class _GpuRows:
    plan: BenchPlan
    geometry: FrameGeometry
    work: Path
    device: GpuDevice

    def of_videos(self, videos: BenchVideos) -> Iterator[BenchCase]:
        plan, seconds = self.plan, 2 * self.plan.seconds
        folder = link_first_frames(
            videos, self.work / "gpu_videos", num_frames=sum(videos.frames_of_path[:_STREAMS])
        )
        on_cpu, on_gpu = (
            LiveFrames(
                folder=folder,
                geometry=self.geometry,
                scan_cache=self.work / "gpu.scan",
                device=device,
            )
            for device in ("cpu", self.device)
        )
        for number in NUM_THREADS:
            is_main = number == 7
            decode = NvdecSource(
                paths=videos.paths[:_STREAMS],
                num_threads=number,
                nvdec=NvdecDevice() if self.device == "cuda" else None,
                watched="decoder" if is_main else None,
            )
            rule = SliceRule(seconds=max(seconds, _WATCHED_SECONDS) if is_main else seconds, warm_seconds=0.2)
            priority = MOST if is_main else MORE
            yield self._row(DECODE.format(number), decode, rule, priority=priority)
            yield self._row(
                LIVE_IN_ORDER.format(number),
                LiveInOrderSource(store=on_gpu, num_threads=number),
                SliceRule(seconds=seconds, warm_seconds=0.2),
                limit=DECODE.format(number),
                priority=priority,
            )
        size = min(_MOST_LIVE_BATCH, plan.batch_size)
        for name, store in ((LIVE_NVDEC, on_gpu), (LIVE_CPU, on_cpu)):
            feed = Feed(store=store, batch_size=size, device=self.device)
            yield self._batches(name, feed, seconds=seconds, priority=MORE, sampling=str(SamplingSpec()))
        feed = Feed(store=on_gpu, batch_size=size, augmented=True, device=self.device)
        yield self._training("GPU: ResNet-18, live NVDEC", feed, priority=LESS)
        cached = self.work / "cached_videos"
        for device in dict.fromkeys((self.device, "cpu")):
            yield self._row(
                f"GPU: cache-build --device {device}",
                BuildSource(videos=link_first_frames(videos, cached, num_frames=1200), device=device),
                SliceRule(seconds=0.0),
                priority=MORE,
                seconds_expected=20.0,
            )

    def of_raw(self, cache: BenchCache) -> Iterator[BenchCase]:
        feed = self._feed(cache)
        yield self._batches(f"{cache.name}, {TO_GPU}", feed, cache=cache, limit=PINNED, priority=MOST)
        floats = self._feed(cache, floats_on_host=True)
        yield self._batches(f"{cache.name}, floats {TO_GPU}", floats, cache=cache, limit=PAGEABLE)
        yield self._training(
            f"GPU: ResNet-18, {cache.name}", self._feed(cache, augmented=True), priority=MOST
        )

    def of_jpeg(self, cache: BenchCache) -> Iterator[BenchCase]:
        yield self._batches(f"{cache.name}, {TO_GPU}", self._feed(cache), cache=cache, priority=MORE)
        yield self._training(
            f"GPU: ResNet-18, {cache.name}", self._feed(cache, augmented=True), priority=MORE
        )
        if self.device == "cpu":
            return
        feed = self._feed(cache, jpeg_decode="gpu")
        name = f"{cache.name}, {ON_GPU}"
        yield self._batches(name, feed, cache=cache, limit=BARE_JPEG, priority=MORE)
        feed = self._feed(cache, jpeg_decode="gpu", augmented=True)
        yield self._training(f"GPU: ResNet-18, {name}", feed, priority=MORE)
        yield self._row(
            BARE_JPEG,
            JpegLimit(path=cache.path, batch_size=self.plan.batch_size),
            SliceRule(seconds=_WATCHED_SECONDS),
            is_limit=True,
        )

    def of_noise(self) -> Iterator[BenchCase]:
        size, device = self.plan.batch_size, self.device
        rule = SliceRule(seconds=self.plan.seconds, warm_seconds=0.2)
        for name, is_pinned in ((PINNED, True), (PAGEABLE, False)):
            source = CopyLimit(batch_size=size, is_pinned=is_pinned, device=device)
            yield self._row(name, source, rule, is_limit=True, priority=MOST if is_pinned else LESS)
        yield self._training(RESIDENT, Resident(batch_size=size, device=device), priority=MOST, limit=None)
        augmented = Resident(batch_size=size, augmented=True, device=device)
        yield self._training(f"{RESIDENT}, augmented", augmented, priority=LESS)

    def _feed(
        self,
        cache: BenchCache,
        *,
        floats_on_host: bool = False,
        augmented: bool = False,
        jpeg_decode: Literal["cpu", "gpu"] = "cpu",
    ) -> Feed:
        return Feed(
            store=CachedFrames(path=cache.path),
            batch_size=self.plan.batch_size,
            floats_on_host=floats_on_host,
            augmented=augmented,
            jpeg_decode=jpeg_decode,
            device=self.device,
        )

    def _batches(
        self,
        name: str,
        feed: Feed,
        *,
        seconds: float | None = None,
        cache: BenchCache | None = None,
        sampling: str | None = None,
        limit: str | None = None,
        priority: int = LESS,
    ) -> BenchCase:
        rule = SliceRule(seconds=seconds or self.plan.seconds, warm_batches=self._num_read_ahead)
        return self._row(
            name,
            GpuBatchesSource(feed=feed),
            rule,
            cache=None if cache is None else cache.name,
            sampling=sampling,
            limit=limit,
            priority=priority,
        )

    def _training(
        self, name: str, feed: Feed | Resident, *, priority: int, limit: str | None = RESIDENT
    ) -> BenchCase:
        seconds = 2 * self.plan.seconds
        rule = SliceRule(
            seconds=seconds, warm_batches=5 if isinstance(feed, Resident) else self._num_read_ahead
        )
        augmented = isinstance(feed, Feed) and feed.augmented
        source = TrainingSource(feed=feed)
        return self._row(name, source, rule, limit=limit, priority=priority, augmented=augmented)

    @property
    def _num_read_ahead(self) -> int:
        """Batches that a loader may have read while nobody took any: what comes after them is made as it is taken."""
        return max(8, self.plan.num_cpus) + 3

    def _row(
        self,
        name: str,
        source: ImageSource,
        rule: SliceRule,
        *,
        is_limit: bool = False,
        limit: str | None = None,
        cache: str | None = None,
        sampling: str | None = None,
        augmented: bool = False,
        priority: int = LESS,
        seconds_expected: float = 8.0,
    ) -> BenchCase:
        return BenchCase(
            name=name,
            group="limits" if is_limit else "GPU",
            source=source,
            rule=rule,
            limit=limit,
            cache=cache,
            sampling=sampling,
            augmented=augmented,
            priority=priority,
            seconds_expected=seconds_expected,
        )
