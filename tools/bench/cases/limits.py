"""What bare libraries reach on the same frames in the same run.

No reader decodes faster. Several threads copy raw frames faster than `TakeLimit`, and so does a copy past the caches.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import av
import numpy as np
from frame_cache_tools.bench.measure import KeepResult, Slice, SliceRule, measure_batches, measure_counters

from cache_builder.video.picture import FrameConverter, FrameGeometry, read_presentation
from frame_store import CacheStore, open_store

_FRAMES_DECODED = 2048
"""Most encoded frames that are kept in memory for a decoder."""
_FRAMES_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class TakeLimit:
    """`np.take` on one thread, from one memory map into one reused buffer: the limit for raw frames."""

    flat: Path
    """.npy of frames, uint8 (N, H, W, 3)."""
    batch_size: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        opened_at = time.perf_counter()
        frames = np.load(self.flat, mmap_mode="r")
        out = np.empty((self.batch_size, *frames.shape[1:]), np.uint8)
        draw = np.random.default_rng(0)

        def epoch() -> Iterator[int]:
            order = draw.permutation(len(frames))
            for start in range(0, len(order), self.batch_size):
                ids = order[start : start + self.batch_size]
                np.take(frames, ids, axis=0, out=out[: len(ids)], mode="clip")  # "raise" copies once more
                yield len(ids)

        return measure_batches(epoch, rule, keep, opened_at=opened_at)


@dataclass(frozen=True, kw_only=True)
class DecodeLimit:
    """The bare decoder on all CPUs, from bytes in memory into one reused buffer a thread.

    JPEG by simplejpeg (libjpeg-turbo), Zstandard by zstandard, with a decoder that each thread keeps.
    """

    path: Path
    """The cache that the encoded frames are from."""
    num_threads: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        store = open_store(self.path)
        ids = np.random.default_rng(0).permutation(len(store))[:_FRAMES_DECODED]
        payloads = [store.read_payload(int(frame_id)) for frame_id in ids]
        store.close()
        decode = _decoder_of(store)

        def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
            out = np.empty(store.frame_shape, np.uint8)
            order = cycle(payloads[thread :: self.num_threads] or payloads)
            while not stop.is_set():
                for _ in range(_FRAMES_AT_ONCE):
                    decode(next(order), out)
                add(_FRAMES_AT_ONCE)

        return measure_counters(work, self.num_threads, rule, keep)


@dataclass(frozen=True, kw_only=True)
class SequentialDecodeLimit:
    """The videos from end to end, one single-threaded decoder a CPU, each frame converted to the stored size."""

    paths: tuple[Path, ...]
    geometry: FrameGeometry
    num_threads: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        videos = cycle(self.paths)
        lock = threading.Lock()

        def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
            while not stop.is_set():
                with lock:
                    path = next(videos)
                for _ in decode_in_order(path, self.geometry):
                    add(1)
                    if stop.is_set():
                        return

        return measure_counters(work, self.num_threads, rule, keep)


def decode_in_order(path: Path, geometry: FrameGeometry) -> Iterator[np.ndarray]:
    """Frames of a video as a plain reader gets them, uint8 RGB (H, W, 3), until its end or its first error."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        converter: FrameConverter | None = None
        try:
            for frame in container.decode(stream):
                if converter is None:
                    shown = read_presentation(container, stream, frame, path.name)
                    converter = FrameConverter(geometry, shown.plain)
                yield converter.convert(frame)
        except av.FFmpegError:
            return


def _decoder_of(store: CacheStore) -> Callable[[bytes, np.ndarray], object]:
    if store.common.encoding.name == "jpeg":
        import simplejpeg

        return lambda payload, out: simplejpeg.decode_jpeg(payload, colorspace="RGB", buffer=out)
    import zstandard

    decoders = threading.local()

    def decode(payload: bytes, out: np.ndarray) -> object:
        if not hasattr(decoders, "decoder"):
            decoders.decoder = zstandard.ZstdDecompressor()
        return decoders.decoder.stream_reader(payload).readinto(out.reshape(-1))

    return decode
