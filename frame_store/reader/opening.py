"""`open_store`: a cache by its path, with cameras or without."""

import os
from typing import Any, cast

import numpy as np

from frame_store.cameras import CameraGroup, aligned_store
from frame_store.errors import StoreDamagedError
from frame_store.manifest import CacheManifest, read_manifest
from frame_store.protocol import FrameStore
from frame_store.reader.cache_store import CacheStore, Reads
from frame_store.reader.remote import remote_cache, remote_tree, remote_trees
from frame_store.remote import RemoteUrl
from frame_store.shared import user_path, without_controls
from frame_store.source_files import ORDER_NAME
from frame_store.views import select


def open_store(
    path: str | os.PathLike[str] | RemoteUrl,
    *,
    reads: Reads = "map",
    verify_reads: bool | None = None,
    camera: str | None = None,
    generation: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    folder_bytes: int | None = None,
) -> CacheStore | Any:  # noqa: ANN401 - which of them depends on what is on the disk
    """Open the finished cache at `path`, whatever its container and encoding.

    Frames of forgotten videos are left out.

    Args:
        path: as of `CacheStore`.
        reads: as of `CacheStore`.
        verify_reads: as of `CacheStore`.
        camera: the name of a camera of a cache of cameras, which is opened alone; None opens all.
        generation: as of `CacheStore`.
        folder: as of `CacheStore`.
        folder_bytes: as of `CacheStore`. Cameras share the folder.

    Returns:
        A `CacheStore`; a `CameraGroup` of them for a cache of cameras where `camera` is None. Where videos were
        forgotten, a view of it without their frames.

    Raises:
        StoreDamagedError: as `CacheStore`, and where the cameras have other frames of their videos.
        What `CacheStore` raises.
    """
    remote = remote_cache(path, folder=folder, folder_bytes=folder_bytes)
    if remote is not None:
        trees = remote_trees(remote) if camera is None else [remote_tree(remote, camera=camera)]
        of_trees = [
            CacheStore.of_tree(
                tree if generation is None else tree.up_to(generation), reads=reads, verify_reads=verify_reads
            )
            for tree in trees
        ]
        store = of_trees[0]
        if camera is not None or store.camera is None:
            return _without_forgotten(store, store.manifest)
        return _without_forgotten(_group_of({str(each.camera): each for each in of_trees}), store.manifest)

    assert not isinstance(path, RemoteUrl)
    local = user_path(path)

    def opened(name: str | None) -> CacheStore:
        return CacheStore(local, reads=reads, verify_reads=verify_reads, camera=name, generation=generation)

    while camera is None and (manifest := read_manifest(local)).cameras:
        stores = {entry.name: opened(entry.name) for entry in manifest.cameras}
        if all(store.manifest == manifest for store in stores.values()):
            return _without_forgotten(_group_of(stores), manifest)
        # Another process has written a newer version meanwhile.
    store = opened(camera)
    return _without_forgotten(store, store.manifest)


def _without_forgotten(store: CacheStore | CameraGroup, manifest: CacheManifest) -> CacheStore | Any:  # noqa: ANN401 - a view reads as what it is a view of
    """The store, or a view of it without the frames of forgotten videos.

    Raises:
        ViewError: all its videos are forgotten.
    """
    num_videos = store.source_order.num_videos if manifest.forgotten_videos else 0
    forgotten = [video for video in manifest.forgotten_videos if video < num_videos]
    if not forgotten:
        return store
    is_live = np.ones(num_videos, np.bool_)
    is_live[forgotten] = False
    return select(cast("FrameStore", store), videos=is_live)


def _group_of(stores: dict[str, CacheStore]) -> CameraGroup:
    """The cameras of one cache as a group. No table of videos is read.

    Raises:
        StoreDamagedError: the cameras have other frames of their videos, or a file of source order is damaged.
        OSError: no more files can be opened.
    """
    names = list(stores)
    leader = stores[names[0]]
    cameras: dict[str, FrameStore] = {}
    for name, store in stores.items():
        if (what := differing_frames(leader, store)) is not None:
            raise StoreDamagedError(
                f"{store.path}: cameras {without_controls(names[0])!r} and {without_controls(name)!r} have other "
                f"frames of their videos: {what} differs; run cache-verify on {store.tree.text}"
            )
        same_ids = _hashes_of(store, ORDER_NAME) == _hashes_of(leader, ORDER_NAME) or None
        cameras[name] = aligned_store(store, leader, name=name, same_ids=same_ids)
    return CameraGroup(cameras)


def differing_frames(one: CacheStore, other: CacheStore) -> str | None:
    """The name of the first file of source order by which two cameras store other frames; None if there is none."""
    if one is other:
        return None
    for name in ("first_row", "first_stored", "source_frames"):
        file = f"{name}.npy"
        # Equal hashes in `generation.json` are enough; cache-verify compares files with their hashes.
        if _hashes_of(one, file) == _hashes_of(other, file):
            continue
        arrays = [getattr(store.source_order, name) for store in (one, other)]
        if any(array is None for array in arrays) or not np.array_equal(*arrays):
            return file
    return None


def _hashes_of(store: CacheStore, name: str) -> list[str | None]:
    """The recorded SHA-256 of a file of source order of each generation; None where it has no such file."""
    return [
        next((entry.sha256 for entry in each.generation.files if entry.name == name), None)
        for each in store.generations
    ]
