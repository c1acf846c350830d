"""Raw batches copied past the CPU's caches, beside the ordinary copy, by the size of a batch.

    python -m tests.campaigns.reading.bench_streamed [--rounds 7] [--seconds 0.2]

Rows of 150,528 bytes at random places of 1.2 GB go into six buffers in turn, on one and on two threads. "read" adds up
each batch after the copy, as a loss or an augmentation would. The ratio is streamed to ordinary, the median of the
rounds, with the lowest and the highest one: it tells from which size on streaming helps (`MIN_STREAMED_BYTES`).
"""

import argparse
import statistics
from typing import Any

import numpy as np
import torch

from frame_store.files.streamed_rows import streaming_gather
from tests.campaigns.reading.bench_limits import BUFFERS, in_threads

NUM_ROWS, ROW_BYTES = 8000, 224 * 224 * 3
BATCH_SIZES = (1, 4, 16, 32, 48, 64, 128)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    memory = np.random.default_rng(0).integers(0, 256, NUM_ROWS * ROW_BYTES, np.uint8)
    for num_threads in (1, 2):
        for reads in (False, True):
            for batch_size in BATCH_SIZES:
                ratios = []
                for number in range(options.rounds):
                    rates = {}
                    for streams in (False, True)[:: -1 if number % 2 else 1]:
                        work = copying(memory, batch_size, num_threads, streams=streams, reads=reads)
                        rates[streams] = in_threads(work, options.seconds, num_threads)
                    ratios.append(rates[True] / rates[False])
                print(
                    f"{num_threads} threads, {'copied and read' if reads else 'copied':15} "
                    f"{batch_size * ROW_BYTES / 1e6:6.1f} MB a batch: {statistics.median(ratios):.2f} "
                    f"({min(ratios):.2f} to {max(ratios):.2f})",
                    flush=True,
                )


def copying(memory: Any, batch_size: int, num_threads: int, *, streams: bool, reads: bool) -> Any:
    gather = streaming_gather()
    if gather is None:
        raise SystemExit("install llvmlite: it compiles the streamed copy")
    rows_at_each_byte = torch.from_numpy(memory).as_strided((len(memory) - ROW_BYTES + 1, ROW_BYTES), (1, 1))

    def work(thread: int) -> Any:
        random = np.random.default_rng(thread)
        buffers = np.zeros((BUFFERS // num_threads, batch_size, ROW_BYTES), np.uint8)
        turn = 0

        def step() -> int:
            nonlocal turn
            turn += 1
            rows = buffers[turn % len(buffers)]
            first_bytes = random.integers(0, NUM_ROWS, batch_size) * ROW_BYTES
            if streams:
                gather(memory, first_bytes, rows)
            else:
                torch.index_select(
                    rows_at_each_byte, 0, torch.from_numpy(first_bytes), out=torch.from_numpy(rows)
                )
            if reads:
                torch.from_numpy(rows).view(torch.int64).sum()
            return batch_size

        return step

    return work


if __name__ == "__main__":
    main()
