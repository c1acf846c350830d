"""The GPU rows of `cache-bench`: live and cached frames to the GPU, their limits, builds, and training a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from frame_cache_tools.bench.cases import BenchPlan, CachedFrames, LiveFrames
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
from frame_cache_tools.bench.machine import why_no_gpu
from frame_cache_tools.bench.measure import (
    LESS,
    MORE,
    MOST,
    BenchCase,
    Call,
    SliceRule,
    SourceFailedError,
    TimeUpError,
)

from cache_builder.gpu import NvdecDevice
from cache_builder.video.picture import FrameGeometry
from frame_store import open_store
from frame_store.shared import CUDA_LIBRARY, load_library
from loader import SamplingSpec

TO_GPU, FLOATS_TO_GPU, ON_GPU = "to the GPU", "floats to the GPU", "decoded by the GPU"
PINNED, PAGEABLE = "pinned copy to the GPU", "pageable copy to the GPU"
BARE_JPEG = "bare JPEG decoder on the GPU"
TRAINING = "GPU: ResNet-18, "
RESIDENT = "batches already on the GPU"
RESIDENT_ROW = TRAINING + RESIDENT
LIVE_IN_ORDER = "GPU: live NVDEC in order, {} threads"
DECODE = "GPU: NVDEC decodes alone, {} threads"
NUM_THREADS = (1, 4, 7, 14)
"""An H100 has 7 engines that decode video."""
_MAIN_THREADS = 7

CACHE_ROWS = {
    "wds raw": (f"wds raw, {TO_GPU}", f"wds raw, {FLOATS_TO_GPU}", f"{TRAINING}wds raw"),
    "wds jpeg 444": (
        f"wds jpeg 444, {TO_GPU}",
        f"wds jpeg 444, {ON_GPU}",
        f"{TRAINING}wds jpeg 444",
        f"{TRAINING}wds jpeg 444, {ON_GPU}",
    ),
}
"""Names of the rows for which caches are built, by the name of the cache."""

_STREAMS = 16
_MOST_LIVE_BATCH = 32
"""Each random live frame costs the decoding of a GOP, and a slice needs several batches."""
_WATCHED_SECONDS = 3.0
"""nvidia-smi averages the load of an engine over about a second."""

_row = partial(BenchCase, group="GPU", seconds_expected=8.0)


def why_no_gpu_rows(call: Call, *, seconds: float) -> str | None:
    """Why this machine has no GPU rows; None where it has. Without a driver no process is started to ask."""
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
    """The GPU rows. Links to a few of the videos are made in `work`."""
    rows = _GpuRows(plan=plan, geometry=geometry, work=work, device=device)
    encodings = [open_store(cache.path).common.encoding.name for cache in caches]
    return [
        *(rows.of_videos(videos) if videos is not None else ()),
        *(rows.of_raw(caches[encodings.index("raw")]) if "raw" in encodings else ()),
        *(rows.of_jpeg(caches[encodings.index("jpeg")]) if "jpeg" in encodings else ()),
        *rows.of_noise(),
    ]


@dataclass(frozen=True, kw_only=True)
class _GpuRows:
    plan: BenchPlan
    geometry: FrameGeometry
    work: Path
    device: GpuDevice

    def of_videos(self, videos: BenchVideos) -> Iterator[BenchCase]:
        seconds = 2 * self.plan.seconds
        folder = link_first_frames(
            videos, self.work / "gpu_videos", num_frames=sum(videos.frames_of_path[:_STREAMS])
        )
        live = LiveFrames(folder=folder, geometry=self.geometry, scan_cache=self.work / "gpu.scan")
        nvdec = replace(live, device=self.device)
        for number in NUM_THREADS:
            is_main = number == _MAIN_THREADS
            decode = NvdecSource(
                paths=videos.paths[:_STREAMS],
                num_threads=number,
                nvdec=NvdecDevice() if self.device == "cuda" else None,
                watched="decoder" if is_main else None,
            )
            priority = MOST if is_main else MORE
            yield _row(
                name=DECODE.format(number),
                source=decode,
                rule=SliceRule(
                    seconds=max(seconds, _WATCHED_SECONDS) if is_main else seconds, warm_seconds=0.2
                ),
                priority=priority,
            )
            yield _row(
                name=LIVE_IN_ORDER.format(number),
                source=LiveInOrderSource(store=nvdec, num_threads=number),
                rule=SliceRule(seconds=seconds, warm_seconds=0.2),
                limit=DECODE.format(number),
                priority=priority,
            )
        size = min(_MOST_LIVE_BATCH, self.plan.batch_size)
        feed = Feed(store=nvdec, batch_size=size, device=self.device)
        uploaded = replace(feed, store=live)
        for name, each in (("live NVDEC, permutation", feed), ("live CPU, permutation, uploaded", uploaded)):
            yield _row(
                name=f"GPU: {name}",
                source=GpuBatchesSource(feed=each),
                rule=self._rule_of_batches(seconds),
                sampling=str(SamplingSpec()),
                priority=MORE,
            )
        yield self._training("live NVDEC", replace(feed, augmented=True))
        cached = self.work / "cached_videos"
        for device in dict.fromkeys((self.device, "cpu")):
            yield _row(
                name=f"GPU: cache-build --device {device}",
                source=BuildSource(videos=link_first_frames(videos, cached, num_frames=1200), device=device),
                rule=SliceRule(seconds=0.0),
                priority=MORE,
                seconds_expected=20.0,
            )

    def of_raw(self, cache: BenchCache) -> Iterator[BenchCase]:
        feed = self._feed(cache)
        yield self._batches(f"{cache.name}, {TO_GPU}", feed, cache, limit=PINNED, priority=MOST)
        floats = replace(feed, floats_on_host=True)
        yield self._batches(f"{cache.name}, {FLOATS_TO_GPU}", floats, cache, limit=PAGEABLE)
        yield self._training(cache.name, replace(feed, augmented=True), priority=MOST)

    def of_jpeg(self, cache: BenchCache) -> Iterator[BenchCase]:
        feed = self._feed(cache)
        yield self._batches(f"{cache.name}, {TO_GPU}", feed, cache, priority=MORE)
        yield self._training(cache.name, replace(feed, augmented=True), priority=MORE)
        if self.device == "cpu":
            return
        name, on_gpu = f"{cache.name}, {ON_GPU}", replace(feed, jpeg_decode="gpu")
        yield self._batches(name, on_gpu, cache, limit=BARE_JPEG, priority=MORE)
        yield self._training(name, replace(on_gpu, augmented=True), priority=MORE)
        yield _row(
            name=BARE_JPEG,
            group="limits",
            source=JpegLimit(path=cache.path, batch_size=self.plan.batch_size),
            rule=SliceRule(seconds=_WATCHED_SECONDS),
        )

    def of_noise(self) -> Iterator[BenchCase]:
        size, device = self.plan.batch_size, self.device
        for name, is_pinned in ((PINNED, True), (PAGEABLE, False)):
            yield _row(
                name=name,
                group="limits",
                source=CopyLimit(batch_size=size, is_pinned=is_pinned, device=device),
                rule=SliceRule(seconds=self.plan.seconds, warm_seconds=0.2),
                priority=MOST if is_pinned else LESS,
            )
        resident = Resident(batch_size=size, device=device)
        yield self._training(RESIDENT, resident, priority=MOST, limit=None)
        yield self._training(f"{RESIDENT}, augmented", replace(resident, augmented=True))

    def _feed(self, cache: BenchCache) -> Feed:
        return Feed(store=CachedFrames(path=cache.path), batch_size=self.plan.batch_size, device=self.device)

    def _batches(
        self, name: str, feed: Feed, cache: BenchCache, *, limit: str | None = None, priority: int = LESS
    ) -> BenchCase:
        return _row(
            name=name,
            source=GpuBatchesSource(feed=feed),
            rule=self._rule_of_batches(self.plan.seconds),
            cache=cache.name,
            limit=limit,
            priority=priority,
        )

    def _training(
        self, what: str, feed: Feed | Resident, *, priority: int = LESS, limit: str | None = RESIDENT_ROW
    ) -> BenchCase:
        is_fed = isinstance(feed, Feed)
        seconds = 2 * self.plan.seconds
        return _row(
            name=f"{TRAINING}{what}",
            source=TrainingSource(feed=feed),
            rule=self._rule_of_batches(seconds) if is_fed else SliceRule(seconds=seconds, warm_batches=5),
            limit=limit,
            augmented=is_fed and feed.augmented,
            priority=priority,
        )

    def _rule_of_batches(self, seconds: float) -> SliceRule:
        """Skip the batches that a loader may have read ahead. Later batches are made on demand."""
        return SliceRule(seconds=seconds, warm_batches=max(8, self.plan.num_cpus) + 3)
