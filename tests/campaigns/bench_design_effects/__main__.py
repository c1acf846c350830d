"""Design effects of `stratified` predicted by SAMPLING.md against those measured on orders of the product.

    python -m tests.campaigns.bench_design_effects [--error 0.007] [--frames 32768 40001]

Features are made up: videos of unequal lengths whose frames drift. No frame is read. Orders of new seeds are drawn
until the relative standard error of each measured design effect, over orders, is below `--error`. Each order serves all
batch sizes and numbers of ranks, so the rows of one number of frames are not independent. Measured are the global batch
and the part of each rank; of the parts the one that deviates most is printed. Every prediction must lie within 2 %.
"""

import argparse
import sys
import time

import numpy as np

from loader.bias.nested import nested_design_effect
from tests.support.statistics.nested_populations import nested_epoch, videos_and_walks

BATCH_SIZES = (16, 24, 48, 100, 128, 512)
NUM_RANKS = (1, 2, 3, 4, 5, 6, 7, 8)
NEAR = 0.02
LEAST_ORDERS = 100


def main() -> int:
    arguments = _arguments()
    worst, num_far = 0.0, 0
    print(
        f"{'N':>7} {'B':>4} {'R':>2} {'of':>7} {'predicted':>10} {'measured':>10} {'+-':>7} {'ratio':>7} orders"
    )
    for num_frames in arguments.frames:
        features = videos_and_walks(num_frames, num_videos=arguments.videos)
        for row in rows(features, arguments.error, arguments.seconds):
            batch_size, num_ranks, of, predicted, measured, error, num_orders = row
            ratio = predicted / measured
            worst = max(worst, abs(ratio - 1))
            num_far += abs(ratio - 1) > NEAR
            print(
                f"{num_frames:7} {batch_size:4} {num_ranks:2} {of:>7} {predicted:10.5f} {measured:10.5f} "
                f"{error / measured:7.2%} {ratio:7.4f} {num_orders:6}",
                flush=True,
            )
    print(f"largest deviation {worst:.2%}; {num_far} rows deviate by more than {NEAR:.0%}")
    return int(num_far > 0)


def rows(features, goal, seconds):
    """For each batch size and number of ranks: the global batch, and the rank's part that deviates most."""
    num_frames = len(features)
    centred = features - features.mean(0)
    variance = (centred**2).sum(1).mean()
    count, totals, squares, started = 0, 0.0, 0.0, time.monotonic()
    while True:
        found = np.concatenate(list(effects_of_order(centred, seed=count))) / variance
        count, totals, squares = count + 1, totals + found, squares + found**2
        if count % LEAST_ORDERS == 0:
            means = totals / count
            errors = np.sqrt(np.maximum(squares / count - means**2, 0) / (count - 1))
            if (errors < goal * means).all() or time.monotonic() - started > seconds:
                break
    first = 0
    for batch_size in BATCH_SIZES:
        for num_ranks in NUM_RANKS:
            here = slice(first, first + 1 + num_ranks)
            first = here.stop
            (of_batch, *of_parts), (error, *of_part_errors) = means[here], errors[here]
            num_steps = num_frames // (batch_size * num_ranks)
            predicted = predict(features, batch_size * num_ranks, num_steps)
            yield batch_size, num_ranks, "batch", predicted, of_batch, error, count
            if num_ranks > 1:
                predicted = predict(features, batch_size, num_steps * num_ranks)
                rank = int(np.abs(np.array(of_parts) / predicted - 1).argmax())
                yield (
                    batch_size,
                    num_ranks,
                    f"rank {rank}",
                    predicted,
                    of_parts[rank],
                    of_part_errors[rank],
                    count,
                )


def predict(features, batch_size, num_batches):
    return nested_design_effect(features, batch_size=batch_size, num_batches=num_batches).design_effect


def effects_of_order(centred, *, seed):
    """Of the global batches of one order, and of each rank's part of them, times sigma^2, by batch size and ranks."""
    sums = np.concatenate(
        [np.zeros((1, centred.shape[1])), centred[nested_epoch(len(centred), seed=seed)].cumsum(0)]
    )
    for batch_size in BATCH_SIZES:
        parts = np.diff(sums[::batch_size], axis=0) / batch_size
        for num_ranks in NUM_RANKS:
            num_steps = len(centred) // (batch_size * num_ranks)
            by_step = parts[: num_steps * num_ranks].reshape(num_steps, num_ranks, -1)
            of_batch = batch_size * num_ranks * (by_step.mean(1) ** 2).sum(1).mean()
            yield np.append(of_batch, batch_size * (by_step**2).sum(2).mean(0))


def _arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--error", type=float, default=0.007, help="relative standard error of what is measured"
    )
    parser.add_argument("--frames", type=int, nargs="+", default=[32_768, 40_001])
    parser.add_argument(
        "--seconds", type=float, default=900, help="at most so long for each number of frames"
    )
    parser.add_argument("--videos", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
