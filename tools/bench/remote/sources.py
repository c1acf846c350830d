"""What is measured at a URL: `FrameLoader` over the store, and bare requests by the same library.

Each source opens the store in its own process, for a client does not survive a fork.
"""

import itertools
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from frame_cache_tools.bench.measure import KeepResult, Slice, SliceRule, measure_counters

from frame_store import open_store
from frame_store.errors import ObjectStoreError
from frame_store.protocol import FrameStore
from frame_store.remote import Connections, RemoteUrl, RetryPolicy

PART_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class FramesAtUrl:
    """A cache in an object store."""

    url: RemoteUrl
    mirror: Path
    """Folder of the small files, which all rows share."""
    folder_bytes: int | None
    """With it, shards are downloaded to a folder that is new for each round; None: payloads come by ranges."""

    def open(self) -> FrameStore:
        """See `frame_store.open_store`."""
        if self.folder_bytes is None:
            by_ranges: FrameStore = open_store(self.url, folder=self.mirror)
            return by_ranges
        folder = tempfile.mkdtemp(prefix="folder-", dir=self.mirror)
        from_folder: FrameStore = open_store(self.url, folder=folder, folder_bytes=self.folder_bytes)
        return from_folder


@dataclass(frozen=True, kw_only=True)
class FrameRequest:
    """Where a frame lies: an object and its bytes."""

    key: str
    start: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class BareRanges:
    """Ranged GETs of single frames, in threads. No loader by ranges can be faster, but for frames that lie together."""

    url: RemoteUrl
    requests: tuple[FrameRequest, ...]
    at_once: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        get = _bare_get(self.url)

        def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
            for each in itertools.cycle(self.requests[thread :: self.at_once] or self.requests):
                if stop.is_set():
                    return
                get(each.key, each.start, each.num_bytes)
                add(1)

        return measure_counters(work, self.at_once, rule, keep)


@dataclass(frozen=True, kw_only=True)
class BareShards:
    """Whole shards in parts, in threads, into memory; counted in frames. No loader by shards can be faster."""

    url: RemoteUrl
    shards: tuple[FrameRequest, ...]
    bytes_per_frame: float
    at_once: int

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        get = _bare_get(self.url)
        parts = [
            (shard.key, start, min(PART_BYTES, shard.num_bytes - start))
            for shard in self.shards
            for start in range(0, shard.num_bytes, PART_BYTES)
        ]

        def work(thread: int, add: Callable[[int], None], stop: threading.Event) -> None:
            num_bytes, num_frames = 0, 0
            for each in itertools.cycle(parts[thread :: self.at_once] or parts):
                if stop.is_set():
                    return
                num_bytes += get(*each)
                now = int(num_bytes / self.bytes_per_frame)
                add(now - num_frames)
                num_frames = now

        return measure_counters(work, self.at_once, rule, keep)


def _bare_get(url: RemoteUrl) -> Callable[[str, int, int], int]:
    """A request by the library itself, without tries of ours; gives the number of bytes.

    It raises ObjectStoreError, without the text of the library, which has hosts.
    """
    obstore, store = Connections(url, RetryPolicy()).at_hand(PART_BYTES)  # with the settings that ours have

    def get(key: str, start: int, num_bytes: int) -> int:
        path = url.child(key).path
        try:
            return len(memoryview(obstore.get_range(store, path, start=start, length=num_bytes)))
        except Exception as error:  # noqa: BLE001 - of whatever kind the library raises
            raise ObjectStoreError(
                f"{url.object_text(key)}: a bare request failed ({type(error).__name__})"
            ) from None

    return get


def requests_of(url: RemoteUrl, mirror: Path, *, most: int) -> tuple[list[FrameRequest], list[FrameRequest]]:
    """The requests of some frames, drawn at random, and of all shards, of the first camera."""
    store = open_store(url, folder=mirror)
    trees = store.tree.generations
    keys = [f"{each.folder}/{shard.name}" for each in trees for shard in each.generation.shards]
    sizes = [shard.num_bytes for each in trees for shard in each.generation.shards]
    ids = np.random.default_rng(0).permutation(len(store))[:most]
    shard_of = np.repeat(np.arange(len(keys)), store.shard_sizes)
    frames = [
        FrameRequest(
            key=keys[shard_of[each]], start=int(row["byte_offset"]), num_bytes=int(row["byte_length"])
        )
        for each, row in zip(ids.tolist(), store.stored_index[ids], strict=True)
    ]
    store.close()
    shards = [FrameRequest(key=key, start=0, num_bytes=size) for key, size in zip(keys, sizes, strict=True)]
    return frames, shards
