"""What generations cost: opening many, and reading frames of one and of 16 generations, interleaved.

    python -m tests.campaigns.growing.bench_generations [--frames 4096] [--size 224] [--rounds 9] [--encodings raw jpeg]

Caches of equal frames are written into a temporary folder: one of a single generation, others of several, with as many
frames per shard. Each round measures all of them, in another order each time, so that what slows the machine down
slows all of them down. Printed are medians, and the ratio to a single generation, by the clock and by the processor's
time; on a busy machine only the second means something.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frame_store import open_store
from frame_store.manifest import Encoding
from loader import FrameLoader
from tests.support.caches.golden_stores import write_store
from tests.support.grown.steps import grow

ENCODINGS = {"raw": Encoding(name="raw"), "jpeg": Encoding(name="jpeg", quality=95, chroma="444")}
NUM_GENERATIONS = (1, 16)
BATCH = 128


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--frames", type=int, default=4096)
    arguments.add_argument("--size", type=int, default=224)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--encodings", nargs="+", default=["raw", "jpeg"], choices=list(ENCODINGS))
    options = arguments.parse_args()
    for encoding in options.encodings:
        with tempfile.TemporaryDirectory(prefix="generations") as folder:
            caches = {
                number: write_cache(
                    Path(folder) / str(number), number, encoding, options.frames, options.size
                )
                for number in NUM_GENERATIONS
            }
            for name, measure in (
                ("open, ms", open_ms),
                ("read_frames, us", read),
                ("FrameLoader, us", load),
            ):
                report(f"{encoding} {name}", caches, measure, options.rounds)


def write_cache(path: Path, num_generations: int, encoding: str, num_frames: int, size: int) -> Path:
    """A cache of so many generations with `num_frames` frames together: gradients with noise."""
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 24, (size, size, 3), np.uint8)
    ramp = np.add.outer(np.arange(size), np.arange(size))[..., None] % 200
    for number, frame_ids in enumerate(np.array_split(np.arange(num_frames), num_generations)):
        frames = ((ramp + frame_ids[:, None, None, None] * 3) % 200 + texture).astype(np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = frame_ids % 251, frame_ids // 251
        made = path if number == 0 else path.with_name(f"{path.name}.{number}")
        write_store(
            made,
            "wds",
            ENCODINGS[encoding],
            frames,
            frames_per_shard=128,
            layout="shuffled",
            video_paths=[f"{number}/a.mp4", f"{number}/b.mp4"],
        )
        if number:
            for folder in made.glob("gen-*"):  # moved, where `grow` would copy it
                folder.rename(path / folder.name)
            grow(path, made)
    return path


class Clocks(NamedTuple):
    """Seconds that something took."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> "Clocks":
        return cls(time.perf_counter(), time.process_time())

    def since(self, per: float) -> tuple[float, float]:
        """Seconds since, divided by `per`."""
        now = Clocks.now()
        return (now.wall - self.wall) / per, (now.cpu - self.cpu) / per


def open_ms(cache: Path, seed: int) -> tuple[float, float]:
    """Milliseconds to open the cache and to read one frame's row; the files are in the page cache."""
    del seed
    started = Clocks.now()
    with open_store(cache) as store:
        store.rows_of([0])
    return started.since(1e-3)


def read(cache: Path, seed: int) -> tuple[float, float]:
    """Microseconds a frame of `read_frames`, in batches of a permutation, into one buffer."""
    with open_store(cache) as store:
        order = np.random.default_rng(seed).permutation(len(store))[: BATCH * 32].reshape(-1, BATCH)
        out = np.empty((BATCH, *store.frame_shape), store.frame_dtype)
        store.read_frames(order[0], out)
        started = Clocks.now()
        for ids in order[1:]:
            store.read_frames(ids, out)
        return started.since((order.size - BATCH) * 1e-6)


def load(cache: Path, seed: int) -> tuple[float, float]:
    """Microseconds a frame of a `FrameLoader`, after its first batch."""
    with open_store(cache) as store:
        batches = iter(FrameLoader(store, batch_size=BATCH, sampling="permutation", seed=seed))
        next(batches)
        started, num_frames = Clocks.now(), 0
        for batch in batches:
            num_frames += len(batch.frame_ids)
            if num_frames >= BATCH * 32:
                break
        return started.since(num_frames * 1e-6)


def report(name: str, caches: dict[int, Path], measure, rounds: int) -> None:
    """Medians over the rounds, and the median of the ratios within a round."""
    figures: dict[int, list[tuple[float, float]]] = {number: [] for number in caches}
    shuffler = random.Random(0)
    for cache in caches.values():
        measure(cache, 0)
    for number in range(rounds):
        order = list(caches)
        shuffler.shuffle(order)
        for each in order:
            figures[each].append(measure(caches[each], number))
    first = figures[min(caches)]
    for number, found in figures.items():
        for clock, what in enumerate(Clocks._fields):
            ratios = [one[clock] / other[clock] for one, other in zip(found, first, strict=True)]
            print(
                f"{name}, {what}: {number} generations: median {statistics.median(each[clock] for each in found):.5g}, "
                f"ratio to one {statistics.median(ratios):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
