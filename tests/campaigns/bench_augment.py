"""The exercise's augmentation on CPU against torchvision's, on the same images in interleaved rounds.

    python -m tests.campaigns.bench_augment [--images 64] [--rounds 7] [--workers 2] [--blocks] [--whole]

torchvision runs in worker processes, as in a DataLoader, on prepared float images. Ours runs in the same number of
threads, starts from uint8 and writes into reused buffers, once as numba compiles it and once by torch alone. Each uses
one torch thread. `--blocks` also measures ours by torch for several `PIXELS_PER_BLOCK`, `--whole` also the chain of
whole 1080p frames (crop and jitter, both from uint8).
Ratios compare neighbours in time; the deviation is from torchvision with the same parameters.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from unittest.mock import patch

import numpy as np
import torch
from torchvision import transforms

from loader import Augmentation, exercise_augmentation
from loader.augment import apply as augment_chain
from tests.support.augmentation import torchvision_chain


def main() -> None:
    arguments = _arguments()
    print(f"torch {torch.__version__}, {arguments.workers} workers, {arguments.rounds} rounds")
    compare("jitter, 224x224", smooth_frames(arguments.images, 224, 224), arguments, cached=True)
    if arguments.whole:
        compare("crop and jitter, 1080x1920", smooth_frames(4, 1080, 1920), arguments, cached=False)
    if arguments.blocks:
        compare_blocks(smooth_frames(arguments.images, 224, 224), arguments)
    print(f"largest deviation over 240 images: {largest_deviation():.2g} of 1")


def smooth_frames(num_frames: int, height: int, width: int) -> torch.Tensor:
    """Colours that vary slowly, with noise: uint8 (B, 3, H, W), channels_last."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.rand(num_frames, 3, 9, 9, generator=chance)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear") * 235
    noisy = smooth + 20 * torch.rand(smooth.shape, generator=chance)
    return noisy.to(torch.uint8).contiguous(memory_format=torch.channels_last)


def compare(name: str, frames: torch.Tensor, arguments: argparse.Namespace, *, cached: bool) -> None:
    """Milliseconds of wall time per image with all workers, and the ratio of neighbouring rounds."""
    with _Processes(frames, arguments.workers, cached=cached) as theirs:
        ours = _threads(frames, arguments.workers, exercise_augmentation(cached=cached))
        alone = _threads(frames, 1, exercise_augmentation(cached=cached))
        variants: dict[str, Callable[[int], None]] = {
            "torchvision": theirs.run,
            "ours": ours,
            "ours, 1 thread": alone,
            "torch": _by_torch(ours),
            "torch, 1 thread": _by_torch(alone),
        }
        times = _interleaved(
            variants, rounds=arguments.rounds, per_worker=len(frames), num_workers=arguments.workers
        )
    print(f"\n{name}: ms an image, median (least to most) of rounds")
    for variant, values in times.items():
        print(f"  {variant:16} {_spread([value * 1e3 for value in values])}")
    for variant in ("ours", "torch"):
        ratios = [their / our for their, our in zip(times["torchvision"], times[variant], strict=True)]
        print(f"  torchvision / {variant}: {_spread(ratios)}")


def compare_blocks(frames: torch.Tensor, arguments: argparse.Namespace) -> None:
    def with_blocks(pixels: int) -> Callable[[int], None]:
        run = _by_torch(_threads(frames, arguments.workers, exercise_augmentation(cached=True)))

        def timed(epoch: int) -> None:
            augment_chain.PIXELS_PER_BLOCK = pixels  # type: ignore[misc]
            run(epoch)

        return timed

    sizes = [224 * rows for rows in (28, 56, 112, 224)]
    times = _interleaved(
        {f"{size} pixels": with_blocks(size) for size in sizes},
        rounds=arguments.rounds,
        per_worker=len(frames),
        num_workers=arguments.workers,
    )
    print("\ntorch by block: ms an image")
    for variant, values in times.items():
        print(f"  {variant:16} {_spread([value * 1e3 for value in values])}")


def largest_deviation() -> float:
    frames, augmentation = smooth_frames(240, 64, 80), exercise_augmentation(cached=True)
    parameters = augmentation.parameters(np.arange(240), epoch=0, frame_size=(64, 80))
    result = augmentation.apply(frames, parameters)
    return max(
        float((result[index] - torchvision_chain(frame, parameters, index)).abs().max())
        for index, frame in enumerate(frames)
    )


def _interleaved(
    variants: dict[str, Callable[[int], None]], *, rounds: int, per_worker: int, num_workers: int
) -> dict[str, list[float]]:
    """Seconds per image of each round; the variants with "1 thread" do the work of one worker."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run(0)
    for epoch in range(1, rounds + 1):
        for name, run in variants.items():
            started = time.perf_counter()
            run(epoch)
            done = per_worker if name.endswith("1 thread") else per_worker * num_workers
            times[name].append((time.perf_counter() - started) / done)
    return times


def _threads(frames: torch.Tensor, num_workers: int, augmentation: Augmentation) -> Callable[[int], None]:
    pool = ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,))
    shape = (len(frames), *augmentation.output_shape((frames.shape[-2], frames.shape[-1], 3)))
    buffers = [torch.empty(shape) for _ in range(num_workers)]

    def run(epoch: int) -> None:
        jobs = [
            pool.submit(
                augmentation, frames, frame_ids=np.arange(len(frames)) + worker, epoch=epoch, out=buffer
            )
            for worker, buffer in enumerate(buffers)
        ]
        for job in jobs:
            job.result()

    return run


def _by_torch(run: Callable[[int], None]) -> Callable[[int], None]:
    """The same without numba."""

    def run_by_torch(epoch: int) -> None:
        with patch("loader.augment.augmentation.compiled_augment", return_value=None):
            run(epoch)

    return run_by_torch


class _Processes:
    """Worker processes that apply torchvision to their copy of the frames on request."""

    def __init__(self, frames: torch.Tensor, num_workers: int, *, cached: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes, self._workers = [], []
        for seed in range(num_workers):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, frames.numpy(), seed, cached), daemon=True)
            worker.start()
            self._pipes.append(ours)
            self._workers.append(worker)

    def run(self, epoch: int) -> None:
        for pipe in self._pipes:
            pipe.send(epoch)
        for pipe in self._pipes:
            pipe.recv()

    def __enter__(self) -> "_Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for worker in self._workers:
            worker.join()


def _work(pipe: Connection, frames: np.ndarray, seed: int, cached: bool) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    jitter = transforms.ColorJitter(0.5, 0.5, 0.5, 0.5)
    if cached:
        ready, chain = list(torch.from_numpy(frames).contiguous().div(255)), jitter
    else:
        ready = list(torch.from_numpy(frames))
        crop = transforms.RandomResizedCrop(224, scale=(0.9, 1))
        chain = transforms.Compose([lambda frame: frame.contiguous().div(255), crop, jitter])
    while pipe.recv() is not None:
        for image in ready:
            chain(image)
        pipe.send(None)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.2f}  ({min(values):.2f} to {max(values):.2f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--blocks", action="store_true")
    parser.add_argument("--whole", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
