"""Set-up, first batch and distribution of every sampler over 100 million frames in 100 000 shards: time and memory.

    python -m tests.campaigns.bench_sampling [--frames 100000000] [--shards 100000]

The shards have made-up, unequal sizes. Times are the median of `--rounds` without tracing. Peaks are those of one more
run under `tracemalloc`, without the array of sizes. All ranks are checked to follow the same order.
"""

import argparse
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from loader.bias.distributions.every_sampling import sampling_law
from loader.sampling.plan import BatchPlan, make_plan

Sizes = npt.NDArray[np.int64]

SAMPLERS = {
    "permutation": {"sampling": "permutation"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "visits of 8": {"sampling": "shards", "frames_per_visit": 8},
    "visits of 8, naive": {"sampling": "shards", "frames_per_visit": 8, "shard_choice": "uniform"},
    "blocks of 16 shards": {"sampling": "block", "shards_per_block": 16},
}
BATCH_SIZE = 256
NUM_RANKS = 3


def main() -> None:
    arguments = _arguments()
    warnings.filterwarnings("ignore", message="shard_choice='uniform' is biased")
    sizes = unequal_sizes(arguments.frames, arguments.shards)
    print(f"{sizes.sum()} frames in {len(sizes)} shards of {sizes.min()} to {sizes.max()}")
    print(
        f"{'':22} {'set up':>10} {'first batch':>12} {'peak':>9} {'law':>10} {'peak':>9} {'ranks agree':>12}"
    )
    for name, options in SAMPLERS.items():
        plan, setup_seconds = _timed(lambda o=options: plan_of(sizes, **o), arguments.rounds)
        _, batch_seconds = _timed(lambda p=plan: next(p.batches(0)), arguments.rounds)
        batch_peak = peak_megabytes(lambda o=options: next(plan_of(sizes, **o).batches(0)))
        _, law_seconds = _timed(lambda p=plan: law_of(sizes, p), arguments.rounds)
        law_peak = peak_megabytes(lambda p=plan: law_of(sizes, p))
        agree = ranks_see_one_order(sizes, **options)
        print(
            f"{name:22} {setup_seconds * 1e3:7.1f} ms {batch_seconds * 1e3:9.1f} ms {batch_peak:6.1f} MB "
            f"{law_seconds * 1e3:7.1f} ms {law_peak:6.1f} MB {'yes' if agree else 'NO':>12}"
        )


def unequal_sizes(num_frames: int, num_shards: int) -> Sizes:
    """Sizes between a tenth of and almost twice the average, whose sum is `num_frames`."""
    average = num_frames // num_shards
    sizes = np.random.default_rng(0).integers(average // 10, 2 * average - average // 10, num_shards)
    missing = num_frames - int(sizes.sum())
    sizes += missing // num_shards
    sizes[: missing % num_shards] += 1
    return sizes


def plan_of(sizes: Sizes, **options: object) -> BatchPlan:
    return make_plan(sizes, **{"batch_size": BATCH_SIZE, **options})


def law_of(sizes: Sizes, plan: BatchPlan) -> object:
    return sampling_law(sizes, plan.spec, batch_size=BATCH_SIZE)


def ranks_see_one_order(sizes: Sizes, **options: object) -> bool:
    """Whether the batches of all ranks, in turn, are the next positions of the order of each rank."""
    plans = [plan_of(sizes, rank=rank, world_size=NUM_RANKS, **options) for rank in range(NUM_RANKS)]
    start = plans[0].num_positions // 2 // BATCH_SIZE * BATCH_SIZE
    stop = start + NUM_RANKS * BATCH_SIZE
    shown = np.concatenate([next(plan.batches(1, first_position=start)) for plan in plans])
    return all(np.array_equal(plan.order(1).ids(start, stop), shown) for plan in plans)


def peak_megabytes(run: Callable[[], object]) -> float:
    """Peak memory of Python and NumPy during a call, less the memory before it."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _timed(run: Callable[[], object], rounds: int) -> tuple[object, float]:
    seconds, result = [], None
    for _ in range(rounds):
        started = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - started)
    return result, statistics.median(seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=10**8)
    parser.add_argument("--shards", type=int, default=10**5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
