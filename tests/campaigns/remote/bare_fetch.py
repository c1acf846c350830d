"""obstore alone: whole shards in parts of 4 MB, 16 at once, into a folder; what `block` can reach at most.

    python -m tests.campaigns.remote.bare_fetch CACHE FOLDER [--at-once 16]

CACHE is the local folder of the cache, which names the objects below `s3://bkt/cache`. Nothing is compared, no frame
is cut out, and a shard is removed as soon as it is whole. It prints one line of JSON, as `ours`.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.campaigns.remote.made_up_cache import BUCKET, CACHE

PART_BYTES = 4 << 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--at-once", type=int, default=16)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    store = S3Store(BUCKET)
    parts, shards = ThreadPoolExecutor(options.at_once), ThreadPoolExecutor(6)

    def fetch(path: Path) -> None:
        key, num_bytes = f"{CACHE}/{path.relative_to(options.cache)}", path.stat().st_size
        target = options.folder / path.name
        number = os.open(target, os.O_RDWR | os.O_CREAT)

        def part(start: int) -> None:
            length = min(PART_BYTES, num_bytes - start)
            os.pwrite(number, obstore.get_range(store, key, start=start, length=length), start)

        list(parts.map(part, range(0, num_bytes, PART_BYTES)))
        os.close(number)
        target.unlink()

    started, worked = time.perf_counter(), time.process_time()
    list(shards.map(fetch, sorted(options.cache.glob("gen-*/shards/*.tar"))))
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    print(
        json.dumps({"frames": options.frames, "seconds": seconds, "first": 0.0, "cpu": cpu, "folder": 0}),
        flush=True,
    )


if __name__ == "__main__":
    main()
