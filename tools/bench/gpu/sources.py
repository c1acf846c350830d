"""The sources of the GPU rows of `cache-bench`. Each opens itself in a process of its own, as all sources do.

With `device="cpu"` the CPU takes the place of the GPU, so that the sources are tested on machines without one.
"""

import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from frame_cache_tools.bench.cases import CachedFrames, LiveFrames
from frame_cache_tools.bench.inputs import bench_config
from frame_cache_tools.bench.machine import watching
from frame_cache_tools.bench.measure import (
    KeepResult,
    Slice,
    SliceRule,
    closing_if_possible,
    measure_batches,
    measure_counters,
)

from cache_builder.build import run_build
from cache_builder.gpu import NvdecDevice, check_on_device
from cache_builder.settings import BuildSettings, resolve
from cache_builder.video.opening import choose_video_stream, open_container, read_packets
from frame_store import CacheStore, DecodesOnDevice, open_store
from frame_store.frame_sequence import FrameSequence
from frame_store.protocol import FrameIds, FrameRows, Frames, FrameStore
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoTable

if TYPE_CHECKING:
    import torch

GpuDevice = Literal["cpu", "cuda"]
Epochs: TypeAlias = "Callable[[], Generator[torch.Tensor, None, None]]"
"""Each call gives the batches of another epoch."""

_LONG_EPOCH = 1_000_000
_BATCHES_AHEAD = 2
_FRAMES_IN_A_ROW = 60
_OPENING_THREADS = 8
_COPIES_AT_ONCE = 16


