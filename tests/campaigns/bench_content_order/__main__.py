"""The content order: seconds and memory of ordering by number of frames, and what it does for batches of a cache.

    python -m tests.campaigns.bench_content_order --points 1000000 10000000
    python -m tests.campaigns.bench_content_order CACHE [--piece 8] [--axes 4 8 12 24]

`--points` orders made-up coordinates, random and in 4,000 clusters, each in a process of its own; nothing is read.
CACHE is read and ordered, each timed, and not changed. Then the design effect of `stratified` is estimated over 60
epochs for the mean of 16 x 16 thumbnails: by time, by content, and both for the frames cut into pieces of `--piece`
frames that come in random order, as many short videos would. `--axes` orders again with other numbers of axes.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np

from frame_store import open_store
from frame_store.cameras import CameraGroup
from frame_store.content_order import (
    axes_of_sample,
    bisected,
    coordinates,
    read_coordinates,
    thumbnails_of,
)
from loader.bias import thumbnails
from loader.sampling.orders.nested import NestedTree
from tests.campaigns.bench_content_order.points import order_points

BATCH_SIZES = (16, 32, 64, 128)
NUM_EPOCHS = 60
FRAMES_AT_ONCE = 64


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("cache", nargs="?", type=Path)
    arguments.add_argument("--points", type=int, nargs="*", default=[])
    arguments.add_argument("--piece", type=int, default=8)
    arguments.add_argument("--axes", type=int, nargs="*", default=[])
    options = arguments.parse_args()
    for num_points in options.points:
        for kind in ("random", "clustered"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.apply(order_points, (num_points, kind)), flush=True)
    if options.cache is not None:
        measure_cache(options.cache, piece=options.piece, numbers_of_axes=options.axes)


def measure_cache(path: Path, *, piece: int, numbers_of_axes: list[int]) -> None:
    """Print the seconds and the design effects of a cache."""
    opened = open_store(path)
    store = opened.leader if isinstance(opened, CameraGroup) else opened
    started = time.monotonic()
    points = read_coordinates(store)
    read_at = time.monotonic()
    by_content = bisected(points)
    print(
        f"{len(store):,} frames: read in {read_at - started:.2f} s on one thread, "
        f"ordered in {time.monotonic() - read_at:.2f} s"
    )
    ids = store.source_order.ids_at(np.arange(len(store)))
    features = thumbnails(store)(ids)
    features = features - features.mean(axis=0)
    by_time = np.arange(len(store))
    pieces = pieces_in_random_order(len(store), piece)
    small = np.concatenate(
        [
            thumbnails_of(store.read_frames(ids[first : first + FRAMES_AT_ONCE]))
            for first in range(0, len(ids), FRAMES_AT_ONCE)
        ]
    )
    print(f"design effect by batch size{''.join(f'{size:>9}' for size in BATCH_SIZES)}")
    rows = {
        "by time": by_time,
        "by content": by_content,
        f"pieces of {piece}, by time": pieces,
        f"pieces of {piece}, by content": pieces[bisected(axes_of_sample(small[pieces]).of(small[pieces]))],
    }
    for num_axes in numbers_of_axes:
        coordinates.NUM_AXES = num_axes
        rows[f"by content, {num_axes} axes"] = bisected(axes_of_sample(small).of(small))
    for name, order in rows.items():
        effects = [design_effect(features, order, batch_size=size) for size in BATCH_SIZES]
        print(f"{name:<27}{''.join(f'{effect:>9.4f}' for effect in effects)}")


def pieces_in_random_order(num_frames: int, piece: int) -> np.ndarray:
    """Places of frames, piece after piece."""
    pieces = np.array_split(np.arange(num_frames), max(1, num_frames // piece))
    return np.concatenate([pieces[at] for at in np.random.default_rng(0).permutation(len(pieces))])


def design_effect(features: np.ndarray, order: np.ndarray, *, batch_size: int) -> float:
    """Of whole batches of `stratified` over an order of places."""
    num_frames, squares = len(order), []
    rng = np.random.default_rng(1)
    for _ in range(NUM_EPOCHS):
        tree = NestedTree(num_frames, rng.integers(0, 1 << 64, dtype=np.uint64))
        places = (tree.places_at(np.arange(num_frames)) + int(rng.integers(num_frames))) % num_frames
        whole = order[places[: num_frames - num_frames % batch_size]].reshape(-1, batch_size)
        squares += [(features[batch].mean(axis=0) ** 2).sum() for batch in whole]
    return float(batch_size * np.mean(squares) / (features**2).sum(axis=1).mean())


if __name__ == "__main__":
    main()
