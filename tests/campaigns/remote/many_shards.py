"""A cache of 10^5 shards and 10^8 frames at a URL: seconds and memory to open it, to plan an epoch, and of 20 batches.

    python -m tests.campaigns.remote.many_shards --work DIR [--shards 100000] [--frames-per-shard 1000] [--quick]

The metadata are true files (index.npy of 4 GB), the shards are made up when they are asked for, see
`many_shards_cache`. DIR needs 6 GB for the metadata, which stay there for the next run, and 6 GB for what the reader
mirrors. Each row is a process of its own; those with a loader import torch before the measurement. "peak RSS" is VmHWM
and counts mapped pages of files, which the system may take back. "own memory" is the highest RssAnon + RssShmem, less
what the process had before the cache was opened. Every picture of every batch is compared: frames spell their ids.

The server makes a whole shard in some 70 ms, and its process has the same cores: seconds of batches through the folder
are mostly its own.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tests.campaigns.remote.many_shards_cache import (
    BUCKET,
    CACHE,
    MadeUp,
    payloads_of,
    served,
    write_metadata,
)

SAMPLINGS = ("permutation", "stratified", "block", "shards")
OPTIONS: dict[str, dict[str, Any]] = {
    "block": {"shards_per_block": 4},
    "shards": {"frames_per_visit": 32},
}
NUM_BATCHES = 20
FOLDER_BYTES = 64_000_000


def main() -> None:
    options = parsed()
    if options.probe:
        print(json.dumps(probe(json.loads(options.probe))), flush=True)
        return
    made_up = MadeUp(options.shards, options.frames_per_shard)
    work = options.work / f"{options.shards}x{options.frames_per_shard}"
    work.mkdir(parents=True, exist_ok=True)
    cache = write_metadata(work, made_up)
    print(
        f"{made_up.num_shards:,} shards, {made_up.num_frames:,} frames, "
        f"{sum(path.stat().st_size for path in cache.rglob('*') if path.is_file()) / 1e6:,.0f} MB of metadata"
    )
    print(
        f"{'':34} {'open':>8} {'loader':>8} {'first batch':>11} {'20 batches':>10} {'peak RSS':>9} {'own memory':>10}"
    )
    mirror = work / "mirror"
    shutil.rmtree(mirror, ignore_errors=True)
    url = f"s3://{BUCKET}/{CACHE}"
    with served(work, made_up) as environment:
        row("local files", {"cache": str(cache)}, environment)
        row("URL, nothing mirrored", {"cache": url, "folder": str(mirror)}, environment)
        row("URL, mirrored", {"cache": url, "folder": str(mirror)}, environment)
        for sampling in options.samplings or SAMPLINGS:
            asked = {"cache": url, "folder": str(mirror), "sampling": sampling}
            if sampling in OPTIONS:
                asked["folder_bytes"] = max(FOLDER_BYTES, 8 * made_up.shard_bytes)
            row(
                sampling + (", through the folder" if "folder_bytes" in asked else ", by ranges"),
                asked,
                environment,
            )
    shutil.rmtree(mirror, ignore_errors=True)


def row(title: str, asked: dict[str, Any], environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.campaigns.remote.many_shards", "--probe", json.dumps(asked)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=1200
    )
    if done.returncode:
        print(f"{title:34} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return
    found = json.loads(done.stdout.strip().splitlines()[-1])

    def seconds(key: str) -> str:
        return f"{found[key]:.2f} s" if key in found else ""

    print(
        f"{title:34} {seconds('open'):>8} {seconds('loader'):>8} {seconds('first'):>11} {seconds('batches'):>10} "
        f"{found['peak'] / 1e6:6,.0f} MB {found['own'] / 1e6:7,.0f} MB",
        flush=True,
    )


def probe(asked: dict[str, Any]) -> dict[str, float]:
    import frame_store

    if "sampling" in asked:
        from loader import FrameLoader
    opening = {key: asked[key] for key in ("folder", "folder_bytes") if key in asked}
    with highest_own_memory() as own:
        started = time.perf_counter()
        store = frame_store.open_store(asked["cache"], **opening)
        found = {"open": time.perf_counter() - started}
        if sampling := asked.get("sampling"):
            started = time.perf_counter()
            loader = FrameLoader(
                store, sampling=sampling, batch_size=128, columns=(), **OPTIONS.get(sampling, {})
            )
            found["loader"] = time.perf_counter() - started
            started = time.perf_counter()
            for batch in islice(loader, NUM_BATCHES):
                found.setdefault("first", time.perf_counter() - started)
                pictures = batch.frames.permute(0, 2, 3, 1).reshape(len(batch.frame_ids), -1).numpy()
                assert (pictures == payloads_of(batch.frame_ids.numpy())).all(), "a wrong picture"
            found["batches"] = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return {**found, "peak": int(match[1]) * 1024, "own": own[0]}


def own_memory() -> int:
    """Bytes of this process that belong to no file."""
    status = Path("/proc/self/status").read_text()
    return sum(int(number) * 1024 for number in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", status))


@contextmanager
def highest_own_memory() -> Iterator[list[int]]:
    """A list of one number, which rises while the block runs."""
    before, ended = own_memory(), threading.Event()
    highest = [0]

    def watch() -> None:
        while not ended.wait(0.005):
            highest[0] = max(highest[0], own_memory() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        ended.set()
        thread.join()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("samplings", nargs="*", metavar="SAMPLING", help=f"of {', '.join(SAMPLINGS)}")
    parser.add_argument("--work", type=Path, help="a folder for the metadata and the mirror")
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--frames-per-shard", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="1,000 shards of 100 frames")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.shards, options.frames_per_shard = 1000, 100
    if options.work is None and options.probe is None:
        parser.error("--work is missing")
    return options


if __name__ == "__main__":
    main()