class RepeatedStore(FrameSequence):
    """A cache whose frames are repeated until an epoch is long. A GPU would end a short epoch many times a second."""

    def __init__(self, store: CacheStore, *, num_frames: int = _LONG_EPOCH) -> None:
        """Repeat an open cache until epochs have `num_frames` frames or more. `close` closes the cache."""
        self._store = store
        self._num_repeats = -(-num_frames // len(store))
        self.frame_shape, self.frame_dtype = store.frame_shape, store.frame_dtype
        self.fingerprint = store.fingerprint
        self.encoding_name = store.encoding_name
        self.may_cross_fork = store.may_cross_fork
        self.shard_sizes: npt.NDArray[np.int64] = np.tile(store.shard_sizes, self._num_repeats)

    def __len__(self) -> int:
        return self._num_repeats * len(self._store)

    @property
    def videos(self) -> VideoTable:
        """The videos of the cache; the repeats of a frame are one frame of its video."""
        return self._store.videos

    @property
    def source_order(self) -> SourceOrder:
        """The cache's own, whose ids are those of the first round."""
        return self._store.source_order

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""
        return self._store.read_frames(np.asarray(frame_ids) % len(self._store), out=out)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`."""
        return self._store.rows_of(np.asarray(frame_ids) % len(self._store))

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """See `FrameStore`."""
        return self._store.read_frames_and_rows(np.asarray(frame_ids) % len(self._store), out=out)

    def read_encoded(self, frame_ids: FrameIds) -> list[npt.NDArray[np.uint8]]:
        """See `HoldsEncodedFrames`."""
        return self._store.read_encoded(np.asarray(frame_ids) % len(self._store))

    def close(self) -> None:
        """Close the cache."""
        self._store.close()


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Batches on the GPU from a cache or from the videos, through `FrameLoader`."""

    store: CachedFrames | LiveFrames
    batch_size: int
    jpeg_decode: Literal["cpu", "gpu"] = "cpu"
    floats_on_host: bool = False
    """Make floats on the host and upload them from pageable memory, as many people do."""
    augmented: bool = False
    device: GpuDevice = "cuda"

    @contextmanager
    def open(self) -> Iterator["Epochs"]:
        """Epochs of batches: uint8 (B, 3, H, W), or floats of the same shape."""
        from loader import FrameLoader, exercise_augmentation

        with closing(self._open_store()) as store:
            loader = FrameLoader(
                store,
                batch_size=self.batch_size,
                device="cpu" if self.floats_on_host else self.device,
                pin_memory=False if self.floats_on_host else None,
                jpeg_decode=self.jpeg_decode,
                augment=exercise_augmentation(cached=True) if self.augmented else None,
            )

            def epoch() -> "Generator[torch.Tensor, None, None]":
                with closing_if_possible(iter(loader)) as batches:
                    for batch in batches:
                        frames = batch.frames
                        yield (frames.float() / 255).to(self.device) if self.floats_on_host else frames

            yield epoch

    def _open_store(self) -> FrameStore:
        if isinstance(self.store, CachedFrames):
            return RepeatedStore(open_store(self.store.path))
        store = self.store.open()
        read_a_frame_of_each(store)
        return store


def read_a_frame_of_each(store: FrameStore) -> None:
    """Open every video. The first opening asks the GPU whether it supports the video, which must not be measured."""
    ends = np.cumsum(store.shard_sizes)
    with ThreadPoolExecutor(_OPENING_THREADS) as threads:
        for _ in threads.map(lambda end: store.read_frames([int(end) - 1]), ends):
            pass


def _counted_when_done(epoch: Epochs, device: GpuDevice) -> Generator[int, None, None]:
    """Images of each batch. A batch is counted when the GPU has finished the batch two before it."""
    import torch

    queued: deque[Any] = deque()
    with closing(epoch()) as batches:
        for frames in batches:
            if device == "cuda":
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record()
                queued.append(event)
                if len(queued) > _BATCHES_AHEAD:
                    queued.popleft().synchronize()
            yield len(frames)


@dataclass(frozen=True, kw_only=True)
class GpuBatchesSource:
    """The batches of a feed, counted as they arrive on the GPU."""

    feed: Feed

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        opened_at = time.perf_counter()
        with self.feed.open() as epoch:
            counted = partial(_counted_when_done, epoch, self.feed.device)
            return measure_batches(counted, rule, keep, opened_at=opened_at)


def decoded_frames(
    path: Path, nvdec: NvdecDevice | None, *, is_endless: bool = False
) -> Generator[av.VideoFrame, None, None]:
    """Every frame of a video, decoded by the GPU into its memory; where `nvdec` is None, decoded by the CPU.

    With `is_endless` the video stays open and begins again at its end. Close the generator.

    Raises:
        DeviceError: the GPU does not decode it.
        VideoError, av.FFmpegError: it cannot be read, or is damaged.
    """
    opened = (open_container if nvdec is None else nvdec.open_container)(path, path.name)
    try:
        stream = choose_video_stream(opened.container, path.name)
        decoder = stream.codec_context if nvdec is None else nvdec.open_decoder(stream, path.name)
        while True:
            # An empty packet stands for a frame that was dropped. None ends the stream.
            packets = (packet for packet in read_packets(opened, stream) if packet.size)
            for packet in chain(packets, (None,)):
                for frame in decoder.decode(packet):
                    if nvdec is not None:
                        check_on_device(frame, path.name)
                    yield frame
            if not is_endless:
                return
            opened.seek(0, stream)
    finally:
        opened.close()


@dataclass(frozen=True, kw_only=True)
class NvdecSource:
    """Decoding alone: each thread decodes one video again and again. Frames keep their size."""

    paths: tuple[Path, ...]
    num_threads: int
    nvdec: NvdecDevice | None
    """None for the CPU."""
    watched: str | None = None
    """The engine whose load is read during the measurement; see `nvidia_smi.ENGINES`."""

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""

        def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
            path = self.paths[thread % len(self.paths)]
            with closing(decoded_frames(path, self.nvdec, is_endless=True)) as frames:
                for _ in frames:
                    add(1)
                    if stop.is_set():
                        return

        with watching(self.watched) as figures:
            measured = measure_counters(work, self.num_threads, rule, keep)
        return replace(measured, figures=figures)


@dataclass(frozen=True, kw_only=True)
class LiveInOrderSource:
    """Frames of a live store at their stored size, in order: each thread reads one video."""

    store: LiveFrames
    num_threads: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        with closing(self.store.open()) as store:
            read_a_frame_of_each(store)
            read = store.read_frames_on_device if isinstance(store, DecodesOnDevice) else store.read_frames
            ends = np.cumsum(store.shard_sizes)

            def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
                video = thread % len(ends)
                start, end = int(ends[video] - store.shard_sizes[video]), int(ends[video])
                while not stop.is_set():
                    for first in range(start, end, _FRAMES_IN_A_ROW):
                        ids = range(first, min(first + _FRAMES_IN_A_ROW, end))
                        read(ids)
                        add(len(ids))
                        if stop.is_set():
                            return

            return measure_counters(work, self.num_threads, rule, keep)


@dataclass(frozen=True, kw_only=True)
class CopyLimit:
    """Copies of batches of uint8 frames from the host into memory that is already allocated on the device."""

    batch_size: int
    is_pinned: bool
    device: GpuDevice = "cuda"

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        import torch

        pinned = self.is_pinned and self.device == "cuda"
        shape = (self.batch_size, 224, 224, 3)
        sources = [torch.zeros(shape, dtype=torch.uint8, pin_memory=pinned) for _ in range(4)]
        targets = [torch.empty(shape, dtype=torch.uint8, device=self.device) for _ in range(4)]

        def epoch() -> Iterator[int]:
            for number in range(_COPIES_AT_ONCE):
                targets[number % 4].copy_(sources[number % 4], non_blocking=self.is_pinned)
            synchronize(self.device)
            yield _COPIES_AT_ONCE * self.batch_size

        return measure_batches(epoch, rule, keep, opened_at=time.perf_counter())


@dataclass(frozen=True, kw_only=True)
class JpegLimit:
    """The bare decoder of JPEG on the GPU, in one thread, again and again on the same files in memory."""

    path: Path
    batch_size: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        import torch

        from loader.gpu import find_jpeg_decoder

        decode = find_jpeg_decoder()
        with closing(open_store(self.path)) as store:
            ids = np.random.default_rng(0).integers(0, len(store), self.batch_size)
            payloads = [torch.from_numpy(np.array(payload)) for payload in store.read_encoded(ids)]

        def epoch() -> Iterator[int]:
            decode(payloads, torch.device("cuda", 0))
            synchronize("cuda")
            yield self.batch_size

        with watching("jpeg") as figures:
            measured = measure_batches(epoch, rule, keep, opened_at=time.perf_counter())
        return replace(measured, figures=figures)


@dataclass(frozen=True, kw_only=True)
class BuildSource:
    """One whole `cache-build` of a folder of videos, whatever the rule: frames over its seconds."""

    videos: Path
    device: GpuDevice

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        _, options = resolve(BuildSettings(device=self.device, on_error="skip"))
        with tempfile.TemporaryDirectory() as folder:
            report = run_build(self.videos, Path(folder, "cache"), bench_config(BuildSettings()), options)
        seconds = report.seconds_scan + report.seconds_decode + report.seconds_gather
        return Slice(
            images=report.num_frames,
            seconds=seconds,
            seconds_to_first_batch=None,
            figures={"frames decoded by NVDEC": float(report.num_frames_decoded_on_device or 0)},
        )


def synchronize(device: GpuDevice) -> None:
    """Wait until the GPU has done all queued work."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
