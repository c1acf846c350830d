"""Whether many shards cost speed: the same frames in few shards and in many, interleaved rounds in one process.

    python -m tests.campaigns.reading.bench_shards --videos DIR --folder DIR [--rounds 7] [--seconds 1.0]

Builds four caches, JPEG and raw, with 80 frames in a shard and with one, and prints frames/s of `FrameLoader` with
`permutation`, and the median, lowest and highest ratio of the many to the few.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from frame_store import CacheStore
from tests.campaigns.reading.bench_limits import loading

FRAMES_PER_SHARD = (80, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    program = Path(sys.executable).with_name("cache-build")
    for encoding in ("jpeg", "raw"):
        paths = [options.folder / f"many-{encoding}-{number}" for number in FRAMES_PER_SHARD]
        for path, number in zip(paths, FRAMES_PER_SHARD, strict=True):
            flags = ["--encoding", encoding, "--frames-per-shard", str(number)]
            subprocess.run([program, "--videos", options.videos, "--out", path, *flags], check=True)
        for reads in ("map", "pread"):
            stores = [CacheStore(path, reads=reads) for path in paths]
            rates = [loading(store) for store in stores]
            for rate in rates:
                rate(options.seconds)  # maps and memory
            found = [[rate(options.seconds) for rate in rates] for _ in range(options.rounds)]
            ratios = [many / few for few, many in found]
            print(
                f"{encoding:5} {reads:6} {len(stores[0].shard_sizes):6,} shards "
                f"{statistics.median(few for few, _ in found):9,.0f} frames/s, {len(stores[1].shard_sizes):,} shards "
                f"{statistics.median(many for _, many in found):9,.0f}: {statistics.median(ratios):.3f} "
                f"({min(ratios):.3f} to {max(ratios):.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
