"""What step `throughput` measures, each as a value that opens itself, and then makes images for a slice of time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import torch
from frame_cache_tools.bench.measure import Slice, SliceRule, measure_counters
from frame_cache_tools.gpu_feeds import Feed, endless, num_in_flight, open_live, synchronize
from frame_cache_tools.gpu_findings import Skip
from frame_cache_tools.gpu_samples import Samples

from cache_builder import LiveStore
from cache_builder.gpu import NvdecDevice, check_on_device
from cache_builder.video.opening import choose_video_stream, open_container
from frame_store import CudaUnavailableError, open_store
from frame_store.protocol import DecodesOnDevice
from loader.gpu import find_jpeg_decoder

Measure = Callable[[float], Slice]
"""Makes images for about so many seconds."""

_GOP: Final = 30
"""Frames between keyframes of the samples."""
_COPIES_IN_FLIGHT: Final = 16


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A row of the table."""

    name: str
    open: Callable[[], AbstractContextManager[Measure]]
    seconds: float
    """Of a slice."""
    needs_torch: bool = True
    """Whether torch must be able to use the device."""
    cost_s: float = 1.0
    """What a slice takes beside its seconds, about."""


@contextmanager
def batches_subject(feed: Feed, *, device: str) -> Iterator[Measure]:
    """Batches as they come out of a loader; the first of a slice, which waited there, are not counted."""
    with feed() as loader, closing(endless(loader)) as batches:

        def measure(seconds: float) -> Slice:
            for _ in range(num_in_flight()):
                next(batches)
            synchronize(device)
            started = time.perf_counter()
            num_images = 0
            while time.perf_counter() - started < seconds:
                num_images += len(next(batches))
            synchronize(device)
            return _slice(num_images, started)

        yield measure


@contextmanager
def nvdec_subject(paths: list[Path], num_threads: int, *, nvdec: NvdecDevice | None) -> Iterator[Measure]:
    """Decoding alone: threads with a video each, from end to end and over again. Without `nvdec`, on the CPU."""
    videos = [LoopedVideo(paths[number % len(paths)], nvdec) for number in range(num_threads)]

    def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
        if nvdec is not None:
            nvdec.check().bind_primary_context(nvdec.ordinal)
        while not stop.is_set():
            videos[thread].next_frame()
            add(1)

    try:
        yield lambda seconds: measure_counters(
            work, num_threads, SliceRule(seconds=seconds, warm_seconds=0.1)
        )
    finally:
        for video in videos:
            video.close()


class LoopedVideo:
    """A video that begins again when it is over, open all the while; used by one thread at a time."""

    def __init__(self, path: Path, nvdec: NvdecDevice | None) -> None:
        self._path = path
        self._nvdec = nvdec
        self._frames = self._loop()

    def next_frame(self) -> av.VideoFrame:
        """The next one; opens the video at the first.

        Raises:
            DeviceError, VideoError, av.FFmpegError: it cannot be decoded.
        """
        return next(self._frames)

    def close(self) -> None:
        """Close the video."""
        self._frames.close()

    def _loop(self) -> Any:  # noqa: ANN401 - a generator
        device = self._nvdec
        name = self._path.name
        opens = open_container if device is None else device.open_container
        opened = opens(self._path, name)
        try:
            stream = choose_video_stream(opened.container, name)
            if device is None:
                decoder = stream.codec_context
                decoder.thread_type = "NONE"
            else:
                decoder = device.open_decoder(stream, name)
            for number in count():
                if number:
                    opened.seek(0, stream)
                for packet in opened.container.demux(stream):
                    for frame in decoder.decode(packet if packet.size else None):
                        if device is not None:
                            check_on_device(frame, name)
                        yield frame
        finally:
            opened.close()


