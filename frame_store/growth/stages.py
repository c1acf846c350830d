"""The earlier times of a store, of which states of loaders may be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import numpy as np

from frame_store.cameras import AlignedStore, CameraGroup, aligned_store
from frame_store.growth.earlier import EarlierStore, groups_of_parts
from frame_store.manifest import PartEntry, shard_sizes_of_parts
from frame_store.protocol import FrameStore
from frame_store.reader import CacheStore
from frame_store.source_order import Int64s
from frame_store.views import JoinedGroup, RangeSelection, View, base_of, common_selection, view_of


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A store as it was at some time: its first frames, under the same ids."""

    num_frames: int
    num_videos: int
    fingerprint: str
    """Of the store as it was then. Joining generations does not change it."""


def growth_of(store: FrameStore) -> tuple[Stage, ...]:
    """What `store` was each time after a build and an append, shortest first. The last one is the store itself.

    A cache grows, and with it a group of its cameras and views of both: a view has the frames that it chose among those
    of that time. Live stores and concatenations do not grow.

    Raises:
        StoreDamagedError: a file of the cache is missing or was cut.
    """
    stages = [
        Stage(num_frames=number, num_videos=_num_videos(earlier), fingerprint=earlier.fingerprint)
        for number, earlier in _earlier_stores(store)
    ]
    own = Stage(num_frames=len(store), num_videos=_num_videos(store), fingerprint=store.fingerprint)
    return (*[stage for stage in stages if stage != own], own)


def earlier_store(
    store: FrameStore, *, num_frames: int, fingerprint: str, generation_frames: Sequence[int] = ()
) -> FrameStore | None:
    """`store` as it was when it had `num_frames` frames and this `fingerprint`; None if it never had.

    It is `store` itself where nothing has changed. Else it reads the files of the cache as it is now, and can do what
    `store` can. A view whose frames were all frames of a cache then may be that cache.

    Args:
        store: any store.
        num_frames: frames of the store then.
        fingerprint: of the store then.
        generation_frames: frames of each generation of the cache then, which decide its shards (a compaction may have
            cut them anew since). Empty where shards do not matter: then each part has the shards that it was built
            with.

    Raises:
        StoreDamagedError: a file of the cache is missing or was cut.
    """
    frames_now = generation_frames_of(store)
    is_same = not generation_frames or tuple(generation_frames) == frames_now
    if is_same and num_frames == len(store) and fingerprint == store.fingerprint:
        return store
    for number, earlier in _earlier_stores(store, generation_frames, num_frames=num_frames):
        if number == num_frames and earlier.fingerprint == fingerprint:
            return earlier
    return None


def generation_frames_of(store: FrameStore) -> tuple[int, ...]:
    """Frames of each generation of the cache below `store`; empty for a store that does not grow."""
    cache = _cache_below(store)
    if cache is None:
        return ()
    if isinstance(cache, EarlierStore):
        return cache.generation_frames
    return tuple(each.entry.num_frames for each in cache.generations)


def has_grown(store: FrameStore) -> bool:
    """Whether the cache below `store` was appended to, also where its generations were joined since."""
    cache = _cache_below(store)
    return cache is not None and len(_parts(cache)) > 1


def joined_shard_sizes(store: FrameStore) -> Int64s | None:
    """Frames of `store` in each shard if all generations of its cache were joined, shape (S,); None if there is one."""
    cache = _cache_below(store)
    if cache is None or len(generation_frames_of(store)) < 2:
        return None
    common = cache.common
    sizes = shard_sizes_of_parts(
        _parts(cache), container=common.container, frames_per_shard=common.frames_per_shard
    )
    return (
        np.diff(store.selection.num_below(np.cumsum(sizes)), prepend=0) if isinstance(store, View) else sizes
    )


def num_content_orders(store: FrameStore) -> int:
    """How many orders by content follow each other in the cache below `store`."""
    cache = _cache_below(store)
    if cache is None:
        return 0
    return sum(entry.first_frame < len(cache) for entry in cache.manifest.content_orders)


