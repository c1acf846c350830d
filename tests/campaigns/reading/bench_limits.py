"""`FrameLoader` beside the limits of its machine: the same frames, batches of 128, interleaved rounds in one process.

    python -m tests.campaigns.reading.bench_limits prepare --videos DIR --short DIR --folder STORE
    python -m tests.campaigns.reading.bench_limits run [NAME...] --folder STORE [--rounds 9] [--seconds 1.5]

`prepare` builds caches of the videos in DIR (raw tar, raw Zarr, JPEG, Zstandard), one of the videos in the other DIR
(raw tar, which should have 18 batches), and writes the frames to one .npy file. A ratio is the median of the ratios
within rounds, with the lowest and the highest one. Limits:
    np.take           one thread, from a memory map into one buffer
    two threads       np.take on two threads, each into six buffers in turn, which is what a loader needs
    one buffer        the bare decoder on two threads, from bytes in memory into one buffer a thread
    in place          the same into six batches in turn, which is what a loader needs
    one long epoch    the short cache, `iid`, in epochs of 1,000 batches
    batches of 128    raw frames; "looked up alone" are batches of 16 whose frames are looked up batch by batch
"""

import argparse
import mmap
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frame_store import CacheStore, open_store
from loader import FrameLoader

BATCH_SIZE = 128
NUM_THREADS = 2
BUFFERS = 6
REST_SECONDS = 0.3
"""Before each measurement: a loader reads ahead for a moment after its own, which must not count against the next."""
CACHES = {
    "tar": ["--encoding", "raw"],
    "zarr": ["--format", "zarr", "--encoding", "raw"],
    "jpeg": [],
    "zstd": ["--format", "zarr", "--encoding", "zstd"],
}
Rate = Callable[[float], float]
"""Measures for so many seconds; frames a second."""

GROUPS: dict[str, list[str]] = {
    "raw": ["np.take", "two threads", "tar", "zarr", "tar, verify_reads"],
    "jpeg": ["one buffer", "in place", "ours"],
    "zstd": ["one buffer", "in place", "ours"],
    "short": ["one long epoch", "epochs of its own", "begun anew"],
    "small": ["batches of 128", "batches of 16", "looked up alone"],
}


FILES = {"raw": ["raw.npy", "tar/**/*", "zarr/**/*"], "small": ["tar/**/*"]}
"""What a group reads, where it is not the cache of its name."""


class LookedUpAlone(CacheStore):
    """A cache that looks frames up where it reads them, so that no loader does it for several batches."""

    locate = None  # type: ignore[assignment]

    def _read(self, frame_ids: Any, out: Any) -> Any:
        located = super().locate(frame_ids)
        return self.read_located(located, out), located.rows


