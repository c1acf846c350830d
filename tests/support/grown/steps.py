"""What makes a cache of one generation one of several, and changes it: appended, joined, forgotten, ordered."""

import shutil

import msgspec
import numpy as np

from frame_store import CacheStore
from frame_store.content_order import entry_of_file, write_order_file
from frame_store.manifest import (
    encode_manifest,
    joined_fingerprint,
    next_manifest,
    read_manifest,
    read_tree,
)
from frame_store.names import INDEX_DTYPE, manifest_name
from tests.support.caches.camera_cache import write_plain_cache
from tests.support.caches.golden_stores import write_generation
from tests.support.caches.tree import write_generation_json


def commit(cache, **changes):
    """Write the next version of the manifest of a cache, with changes; nothing is checked between the two."""
    after = next_manifest(read_manifest(cache), **changes)
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    return after


def grow(cache, other):
    """Append the only generation of the cache `other` to `cache`, as an append of the same videos would.

    Both have one kind of settings, and columns or a content order both or neither. Columns and content orders come too.
    """
    before, added = read_manifest(cache), read_manifest(other)
    generations = {}
    ours = {camera.name: camera.generations for camera in before.cameras} or {None: before.generations}
    theirs = {camera.name: camera.generations for camera in added.cameras} or {None: added.generations}
    for name, entries in ours.items():
        (entry,) = theirs[name]
        generations[name] = [
            *entries,
            msgspec.structs.replace(entry, first_frame=before.num_frames, first_video=before.num_videos),
        ]
    after = next_manifest(
        before,
        generations=generations,
        columns=[
            *before.columns,
            *(
                msgspec.structs.replace(entry, first_video=entry.first_video + before.num_videos)
                for entry in added.columns
            ),
        ],
        content_orders=[
            *before.content_orders,
            *(
                msgspec.structs.replace(entry, first_frame=entry.first_frame + before.num_frames)
                for entry in added.content_orders
            ),
        ],
    )
    for folder in added.folders:
        if not (cache / folder).exists():
            shutil.copytree(other / folder, cache / folder)
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    return cache


def append_videos(cache, sizes, *, scratch, ordered=False, **options):
    """Make `cache`, or append a generation of videos of `sizes` decoded frames to it, with paths of their own.

    `options` are those of `write_camera`; `scratch` is a folder for the generation alone. With `ordered` it has an
    order by content, a random one.
    """
    first = read_manifest(cache).num_videos if cache.exists() else 0
    names = [f"episode_{first + video:06d}" for video in range(len(sizes))]
    made = scratch / f"from-{first}" if first else cache
    write_plain_cache(made, sizes=sizes, names=names, **{"seed": first, "container": "zarr"} | options)
    if ordered:
        order(made, seed=first)
    return grow(cache, made) if first else cache


def join(cache, first, end):
    """Join the generations `first` to `end - 1` of a Zarr cache to one, as a compaction does: frames keep their ids."""
    before, tree = read_manifest(cache), read_tree(cache)
    old = tree.generations[first:end]
    frames = np.arange(old[0].entry.first_frame, old[-1].entry.end_frame)
    with CacheStore(cache) as store:
        index = np.array(store.stored_index[frames], INDEX_DTYPE)
        rows = store.source_order.first_row[[old[0].entry.first_video, old[-1].entry.end_video]]
        times = np.asarray(store.source_order.source_pts[slice(*rows.tolist())])
        pixels = store.read_frames(frames)
    index["video_id"] -= old[0].entry.first_video
    common = tree.common
    parts = [part for each in old for part in each.generation.built_parts]
    generation = write_generation(
        cache,
        common.container,
        common.encoding,
        pixels,
        index=index,
        videos=[video for each in old for video in each.read_videos()],
        times=times,
        frames_per_shard=common.frames_per_shard,
        layout=common.layout,
        fingerprint=joined_fingerprint([part.fingerprint for part in parts]),
    )
    generation = msgspec.structs.replace(generation, config=common.config, parts=parts)
    entry = write_generation_json(cache, generation)
    entry = msgspec.structs.replace(
        entry, first_frame=old[0].entry.first_frame, first_video=old[0].entry.first_video
    )
    entries = [*before.generations[:first], entry, *before.generations[end:]]
    after = next_manifest(before, generations={None: entries})
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    return cache


def forget(cache, *videos):
    """Forget videos, as `cache-build --forget` does."""
    before = read_manifest(cache)
    forgotten = sorted({*before.forgotten_videos, *videos})
    after = next_manifest(before, forgotten_videos=forgotten)
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    return cache


def order(cache, *, seed=0):
    """Write an order by content of all frames anew: a random one."""
    before = read_manifest(cache)
    ids = np.random.default_rng(seed).permutation(before.num_frames).astype(np.uint32)
    file = write_order_file(cache, ids)
    entry = entry_of_file(file, first_frame=0, num_frames=len(ids))
    (cache / entry.folder).mkdir()
    (cache / file.name).rename(cache / entry.file.name)
    after = next_manifest(before, content_orders=[entry])
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    return cache