class LiveStores:
    """Stores of live frames that several subjects share: opened by the first."""

    def __init__(self, samples: Samples, stack: ExitStack) -> None:
        """`stack` closes them."""
        self._samples = samples
        self._stack = stack
        self._stores: dict[str, LiveStore] = {}

    def on(self, device: str) -> LiveStore:
        """The one that decodes there.

        Raises:
            CudaError: it cannot be.
        """
        if device not in self._stores:
            self._stores[device] = self._stack.enter_context(closing(open_live(self._samples, device=device)))
        return self._stores[device]


@contextmanager
def live_subject(stores: LiveStores, num_threads: int, *, device: str, gops: int) -> Iterator[Measure]:
    """A live store's frames at their stored size, in order: threads with a video each, some GOPs at a time."""
    store = stores.on(device)
    sizes = store.shard_sizes.tolist()
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    positions = [0] * num_threads

    def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
        video = thread % len(sizes)
        while not stop.is_set():
            first = positions[thread] % sizes[video]
            last = min(first + gops * _GOP, sizes[video])
            ids = np.arange(first, last) + starts[video]
            if isinstance(store, DecodesOnDevice):
                store.read_frames_on_device(ids)
            else:
                store.read_frames(ids)
            positions[thread] = last
            add(last - first)

    yield lambda seconds: measure_counters(work, num_threads, SliceRule(seconds=seconds, warm_seconds=0.1))


@contextmanager
def copy_limit(*, device: str, batch_size: int, pinned: bool) -> Iterator[Measure]:
    """Nothing but copies of batches of uint8 frames from the host's memory, with blocks that are there already."""
    shape = (batch_size, 224, 224, 3)
    is_gpu = device == "cuda"
    sources = [
        torch.randint(0, 256, shape, dtype=torch.uint8).pin_memory()
        if pinned and is_gpu
        else torch.randint(0, 256, shape, dtype=torch.uint8)
        for _ in range(4)
    ]
    targets = [torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(4)]

    def measure(seconds: float) -> Slice:
        synchronize(device)
        started = time.perf_counter()
        num_batches = 0
        while time.perf_counter() - started < seconds:
            for number in range(_COPIES_IN_FLIGHT):
                targets[number % 4].copy_(sources[number % 4], non_blocking=pinned)
            synchronize(device)
            num_batches += _COPIES_IN_FLIGHT
        return _slice(num_batches * batch_size, started)

    yield measure


@contextmanager
def gather_limit(raw_cache: Path, num_threads: int, *, batch_size: int) -> Iterator[Measure]:
    """What the host does for a raw batch: random frames of the cache into one buffer a thread."""
    with closing(open_store(raw_cache)) as store:

        def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
            out = np.empty((batch_size, *store.frame_shape), np.uint8)
            draw = np.random.default_rng(thread)
            while not stop.is_set():
                store.read_frames(draw.integers(0, len(store), batch_size), out=out)
                add(batch_size)

        yield lambda seconds: measure_counters(
            work, num_threads, SliceRule(seconds=seconds, warm_seconds=0.1)
        )


@contextmanager
def jpeg_limit(jpeg_cache: Path, *, device: str, batch_size: int) -> Iterator[Measure]:
    """The bare decoder of JPEG on the GPU, over and over on files in memory, in one thread.

    Raises:
        Skip: there is none.
    """
    try:
        decode = find_jpeg_decoder()
    except CudaUnavailableError as error:
        raise Skip(str(error)) from error
    with closing(open_store(jpeg_cache)) as store:
        ids = np.random.default_rng(0).integers(0, len(store), batch_size)
        payloads = [torch.from_numpy(np.array(payload)) for payload in store.read_encoded(ids)]
    target = torch.device(device, 0) if device == "cuda" else torch.device(device)

    def measure(seconds: float) -> Slice:
        decode(payloads, target)
        synchronize(device)
        started = time.perf_counter()
        num_images = 0
        while time.perf_counter() - started < seconds:
            num_images += len(decode(payloads, target))
        synchronize(device)
        return _slice(num_images, started)

    yield measure


def _slice(num_images: int, started: float) -> Slice:
    return Slice(images=num_images, seconds=time.perf_counter() - started, seconds_to_first_batch=None)
