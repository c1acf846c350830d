"""`CacheStore.read_frames` alone on some threads, beside the bare decoder on as many, in turn in one process.

    python -m tests.campaigns.reading.bench_store CACHE... [--threads 2] [--rounds 7] [--seconds 0.7]

It imports no torch and no video library, so it also runs where Python has no GIL (PYTHON_GIL=0). Batches of 128 frames
of a permutation go into three buffers a thread. The bare decoder takes payloads from memory, and raw frames out of one
array. The ratio is the median of the ratios within rounds, with the lowest and the highest one.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from frame_store import CacheStore

BATCH_SIZE = 128
BUFFERS = 3
Step = Callable[[Any, Any], object]
"""Fills a buffer with the frames at these positions of the order."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("caches", nargs="+", type=Path, metavar="CACHE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    options = parser.parse_args()
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(
        f"Python {sys.version.split()[0]}, {'with' if has_gil else 'without'} a GIL, {options.threads} threads"
    )
    for path in options.caches:
        measure(path, options)


def measure(path: Path, options: argparse.Namespace) -> None:
    store = CacheStore(path)
    order = np.random.default_rng(0).permutation(len(store))
    buffers = np.zeros((options.threads, BUFFERS, BATCH_SIZE, *store.frame_shape), store.frame_dtype)
    steps: list[Step] = [bare(store, order), lambda at, out: store.read_frames(order[at], out)]
    bare_rates, our_rates = [], []
    for number in range(options.rounds + 1):
        rates = [rate(step, buffers, len(order), options.seconds) for step in steps]
        if number:  # the first round maps pages
            bare_rates.append(rates[0])
            our_rates.append(rates[1])
    ratios = [ours / limit for ours, limit in zip(our_rates, bare_rates, strict=True)]
    bare_rate, our_rate = statistics.median(bare_rates), statistics.median(our_rates)
    print(
        f"{path.name:10} bare {bare_rate:9,.0f} frames/s, ours {our_rate:9,.0f}, "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def bare(store: CacheStore, order: Any) -> Step:
    encoding = store.common.encoding.name
    if encoding == "raw":
        frames = store.read_frames(range(len(store)))
        return lambda at, out: np.take(frames, order[at], axis=0, out=out, mode="clip")
    payloads = [payload.tobytes() for payload in store.read_encoded(order)]
    if encoding == "jpeg":
        from simplejpeg import decode_jpeg

        return partial(each, payloads, lambda: lambda payload, out: decode_jpeg(payload, "RGB", buffer=out))
    import zstandard

    def decoder() -> Callable[[bytes, Any], object]:
        open_stream = zstandard.ZstdDecompressor().stream_reader
        return lambda payload, out: open_stream(payload).readinto(out.reshape(-1).view(np.uint8))

    return partial(each, payloads, decoder)


def each(
    payloads: list[bytes], make_decoder: Callable[[], Callable[[bytes, Any], object]], at: slice, outs: Any
) -> None:
    decode = make_decoder()
    for payload, out in zip(payloads[at], outs, strict=True):
        decode(payload, out)


def rate(step: Step, buffers: Any, num_frames: int, seconds: float) -> float:
    """Frames a second of `step` on as many threads as there are rows of buffers."""
    num_threads, num_batches = len(buffers), num_frames // BATCH_SIZE
    counts, began = [0] * num_threads, time.perf_counter()

    def work(number: int) -> None:
        turn = number
        while time.perf_counter() - began < seconds:
            first = turn % num_batches * BATCH_SIZE
            step(slice(first, first + BATCH_SIZE), buffers[number, turn // num_threads % BUFFERS])
            counts[number] += BATCH_SIZE
            turn += num_threads

    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
