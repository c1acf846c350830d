"""Set-up, first batch and distribution of every sampler over 100 million frames in 100 000 shards: time and memory.

    python -m tests.campaigns.bench_sampling [--frames 100000000] [--shards 100000] [--cache CACHE]

The shards have made-up, unequal sizes. Times are the median of `--rounds` without tracing. Peaks are those of one more
run under `tracemalloc`, without the array of sizes. All ranks are checked to follow the same order.

Then the CPU time of a position of `permutation` and `stratified`, by the number of frames. With `--cache`, a cache of
raw frames, also the CPU time of order and reading together: batches of 128 of both samplings, in turn, in `--pairs`
rounds. An order of more frames than the cache has reads the frame with the id modulo its number of frames.
"""

import argparse
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store import open_store
from loader.bias.distributions.every_sampling import sampling_law
from loader.sampling.plan import BatchPlan, make_plan

Sizes = npt.NDArray[np.int64]

SAMPLERS = {
    "permutation": {"sampling": "permutation"},
    "stratified": {"sampling": "stratified"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "visits of 8": {"sampling": "shards", "frames_per_visit": 8},
    "visits of 8, naive": {"sampling": "shards", "frames_per_visit": 8, "shard_choice": "uniform"},
    "blocks of 16 shards": {"sampling": "block", "shards_per_block": 16},
}
BATCH_SIZE = 256
NUM_RANKS = 3
PAIRED_BATCH_SIZE = 128
BATCHES_IN_TURN = 64
POSITIONS_TIMED = 1 << 16


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
    _print_cost_of_positions(arguments.frames)
    if arguments.cache is not None:
        _print_cost_of_batches(arguments.cache, arguments.frames, arguments.pairs)


def _print_cost_of_positions(most_frames: int) -> None:
    """CPU time of a position in blocks of batches, as a loader asks for them: the least of several runs."""
    print(
        f"\n{'frames':>12} {'permutation':>14} {'stratified':>14}   CPU time of a position, with set-up of an epoch"
    )
    num_frames = 1000
    while num_frames <= most_frames:
        costs = []
        for sampling in ("permutation", "stratified"):
            plan = plan_of([num_frames], sampling=sampling)
            num_batches = max(1, min(num_frames, POSITIONS_TIMED) // BATCH_SIZE)
            seconds = [
                _cpu_seconds(lambda p=plan, e=epoch, n=num_batches: list(islice(p.batches(e), n)))
                for epoch in range(9)
            ]
            costs.append(min(seconds) / num_batches / BATCH_SIZE)
        print(f"{num_frames:12} {costs[0] * 1e9:11.0f} ns {costs[1] * 1e9:11.0f} ns")
        num_frames *= 10


def _print_cost_of_batches(cache: str, most_frames: int, num_pairs: int) -> None:
    """CPU time of order and reading of `stratified` over that of `permutation`, in rounds that take turns."""
    with open_store(cache) as store:
        buffer = np.empty((PAIRED_BATCH_SIZE, *store.frame_shape), store.frame_dtype)

        def read(plan: BatchPlan, epoch: int) -> None:
            for ids in islice(plan.batches(epoch), BATCHES_IN_TURN):
                store.read_frames(ids % len(store), buffer[: len(ids)])

        print(
            f"\n{cache}: {len(store)} frames {store.frame_shape}; {num_pairs} pairs of {BATCHES_IN_TURN} batches"
        )
        print(f"{'frames':>12} {'permutation':>14} {'ratio':>8} {'quartiles':>16} {'least, most':>16}")
        for num_frames in sorted({len(store), 10**6, most_frames}):
            plans = [
                plan_of([num_frames], sampling=sampling, batch_size=PAIRED_BATCH_SIZE)
                for sampling in ("permutation", "stratified")
            ]
            for plan in plans:
                read(plan, 0)
            seconds = np.empty((num_pairs, 2))
            for number in range(num_pairs):
                for which in (0, 1) if number % 2 else (1, 0):
                    seconds[number, which] = _cpu_seconds(lambda p=plans[which], e=number: read(p, e))
            ratios = seconds[:, 1] / seconds[:, 0]
            num_read = min(BATCHES_IN_TURN, len(plans[0])) * PAIRED_BATCH_SIZE
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            print(
                f"{num_frames:12} {np.median(seconds[:, 0]) / num_read * 1e6:11.1f} us {middle:8.3f} "
                f"{low:8.3f}-{high:.3f} {ratios.min():8.3f}-{ratios.max():.3f}"
            )


def _cpu_seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def unequal_sizes(num_frames: int, num_shards: int) -> Sizes:
    """Sizes between a tenth of and almost twice the average, whose sum is `num_frames`."""
    average = num_frames // num_shards
    sizes = np.random.default_rng(0).integers(average // 10, 2 * average - average // 10, num_shards)
    missing = num_frames - int(sizes.sum())
    sizes += missing // num_shards
    sizes[: missing % num_shards] += 1
    return sizes


def plan_of(sizes: npt.ArrayLike, **options: object) -> BatchPlan:
    """The plan over shards whose frames lie video by video, which is all that strata ask of a store."""
    store: Any = SimpleNamespace(source_order=SimpleNamespace(order=None))
    return make_plan(sizes, store=store, **{"batch_size": BATCH_SIZE, **options})


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
    parser.add_argument("--cache", help="of raw frames")
    parser.add_argument("--pairs", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    main()
