"""`open_store`: a cache by its path, with cameras or without."""

import os
from typing import Any

import numpy as np

from frame_store.cameras import CameraGroup, aligned_store
from frame_store.errors import StoreDamagedError
from frame_store.manifest import read_manifest
from frame_store.protocol import FrameStore
from frame_store.reader.cache_store import CacheStore, Reads
from frame_store.shared import user_path, without_controls
from frame_store.source_files import ORDER_NAME


def open_store(
    path: str | os.PathLike[str],
    *,
    reads: Reads = "map",
    verify_reads: bool = False,
    camera: str | None = None,
) -> CacheStore | Any:  # noqa: ANN401 - which of the two depends on what is on the disk
    """Open the finished cache at `path`, whatever its container and encoding.

    Args:
        path: as of `CacheStore`.
        reads: as of `CacheStore`.
        verify_reads: as of `CacheStore`.
        camera: the name of a camera of a cache of cameras, which is opened alone; None opens all.

    Returns:
        A `CacheStore`; a `CameraGroup` of them for a cache of cameras where `camera` is None.

    Raises:
        StoreDamagedError: as `CacheStore`, and where the cameras have other frames of their videos.
        What `CacheStore` raises.
    """
    while camera is None and (manifest := read_manifest(user_path(path))).cameras:
        stores = {
            entry.name: CacheStore(path, reads=reads, verify_reads=verify_reads, camera=entry.name)
            for entry in manifest.cameras
        }
        if all(store.manifest == manifest for store in stores.values()):
            return _group_of(stores)
        # Another process has written a newer version meanwhile.
    return CacheStore(path, reads=reads, verify_reads=verify_reads, camera=camera)


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
                f"frames of their videos: {what} differs; run cache-verify on {store.path}"
            )
        same_ids = _hash_of(store, ORDER_NAME) == _hash_of(leader, ORDER_NAME) or None
        cameras[name] = aligned_store(store, leader, name=name, same_ids=same_ids)
    return CameraGroup(cameras)


def differing_frames(one: CacheStore, other: CacheStore) -> str | None:
    """The name of the first file of source order by which two cameras store other frames; None if there is none."""
    if one is other:
        return None
    for name in ("first_row", "first_stored", "source_frames"):
        file = f"{name}.npy"
        # Equal hashes in `generation.json` are enough; cache-verify compares files with their hashes.
        if _hash_of(one, file) == _hash_of(other, file):
            continue
        arrays = [getattr(store.source_order, name) for store in (one, other)]
        if any(array is None for array in arrays) or not np.array_equal(*arrays):
            return file
    return None


def _hash_of(store: CacheStore, name: str) -> str | None:
    """The recorded SHA-256 of a file of source order; None where the cache has no such file."""
    return next((entry.sha256 for entry in store.generation.files if entry.name == name), None)