class Repeated(CacheStore):
    """A cache whose frames count several times, so that an epoch of few frames is long."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__(path)
        self._times, self._num_frames = times, super().__len__()

    def __len__(self) -> int:
        return self._num_frames * self._times

    @property
    def shard_sizes(self) -> Any:
        return np.tile(super().shard_sizes, self._times)

    def locate(self, frame_ids: Any) -> Any:
        return super().locate(frame_ids % self._num_frames)

    def prefetch(self, frame_ids: Any) -> bool:
        return super().prefetch(frame_ids % self._num_frames)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["prepare", "run"])
    parser.add_argument("groups", nargs="*", metavar="NAME", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--short", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.5)
    options = parser.parse_args()
    if options.action == "prepare":
        prepare(options.videos, options.short, options.folder)
        return
    for group in options.groups or GROUPS:
        run(group, options)


def prepare(videos: Path, short: Path, folder: Path) -> None:
    program = Path(sys.executable).with_name("cache-build")
    for name, flags in CACHES.items():
        subprocess.run([program, "--videos", videos, "--out", folder / name, *flags], check=True)
    subprocess.run([program, "--videos", short, "--out", folder / "short", "--encoding", "raw"], check=True)
    store = open_store(folder / "tar")
    pixels = np.lib.format.open_memmap(folder / "raw.npy", "w+", np.uint8, (len(store), *store.frame_shape))
    for start in range(0, len(store), 1000):
        ids = range(start, min(start + 1000, len(store)))
        store.read_frames(ids, pixels[start : start + len(ids)])


def run(group: str, options: argparse.Namespace) -> None:
    for pattern in FILES.get(group, [f"{group}/**/*"]):
        read_all(options.folder, pattern)
    rates = rates_of(group, options.folder)
    for rate in rates.values():
        rate(0.5)  # maps and memory
    found: dict[str, list[float]] = {name: [] for name in rates}
    busy: dict[str, list[float]] = {name: [] for name in rates}
    for number in range(options.rounds):
        for name in [*rates][:: -1 if number % 2 else 1]:
            time.sleep(REST_SECONDS)
            began, cpu_began = time.perf_counter(), time.process_time()
            found[name].append(rates[name](options.seconds))
            busy[name].append((time.process_time() - cpu_began) / (time.perf_counter() - began))
    first = found[GROUPS[group][0]]
    for name, some in found.items():
        ratios = [one / limit for one, limit in zip(some, first, strict=True)]
        print(
            f"{group:6} {name:20} {statistics.median(some):9,.0f} frames/s, {statistics.median(ratios):.3f} of "
            f"{GROUPS[group][0]} ({min(ratios):.3f} to {max(ratios):.3f}), "
            f"{statistics.median(busy[name]):.2f} CPUs busy",
            flush=True,
        )


def read_all(folder: Path, pattern: str) -> None:
    """Bring files into the page cache."""
    for path in folder.glob(pattern):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 22):
                    pass


def rates_of(group: str, folder: Path) -> dict[str, Rate]:
    if group == "raw":
        frames = np.load(folder / "raw.npy", mmap_mode="r")
        return {
            "np.take": lambda seconds: in_threads(taking(frames, 1), seconds, num_threads=1),
            "two threads": lambda seconds: in_threads(taking(frames, BUFFERS), seconds),
            "tar": loading(CacheStore(folder / "tar")),
            "zarr": loading(CacheStore(folder / "zarr")),
            "tar, verify_reads": loading(CacheStore(folder / "tar", verify_reads=True)),
        }
    if group == "short":
        store = CacheStore(folder / "short")
        times = -(-1000 * BATCH_SIZE // len(store))
        return {
            "one long epoch": loading(Repeated(folder / "short", times), sampling="iid"),
            "epochs of its own": loading(store, sampling="iid"),
            "begun anew": loading(store, sampling="iid", next_epoch=False),
        }
    if group == "small":
        return {
            "batches of 128": loading(CacheStore(folder / "tar")),
            "batches of 16": loading(CacheStore(folder / "tar"), batch_size=16),
            "looked up alone": loading(LookedUpAlone(folder / "tar"), batch_size=16),
        }
    store = CacheStore(folder / group)
    return {
        "one buffer": lambda seconds: in_threads(decoding(store, 1), seconds),
        "in place": lambda seconds: in_threads(decoding(store, BATCH_SIZE * BUFFERS), seconds),
        "ours": loading(store),
        "ours, pread": loading(CacheStore(folder / group, reads="pread")),
    }


def loading(store: CacheStore, batch_size: int = BATCH_SIZE, **options: Any) -> Rate:
    """Whole epochs one after the other; each call goes on where the last one stopped."""
    loader = FrameLoader(store, batch_size=batch_size, remainder="drop", **options)

    def forever() -> Iterator[int]:
        while True:
            for batch in loader:
                yield len(batch.frame_ids)

    batches = forever()

    def rate(seconds: float) -> float:
        for _ in range(8):  # what was read while others were measured
            next(batches)
        num_frames, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            num_frames += next(batches)
        return num_frames / (time.perf_counter() - began)

    return rate


def in_threads(
    work: Callable[[int], Callable[[], int]], seconds: float, num_threads: int = NUM_THREADS
) -> float:
    """Frames a second of `work(thread)()`, called again and again in each thread."""
    counts, started = [0] * num_threads, time.perf_counter()

    def repeat(number: int) -> None:
        step = work(number)
        while time.perf_counter() - started < seconds:
            counts[number] += step()

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def memory_of(num_frames: int, shape: tuple[int, ...]) -> Any:
    """Frames in large pages, touched."""
    memory = mmap.mmap(-1, num_frames * int(np.prod(shape)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    frames = np.frombuffer(memory, np.uint8).reshape(num_frames, *shape)
    frames[:] = 0
    return frames


_MEMORY: dict[tuple[str, int], Any] = {}


def taking(frames: Any, num_buffers: int) -> Callable[[int], Callable[[], int]]:
    def work(number: int) -> Callable[[], int]:
        key = (f"take {num_buffers}", number)
        if key not in _MEMORY:
            _MEMORY[key] = memory_of(num_buffers * BATCH_SIZE, frames.shape[1:])
        outs = _MEMORY[key].reshape(num_buffers, BATCH_SIZE, *frames.shape[1:])
        draw, turn = np.random.default_rng(number), iter(range(10**9))
        order = draw.permutation(len(frames))

        def step() -> int:
            first = next(turn) % (len(order) // BATCH_SIZE) * BATCH_SIZE
            out = outs[first // BATCH_SIZE % num_buffers]
            np.take(frames, order[first : first + BATCH_SIZE], axis=0, out=out, mode="clip")
            return BATCH_SIZE

        return step

    return work


def decoding(store: CacheStore, num_slots: int) -> Callable[[int], Callable[[], int]]:
    encoding = store.common.encoding.name
    if encoding not in _PAYLOADS:
        ids = np.random.default_rng(0).permutation(len(store))
        _PAYLOADS[encoding] = [payload.tobytes() for payload in store.read_encoded(ids)]
    payloads = _PAYLOADS[encoding]

    def work(number: int) -> Callable[[], int]:
        key = (f"decode {num_slots}", number)
        if key not in _MEMORY:
            _MEMORY[key] = memory_of(num_slots, store.frame_shape)
        slots, decode, turn = _MEMORY[key], decoder_of(encoding), iter(range(number, 10**9, NUM_THREADS))

        def step() -> int:
            for _ in range(16):
                place = next(turn)
                decode(payloads[place % len(payloads)], slots[place % num_slots])
            return 16

        return step

    return work


_PAYLOADS: dict[str, list[bytes]] = {}


def decoder_of(encoding: str) -> Callable[[bytes, Any], object]:
    if encoding == "jpeg":
        import simplejpeg

        return lambda payload, out: simplejpeg.decode_jpeg(payload, colorspace="RGB", buffer=out)
    import zstandard

    decoder = zstandard.ZstdDecompressor()
    return lambda payload, out: decoder.stream_reader(payload).readinto(out.reshape(-1))


if __name__ == "__main__":
    main()
