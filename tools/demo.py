"""The main job from end to end: sample videos, a cache, its verification, batches in every sampling mode.

`python -m frame_cache_tools.demo OUT` works in the folder OUT. A second run keeps the files of the first.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from frame_cache_tools.samples import main as make_sample_videos
from frame_cache_tools.samples import read_frame

import frame_store
from cache_builder import open_videos
from cache_builder.cli import PathName, cache_build, cache_info, cache_verify
from frame_store.protocol import FrameStore
from frame_store.shared import counted
from loader import FrameBatch, FrameLoader

BATCH_SIZE = 128
BATCHES_PER_MODE = 20
LIVE_BATCHES = 1
MODES: dict[str, dict[str, Any]] = {
    "permutation": {},
    "stratified": {},
    "iid": {},
    "sequential": {},
    "shards": {"shards_per_batch": 16, "frames_per_visit": 8},
}


@click.command()
@click.argument("folder", metavar="OUT", type=PathName(path_type=Path))
@click.option("--count", default=200, show_default=True, help="Number of sample videos.")
def main(folder: Path, count: int) -> None:
    """Run every step in the folder OUT, and print the command that does the same by hand."""
    videos, cache = folder / "videos", folder / "cache"
    _step("Sample videos", f"python -m frame_cache_tools.samples {videos}")
    _run(make_sample_videos, str(videos), "--count", str(count))
    _step("Build the cache", f"cache-build {videos} --out {cache}")
    _run(cache_build, str(videos), "--out", str(cache))
    _step("What is in it", f"cache-info {cache}")
    _run(cache_info, str(cache))
    _step("Check every byte of it", f"cache-verify {cache}")
    _run(cache_verify, str(cache))
    _step("Batches of 128", "FrameLoader(store, batch_size=128, sampling=...)")
    cached = frame_store.open_store(cache)
    live = open_videos(videos, size=224, scan_cache=folder / "cache.scan")
    click.echo(
        f"{'store':8} {'sampling':12} {'images/s':>9} {'videos in a batch':>18} {'frames with right numbers':>28}"
    )
    try:
        _show(live, "live", "permutation", {}, LIVE_BATCHES)
        blocks = {"block": {"shards_per_block": min(4, len(cached.shard_sizes))}}
        for mode, arguments in (MODES | blocks).items():
            _show(cached, "cached", mode, arguments, BATCHES_PER_MODE)
    finally:
        live.close()
    click.echo(f"\nYour own videos: make cache VIDEOS=dir/    This cache stays in {cache}.")


def _show(store: FrameStore, kind: str, mode: Any, arguments: dict[str, Any], num_batches: int) -> None:  # noqa: ANN401
    loader = FrameLoader(store, batch_size=BATCH_SIZE, sampling=mode, **arguments)
    started = time.perf_counter()
    batches = list(_take(loader, num_batches))
    seconds = time.perf_counter() - started
    num_frames = sum(len(batch.frame_ids) for batch in batches)
    num_videos = np.mean([len(set(batch.video_ids.tolist())) for batch in batches])
    num_right = sum(_count_right(batch) for batch in batches)
    click.echo(
        f"{kind:8} {mode:12} {num_frames / seconds:9.0f} {num_videos:18.1f} {f'{num_right} of {num_frames}':>28}"
    )
    if num_right != num_frames:
        raise click.ClickException(
            f"{kind} {mode}: {counted(num_frames - num_right, 'frame is', 'frames are')} not the ones asked for"
        )


def _take(loader: FrameLoader, num_batches: int) -> Iterator[FrameBatch]:
    batches = iter(loader)
    try:
        yield from islice(batches, num_batches)
    finally:
        batches.close()  # type: ignore[attr-defined]  # closes the generator now, so that it reads ahead no further


def _count_right(batch: FrameBatch) -> int:
    """Frames whose pixels show the video number and the frame number that the batch states."""
    pixels = batch.frames.permute(0, 2, 3, 1).numpy()
    stated = zip(batch.video_ids.tolist(), batch.frame_in_video.tolist(), strict=True)
    return sum(read_frame(frame) == numbers for frame, numbers in zip(pixels, stated, strict=True))


def _step(title: str, command: str) -> None:
    click.echo(f"\n== {title}\n   {command}")


def _run(command: Callable[..., Any], *arguments: str) -> None:
    try:
        command(list(arguments))
    except SystemExit as stop:
        if stop.code:
            raise


if __name__ == "__main__":
    main()