def earlier_numbers_of_videos(store: FrameStore) -> list[int]:
    """Videos of `store` each time before it grew; empty for a store that has not grown."""
    cache = _cache_below(store)
    if cache is None:
        return []
    ends = [*accumulate(num_videos for _, num_videos in _ends(cache))][:-1]
    if isinstance(store, View):
        return [int(number) for number in np.searchsorted(store.video_ids, ends)]
    return ends


def numbers_of_frames(store: FrameStore) -> list[int]:
    """Frames of the cache below `store` after each of its builds, the last one included; no file is opened."""
    cache = _cache_below(store)
    return [] if cache is None else [*accumulate(num_frames for num_frames, _ in _ends(cache))]


def num_forgotten_in(store: FrameStore) -> int:
    """Videos that the cache below `store` has forgotten; 0 for a store that does not grow."""
    cache = _cache_below(store)
    return 0 if cache is None else len(cache.manifest.forgotten_videos)


def _num_videos(store: FrameStore) -> int:
    return len(store.video_ids) if isinstance(store, View) else store.source_order.num_videos


def _cache_below(store: FrameStore) -> CacheStore | None:
    """The cache that counts the frames of `store`, of a group that of the first camera; None if it is no cache."""
    base = base_of(store)
    if isinstance(base, CameraGroup) and not isinstance(base, JoinedGroup):
        base = base.leader
    return base if isinstance(base, CacheStore) else None


def _earlier_stores(
    store: FrameStore, generation_frames: Sequence[int] = (), *, num_frames: int | None = None
) -> Iterator[tuple[int, FrameStore]]:
    """Earlier stores with their numbers of frames, shortest first; those of `num_frames` alone where it is given."""
    cache, base = _cache_below(store), base_of(store)
    if cache is None:
        return
    ends = [*accumulate(frames for frames, _ in _ends(cache))]
    for num_parts, end in enumerate(ends, start=1):
        held = int(store.selection.num_below(np.array([end]))[0]) if isinstance(store, View) else end
        if not held or num_frames not in {None, held}:
            continue
        frames = generation_frames or [part.num_frames for part in _parts(cache)[:num_parts]]
        if not groups_of_parts(_parts(cache)[:num_parts], frames):
            continue
        earlier = _first_parts(base, num_parts, frames)
        if earlier is None:
            return
        if held == end:
            yield held, earlier
        if isinstance(store, View):
            yield held, _restricted(store, earlier, end)


def _restricted(view: View, earlier: FrameStore, num_frames: int) -> View:
    """The frames of a view among the first `num_frames` of its base, which are those of `earlier`."""
    first = RangeSelection(np.zeros(1, np.int64), np.array([num_frames], np.int64))
    num_videos = int(np.searchsorted(view.video_ids, earlier.source_order.num_videos))
    return view_of(
        earlier,
        common_selection(view.selection, first, num_frames=num_frames),
        video_ids=view.video_ids[:num_videos].copy(),
        frames_of_video=view.frames_of_video[:num_videos],
    )


def _first_parts(base: FrameStore, num_parts: int, generation_frames: Sequence[int]) -> FrameStore | None:
    """A cache, or a group of cameras, when it had that many parts; None for cameras that did not grow together."""
    if isinstance(base, CacheStore):
        return EarlierStore.of_store(base, num_parts, generation_frames=generation_frames)
    assert isinstance(base, CameraGroup)  # `_cache_below` has looked
    caches = {
        name: store.store if isinstance(store, AlignedStore) else store
        for name, store in base.cameras.items()
    }
    ends = _ends(cast("CacheStore", base.leader))
    if any(not isinstance(cache, CacheStore) or _ends(cache) != ends for cache in caches.values()):
        return None
    earlier = {
        name: EarlierStore.of_store(cast("CacheStore", cache), num_parts, generation_frames=generation_frames)
        for name, cache in caches.items()
    }
    leader = next(iter(earlier.values()))
    return cast(
        "FrameStore",
        CameraGroup({name: aligned_store(own, leader, name=name) for name, own in earlier.items()}),
    )


def _parts(cache: CacheStore) -> tuple[PartEntry, ...]:
    return cache.parts if isinstance(cache, EarlierStore) else cache.tree.parts


def _ends(cache: CacheStore) -> list[tuple[int, int]]:
    return [(part.num_frames, part.num_videos) for part in _parts(cache)]
