"""Caches of several generations, put together from caches of one that hold the same frames."""

import shutil

import msgspec

from frame_store.content_order import entry_of_file, write_order_file
from frame_store.manifest import encode_manifest, read_trees
from frame_store.names import manifest_name
from frame_store.reader import CacheStore
from tests.support.caches.camera_cache import (
    episode_name,
    write_camera_cache,
    write_plain_cache,
    write_shared_columns,
)
from tests.support.content_orders.by_content import order_by_content
from tests.support.grown.steps import grow

GENERATIONS = ((7, 0, 12, 5), (3, 9), (11,))
"""Decoded frames of the videos of each generation."""


def write_grown(folder, *, generations=GENERATIONS, cameras=(), columns=True, content=True, **options):
    """A cache of several generations at `folder/cache`, put together from caches at `folder/0`, `folder/1`, ...

    Returns the cache, and the list of those. `options` are those of `write_camera`.
    """
    parts, first = [], 0
    for number, sizes in enumerate(generations):
        part = folder / str(number)
        names = tuple(episode_name(first + video) for video in range(len(sizes)))
        if cameras:
            write_camera_cache(part, cameras=cameras, columns=columns, sizes=sizes, names=names, **options)
        else:
            write_plain_cache(part, sizes=sizes, names=names, **options)
            if columns:
                write_shared_columns(part, sizes)
        if content:
            write_order(part)
        parts.append(part)
        first += len(sizes)
    cache = shutil.copytree(parts[0], folder / "cache")
    for part in parts[1:]:
        grow(cache, part)
    return cache, parts


def write_order(cache):
    """Write a content order into a fresh cache, by the frames of its first camera, and into its first manifest."""
    (tree, *_) = read_trees(cache)
    with CacheStore.of_tree(tree) as store:
        file = write_order_file(cache, order_by_content(store))
    entry = entry_of_file(file, first_frame=0, num_frames=tree.num_frames)
    (cache / entry.folder).mkdir()
    (cache / file.name).rename(cache / entry.file.name)
    manifest = msgspec.structs.replace(tree.manifest, content_orders=[entry])
    (cache / manifest_name(0)).write_bytes(encode_manifest(manifest))
