"""`FrameLoader` over a cache, local or at a URL, in a process of its own: called by `bench_remote`.

    python -m tests.campaigns.remote.ours CACHE [--folder DIR] [--folder-bytes N] [--sampling block] [--decode] ...

It prints one line of JSON: frames; seconds from the start of the iteration to the last batch; seconds to the first
batch and to open the cache; seconds of this process's CPU; the largest size of the shards in the folder; and the bytes
that came over loopback. Without --decode, frames are fetched and their CRC is compared, and nothing is decoded.
"""

import argparse
import json
import os
import threading
import time
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import frame_store
from loader import FrameLoader

BATCH_SIZE = 128
SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_LOOKS_IN_TRAINING = 0.02, 0.2
"""Into the folder. A look takes a millisecond from the threads that decode, and the local cache has no folder."""


class NoDecoding:
    """A codec that leaves `out` as it is."""

    def encode(self, frame: Any) -> bytes:
        raise NotImplementedError

    def decode_into(self, payload: bytes, out: Any) -> None:
        """Nothing."""

    def decode_all(self, payloads: Any, outs: Any) -> None:
        """Nothing."""


def payload_folder_bytes(folder: Path) -> int:
    """Bytes of shards and of parts of shards below `folder`, by the length of the files."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            if ".tar" not in name and ".part" not in name:
                continue
            try:
                total += os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118
            except OSError:  # removed meanwhile
                continue
    return total


def loopback_bytes() -> int:
    """Bytes that came over loopback since the machine was started; 0 where the system does not tell."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.strip().startswith("lo:")), 0)


def run(options: argparse.Namespace) -> dict[str, float]:
    opening: dict[str, Any] = {}
    if options.folder is not None:
        opening["folder"] = options.folder
    if options.folder_bytes:
        opening["folder_bytes"] = options.folder_bytes
    started = time.perf_counter()
    store = frame_store.open_store(options.cache, **opening)
    opened = time.perf_counter() - started
    if not options.decode:
        store._codec = NoDecoding()  # what is measured ends where decoding would begin
    loading: dict[str, Any] = {"read_ahead": options.read_ahead} if options.read_ahead else {}
    if options.sampling == "block":
        loading["shards_per_block"] = options.shards_per_block
    loader = FrameLoader(
        store,
        batch_size=BATCH_SIZE,
        sampling=options.sampling,
        seed=options.seed,
        next_epoch=options.epochs > 1,
        **loading,
    )
    largest, ended = [0], threading.Event()

    def watch() -> None:
        seconds = SECONDS_BETWEEN_LOOKS_IN_TRAINING if options.decode else SECONDS_BETWEEN_LOOKS
        while not ended.wait(seconds):
            largest[0] = max(largest[0], payload_folder_bytes(options.folder))

    if options.folder is not None:
        threading.Thread(target=watch, daemon=True).start()
    received = loopback_bytes()
    num_frames, first, started, worked = 0, None, time.perf_counter(), time.process_time()
    for batch in chain.from_iterable(repeat(loader, options.epochs)):
        first = first or time.perf_counter() - started
        num_frames += len(batch.frame_ids)
        if options.frames and num_frames >= options.frames:
            break
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    ended.set()
    return {
        "frames": num_frames,
        "seconds": seconds,
        "first": first or 0.0,
        "open": opened,
        "cpu": cpu,
        "folder": largest[0],
        "received": loopback_bytes() - received,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--folder-bytes", type=int)
    parser.add_argument("--sampling", default="block")
    parser.add_argument("--shards-per-block", type=int, default=4)
    parser.add_argument("--read-ahead", type=int)
    parser.add_argument("--decode", action="store_true")
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(run(parser.parse_args())), flush=True)


if __name__ == "__main__":
    main()
