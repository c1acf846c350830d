"""Batches of a cache in an object store, behind a proxy that spoils requests and dies for a while.

    python -m tests.campaigns.remote.bad_network [--batches 1000] [--rate 0.1] [--dead 20] [--seeds 1 2] [--scratch DIR]

A cache of 4,000 JPEG frames in 40 shards is put into SeaweedFS on loopback, through the proxy. For each seed, batches
of 32 are loaded by `permutation` and ranged requests, and then by `block` with a folder of a third of the shards. Every
frame is compared with the local cache. `--rate` of all requests meet a fault, all kinds alike: dropped before or after
the store saw them, delayed, cut off in head or body, 5xx and 429, sent twice, answered twice. After half of the batches
the store dies for `--dead` seconds, and comes back. Prints requests, faults and times; ends with an error at the first
batch that is missing or wrong.
"""

import argparse
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.support.object_stores import Faults, faulty_proxy, running_seaweed
from tests.support.object_stores.cache_copies import compare_batches, put_cache, write_noise_cache
from tests.support.object_stores.seaweed import RunningStore

NUM_FRAMES, FRAMES_PER_SHARD, BATCH = 4000, 100, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--dead", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bad-network-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        write_noise_cache(folder / "cache", NUM_FRAMES, frames_per_shard=FRAMES_PER_SHARD)
        with running_seaweed(folder / "seaweed") as store:
            for seed in arguments.seeds:
                _of_seed(folder, store, seed, arguments)


def _of_seed(folder: Path, store: RunningStore, seed: int, arguments: argparse.Namespace) -> None:
    with faulty_proxy(store, Faults.of_all_kinds(arguments.rate, delay_seconds=0.1), seed=seed) as proxy:
        os.environ.update(proxy.store(store).environment)
        url = store.url(f"seed-{seed}/cache")
        shard_bytes = put_cache(folder / "cache", url)
        num_shards = NUM_FRAMES // FRAMES_PER_SHARD
        ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            "ranges, permutation": ({}, {"sampling": "permutation"}),
            "folder, block": (
                {"folder_bytes": shard_bytes * num_shards // 3},
                {"sampling": "block", "shards_per_block": 4},
            ),
        }
        for name, (opened, options) in ways.items():
            before, faults_before = proxy.counts.requests, sum(proxy.counts.faults.values())
            back: list[threading.Thread] = []

            def die(number: int, back: list[threading.Thread] = back) -> None:
                if number == arguments.batches // 2 and arguments.dead:
                    back.append(proxy.die_for(arguments.dead))

            found = compare_batches(
                folder / "cache",
                url,
                arguments.batches,
                opened={"folder": folder / f"mirror-{seed}-{name[:6]}", **opened},
                after=die,
                batch_size=BATCH,
                seed=seed,
                **options,
            )
            for thread in back:
                thread.join()
            print(
                f"seed {seed}, {name}: {found.num_batches} batches right in {found.seconds:.1f} s, the slowest after "
                f"{found.slowest_seconds:.1f} s; {proxy.counts.requests - before:,} requests, "
                f"{sum(proxy.counts.faults.values()) - faults_before:,} with a fault",
                flush=True,
            )
        print(f"seed {seed}: faults in all {dict(sorted(proxy.counts.faults.items()))}", flush=True)


if __name__ == "__main__":
    main()
