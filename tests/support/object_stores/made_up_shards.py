"""A folder of shards over a store whose objects are made up, so that each state of a download can be held."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from frame_store.errors import ObjectStoreError
from frame_store.remote import BoundedFolder, ObjectClient, RemoteUrl, ShardFolder, ShardObject

SHARD_BYTES, FRAMES = 100_000, 50


class Store(ObjectClient):
    """Objects whose bytes are made up; requests may be held back, or fail."""

    def __init__(self) -> None:
        super().__init__(RemoteUrl.of("s3://bucket/cache"))
        self.asked: Counter[str] = Counter()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.missing: set[str] = set()
        self.held_back: set[str] = set()

    def get_chunks(
        self, key: str, start: int, num_bytes: int, write: Callable[[memoryview, int], None]
    ) -> None:
        self.asked[key] += 1
        assert self.may_answer.wait(10)
        eventually(lambda: key not in self.held_back)
        if key in self.missing:
            raise ObjectStoreError(f"{key}: gave up after 3 attempts")
        write(memoryview(content_of(key))[start : start + num_bytes], start)


def content_of(key: str, num_bytes: int = SHARD_BYTES) -> bytes:
    return np.random.default_rng(int(key)).bytes(num_bytes)


def shard_folder(path: Path, store: Store, *, capacity: float, num_shards: int = 10) -> ShardFolder:
    shards = [ShardObject(key=str(n), name=f"s/{n}", num_bytes=SHARD_BYTES) for n in range(num_shards)]
    folder = BoundedFolder(path, max_bytes=int(capacity * SHARD_BYTES))
    return ShardFolder(store, folder, shards, num_frames=np.full(num_shards, FRAMES))


def batches_of(*shards: int) -> Iterator[Any]:
    """Each batch has all frames of a shard."""
    return iter([np.arange(shard * FRAMES, (shard + 1) * FRAMES) for shard in shards])


def is_here(folder: ShardFolder, shard: int) -> bool:
    held = folder.held(shard)
    if held is None:
        return False
    with held:
        assert held.path.read_bytes() == content_of(str(shard))
    return True


def eventually(holds: Any) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
