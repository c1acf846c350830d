"""What columns cost: CPU time of a batch with columns over that of the raw batch, and memory.

    python -m tests.campaigns.bench_columns [--frames 2048] [--rounds 15] [--batches 64] [--rows 1000000]

A made-up raw cache of 224x224x3 gets three columns: 14 float32, an int64, and a text. In each round every case reads
the same number of batches of 128 with `FrameLoader` (permutation, one thread, page cache warm), epoch by epoch in
turns, and the CPU time of the process is taken. Two ratios are formed in each round, and their medians are printed:

- whole: what a batch costs more than the raw batch, over the raw batch;
- order and gather: the CPU time of making the requests and gathering columns alone (no frame is read), over the raw
  batch.

Memory: columns of `--rows` rows and of ten times as many are mapped, and batches of random rows are gathered from them.
Printed is the growth of the process's anonymous memory; pages of the files belong to the page cache.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cache_builder import add_columns
from frame_store import CacheStore, Columns
from frame_store.columns import Column, ColumnPart, MappedArray
from frame_store.manifest import Encoding
from loader import FrameLoader
from loader.columns import ColumnGatherer
from loader.windows import plan_windows
from tests.support.caches.golden_stores import write_store

BATCH_SIZE = 128
CASES: dict[str, dict[str, Any]] = {
    "raw batch": {"columns": ()},
    "three columns": {},
    "16 steps of 14 actions": {"columns": ["action"], "column_offsets": {"action": range(16)}},
    "three columns, 16 steps of actions": {"column_offsets": {"action": range(16)}},
}
TEXTS = ("push the block", "open the drawer", "close the drawer", "wipe the table")


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        store = CacheStore(make_cache(Path(folder), arguments.frames))
        epochs = -(-arguments.batches * BATCH_SIZE // len(store))
        whole: dict[str, list[float]] = {name: [] for name in CASES}
        alone: dict[str, list[float]] = {name: [] for name in CASES}
        loaders = {name: make_loader(store, options) for name, options in CASES.items()}
        for loader in loaders.values():
            read(loader, epochs)
        for number in range(arguments.rounds):
            for name, options in CASES.items():
                whole[name].append(0.0)
                alone[name].append(cpu_seconds(order_and_gather(store, options, epochs)))
            for turn in range(epochs):
                names = list(CASES)
                first = (number + turn) % len(names)
                for name in [*names[first:], *names[:first]]:
                    whole[name][-1] += cpu_seconds(lambda name=name: read(loaders[name], 1))
        num_batches = epochs * (len(store) // BATCH_SIZE)
        print(f"{len(store)} frames, {arguments.rounds} rounds of {num_batches} batches of {BATCH_SIZE}")
        print(f"{'':36} {'us a batch':>11} {'whole':>8} {'order and gather':>17}")
        raw = whole["raw batch"]
        plain = alone["raw batch"]
        for name in CASES:
            micros = statistics.median(whole[name]) / num_batches * 1e6
            more = statistics.median(
                (case - base) / base for case, base in zip(whole[name], raw, strict=True)
            )
            gathered = statistics.median(
                (case - base) / of_raw for case, base, of_raw in zip(alone[name], plain, raw, strict=True)
            )
            print(f"{name:36} {micros:11.0f} {more:8.1%} {gathered:17.1%}")
        for num_rows in (arguments.rows, 10 * arguments.rows):
            grown = memory_growth(Path(folder), num_rows)
            print(
                f"{num_rows:>12,} rows: {grown / 1e6:.1f} MB of memory for columns of {num_rows * 64 / 1e6:.0f} MB"
            )


def make_cache(folder: Path, num_frames: int) -> Path:
    """A raw cache of noise with three columns."""
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 224, 224, 3), np.uint8)
    cache = folder / "cache"
    write_store(cache, "wds", Encoding(name="raw"), frames, frames_per_shard=256)
    store = CacheStore(cache)
    order = store.source_order
    numbers = np.random.default_rng(1)
    table = {
        "video": [
            video.path
            for video, num_rows in zip(store.videos, np.diff(order.first_row), strict=True)
            for _ in range(num_rows)
        ],
        "frame": np.concatenate([np.arange(num_rows) for num_rows in np.diff(order.first_row)]),
        "action": numbers.normal(size=(order.num_rows, 14)).astype(np.float32),
        "count": numbers.integers(0, 1 << 40, order.num_rows),
        "task": [TEXTS[number] for number in numbers.integers(0, len(TEXTS), order.num_rows)],
    }
    add_columns(cache, table)
    return cache


def make_loader(store: CacheStore, options: Mapping[str, Any]) -> FrameLoader:
    return FrameLoader(store, batch_size=BATCH_SIZE, num_threads=1, read_ahead=1, **options)


def read(loader: FrameLoader, epochs: int) -> None:
    for _ in range(epochs):
        for batch in loader:
            del batch


def order_and_gather(store: CacheStore, options: Mapping[str, Any], epochs: int) -> Callable[[], None]:
    """Make the requests of the epochs and gather their columns, from rows that were looked up before."""
    names = options.get("columns")
    columns = store.columns if names is None else store.columns.select(names)
    of_windows = {name: value for name, value in options.items() if name != "columns"}
    planned = plan_windows("bench", store, {"batch_size": BATCH_SIZE, **of_windows}, columns=columns)
    gatherer = ColumnGatherer(store, columns) if columns else None
    rows = {}
    for epoch in range(epochs):
        for number, ids in enumerate(planned.frame_ids(epoch)):
            rows[epoch, number] = store.rows_of(ids)

    def run() -> None:
        for epoch in range(epochs):
            for number, request in enumerate(planned.requests(epoch)):
                if gatherer is not None:
                    gatherer.gather(request, rows[epoch, number])

    return run


def memory_growth(folder: Path, num_rows: int) -> int:
    """Anonymous memory in bytes that 2,000 gathered batches of mapped columns leave behind."""
    shapes = {"action": (np.dtype("<f4"), (num_rows, 14)), "count": (np.dtype("<i8"), (num_rows,))}
    for name, (dtype, shape) in shapes.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape, version=(1, 0)).flush()
    before = anonymous_bytes()
    columns = Columns(
        [
            Column(
                name=name,
                scope="frame",
                parts=(ColumnPart(values=MappedArray(folder, f"{name}.npy", dtype=dtype, shape=shape)),),
            )
            for name, (dtype, shape) in shapes.items()
        ],
        num_rows=num_rows,
        num_videos=1,
        fingerprint="made up",
    )
    numbers = np.random.default_rng(0)
    for _ in range(2000):
        columns.gather(numbers.integers(0, num_rows, BATCH_SIZE), np.zeros(BATCH_SIZE, np.int64))
    return anonymous_bytes() - before


def anonymous_bytes() -> int:
    """Memory of this process that is no page of a file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def cpu_seconds(run: Callable[[], None]) -> float:
    """CPU time of the process in a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=64, help="at least so many in a round")
    parser.add_argument("--rows", type=int, default=1_000_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
