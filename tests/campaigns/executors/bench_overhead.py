"""What a Ray cluster costs over the local pool, with the same number of workers.

    python -m tests.campaigns.executors.bench_overhead [--videos 200] [--rounds 3] [--workers 2] [--scratch DIR]

Each round builds a cache of the same sample videos (`python -m frame_cache_tools.samples`) with both, in turn, in one
process. The time is from the first job that is submitted to the last outcome. The start of the cluster and of the local
processes is told apart: both are warm from a few jobs of another kind. Prints each round, the medians and their ratio.
"""

import argparse
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frame_cache_tools.samples.sample_videos import sample_specs, write_samples

import cache_builder
from cache_builder.executors import Executor, RayExecutor, WorkerPool
from tests.campaigns.executors.losses import digest_of
from tests.support.executors.pool_jobs import Number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {"local": [], "ray:local": []}
    starts: dict[str, list[float]] = {name: [] for name in seconds}
    digests = set()
    with tempfile.TemporaryDirectory(prefix="executors-", dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        deque(write_samples(folder / "videos", sample_specs(arguments.videos), num_workers=2), maxlen=0)
        for number in range(arguments.rounds):
            order = [*seconds] if number % 2 else [*reversed(seconds)]
            for name in order:
                cache = folder / f"{number}-{name.replace(':', '-')}"
                with timed() as times:
                    cache_builder.build_cache(
                        folder / "videos", cache, workers=arguments.workers, executor=name
                    )
                seconds[name].append(times["last"] - times["first"])
                starts[name].append(times["first"] - times["begun"])
                digests.add(digest_of(cache))
            print(*(f"{name} {each[-1]:.2f} s" for name, each in seconds.items()), flush=True)
    assert len(digests) == 1, "other bytes"
    local, ray = (statistics.median(each) for each in seconds.values())
    pairs = [ray / local for local, ray in zip(*seconds.values(), strict=True)]
    print(f"{arguments.videos} sample videos, {arguments.workers} workers: ")
    print(
        f"local {local:.2f} s, ray {ray:.2f} s, ratio {ray / local:.3f}; of the rounds {statistics.median(pairs):.3f}"
    )
    print(*(f"start of {name} {statistics.median(each):.1f} s" for name, each in starts.items()), sep=", ")


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """When the executor was asked for its first outcome, was warm, and gave its last one, by `time.monotonic`."""
    times: dict[str, float] = {}
    kept = {kind: kind.next_outcome for kind in (WorkerPool, RayExecutor)}

    def next_outcome(executor: Executor) -> object:
        ask = kept[type(executor)]
        if "first" not in times:
            times["begun"] = time.monotonic()
            waiting = list(executor._waiting)
            executor._waiting.clear()
            for _ in range(8):
                executor.submit(Number(value=1))
            for _ in range(8):
                ask(executor)
            for job in waiting:
                executor.submit(job)
            times["first"] = time.monotonic()
        outcome = ask(executor)
        times["last"] = time.monotonic()
        return outcome

    for kind in kept:
        kind.next_outcome = next_outcome
    try:
        yield times
    finally:
        for kind, ask in kept.items():
            kind.next_outcome = ask


if __name__ == "__main__":
    main()
