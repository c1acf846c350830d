"""A cache that is not in memory: bytes/s of every order, compared with reading its files from end to end, as dd does.

    python -m tests.campaigns.reading.bench_cold CACHE... [--rounds 3] [--read-ahead 16]

Before each measurement the pages of all shards are dropped (posix_fadvise), so the disk is read; index and manifest
stay in memory. `block` takes blocks of four shards. The cache of a virtual machine's host cannot be dropped from
inside. Medians of interleaved rounds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import frame_store
from loader import FrameLoader
from tests.support.caches.tree import generation_folder

CHUNK_BYTES = 1 << 20


class _WithoutPrefetch:
    """The same store without `prefetch`."""

    def __init__(self, store: frame_store.CacheStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name == "prefetch":
            raise AttributeError(name)
        return getattr(self._store, name)

    def __len__(self) -> int:
        return len(self._store)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("caches", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read-ahead", type=int, default=16)
    parser.add_argument("--max-batches", type=int, default=60)
    options = parser.parse_args()
    for path in options.caches:
        store = frame_store.open_store(path)
        shards = [generation_folder(path) / shard.name for shard in store.common.shards]
        rows = {"end to end, 1 MiB at a time": partial(read_through, shards)}
        for sampling in ("sequential", "block", "permutation"):
            for title, source in (("prefetch", store), ("none", _WithoutPrefetch(store))):
                rows[f"{sampling}, {title}"] = partial(
                    read_batches,
                    source,
                    store.index["byte_length"],
                    sampling=sampling,
                    read_ahead=options.read_ahead,
                    max_batches=options.max_batches,
                )
        report(store, rows, shards, rounds=options.rounds)


def report(
    store: frame_store.CacheStore, rows: dict[str, Callable[[], float]], shards: list[Path], *, rounds: int
) -> None:
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, measure in rows.items():
            store.close()  # mapped pages cannot be dropped
            drop_pages(shards)
            found[name].append(measure())
    baseline = found[next(iter(rows))]
    print(store.path)
    for name, rates in found.items():
        ratio = statistics.median(rate / base for rate, base in zip(rates, baseline, strict=True))
        print(f"  {name:30} {statistics.median(rates) / 1e6:8.0f} MB/s   {ratio:5.2f} of end to end")


def drop_pages(shards: list[Path]) -> None:
    for shard in shards:
        descriptor = os.open(shard, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_through(shards: list[Path]) -> float:
    buffer, num_bytes, start = bytearray(CHUNK_BYTES), 0, time.perf_counter()
    for shard in shards:
        with shard.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                num_bytes += count
    return num_bytes / (time.perf_counter() - start)


def read_batches(store: Any, byte_lengths: Any, *, sampling: str, read_ahead: int, max_batches: int) -> float:
    loading: dict[str, Any] = {"shards_per_block": 4} if sampling == "block" else {}
    loader = FrameLoader(
        store, batch_size=128, sampling=sampling, read_ahead=read_ahead, next_epoch=False, **loading
    )
    num_bytes, start = 0, time.perf_counter()
    for number, batch in enumerate(loader):
        num_bytes += int(byte_lengths[batch.frame_ids.numpy()].sum())
        if number + 1 == max_batches:
            break
    return num_bytes / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
