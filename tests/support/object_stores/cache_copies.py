"""Caches that are put into a bucket, and batches of them compared with those of the local cache."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frame_store import open_store
from frame_store.remote import ObjectClient, RemoteUrl
from loader import FrameLoader
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, write_store

FRAME_SHAPE = (32, 40, 3)


def write_noise_cache(path: Path, num_frames: int, *, frames_per_shard: int, seed: int = 0) -> None:
    """A shuffled JPEG cache of smooth noise, in which no two frames are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (num_frames, 4, 5, 3), np.uint8)
    frames = coarse.repeat(8, axis=1).repeat(8, axis=2)
    assert frames.shape[1:] == FRAME_SHAPE
    container, encoding = GOLDEN_ENCODINGS["wds-jpeg"]
    write_store(path, container, encoding, frames, frames_per_shard=frames_per_shard, layout="shuffled")


def put_cache(cache: Path, url: str) -> int:
    """Put the files of a cache below a URL, the manifests last; the bytes of its largest shard."""
    client = ObjectClient(RemoteUrl.of(url))
    files = [path for path in cache.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: ("manifest" in path.name, path)):
        client.put_file(path.relative_to(cache).as_posix(), path)
    return max(path.stat().st_size for path in files if path.suffix == ".tar")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How long the batches of a remote cache took, all of which were those of the local cache."""

    num_batches: int
    seconds: float
    slowest_seconds: float


def compare_batches(
    local: Path,
    url: str,
    num_batches: int,
    *,
    opened: dict[str, Any],
    after: Callable[[int], None] = lambda number: None,
    **options: Any,
) -> Compared:
    """Load batches of a remote cache, and compare each frame with the local cache. `after(n)` follows batch number n.

    Raises:
        AssertionError: a batch is missing, has other frames, or other pixels.
    """
    began, number, slowest = time.monotonic(), 0, 0.0
    with open_store(url, **opened) as remote_store, open_store(local) as local_store:
        remote, expected = FrameLoader(remote_store, **options), FrameLoader(local_store, **options)
        for epoch in range(num_batches):
            remote.set_epoch(epoch)
            expected.set_epoch(epoch)
            with closing(iter(remote)) as found_batches, closing(iter(expected)) as right_batches:
                moment = time.monotonic()
                for found, right in zip(found_batches, right_batches, strict=True):
                    slowest = max(slowest, time.monotonic() - moment)
                    assert torch.equal(found.frame_ids, right.frame_ids), f"batch {number}"
                    assert torch.equal(found.frames, right.frames), f"batch {number}"
                    number += 1
                    after(number)
                    if number == num_batches:
                        seconds = time.monotonic() - began
                        return Compared(num_batches=number, seconds=seconds, slowest_seconds=slowest)
                    moment = time.monotonic()
    raise AssertionError(f"{number} batches came instead of {num_batches}")
