"""What short epochs and checks of bytes cost: ratios to reading one cache, interleaved in one process.

    python -m tests.campaigns.reading.bench_reads CACHE [--rounds 7] [--seconds 2]

Each epoch is the whole CACHE in batches of 128, so that a small one, of 2,304 frames, has many edges between epochs.
Rows: `next_epoch=False`, which begins each epoch anew; `verify_reads=True`; `reads="pread"`; and both of these. Prints
frames/s, and the median, lowest and highest ratio to the plain reads of the same round.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from frame_store import open_store
from loader import FrameLoader

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "next_epoch=False": ({}, {"next_epoch": False}),
    "verify_reads": ({"verify_reads": True}, {}),
    "pread": ({"reads": "pread"}, {}),
    "pread, verify_reads": ({"reads": "pread", "verify_reads": True}, {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    loaders = {}
    for name, (opening, loading) in ROWS.items():
        loaders[name] = FrameLoader(open_store(arguments.cache, **opening), batch_size=128, **loading)
        rate(loaders[name], 0.0)  # maps and memory
    found: dict[str, list[float]] = {name: [] for name in ROWS}
    for number in range(arguments.rounds):
        for name in [*ROWS][:: -1 if number % 2 else 1]:
            found[name].append(rate(loaders[name], arguments.seconds))
    for name, rates in found.items():
        ratios = [one / plain for one, plain in zip(rates, found["plain"], strict=True)]
        print(
            f"{name:20} {statistics.median(rates):9,.0f} frames/s, {statistics.median(ratios):.3f} of plain "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


def rate(loader: FrameLoader[Any], seconds: float) -> float:
    """Frames a second over whole epochs, for at least so long."""
    num_frames, began = 0, time.perf_counter()
    while not num_frames or time.perf_counter() - began < seconds:
        num_frames += sum(len(batch.frame_ids) for batch in loader)
    return num_frames / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
