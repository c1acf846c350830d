"""The front door: a path to a frame store."""

from pathlib import Path

from frame_store.cache_store import CacheStore


def open_store(path: Path | str) -> CacheStore:
    """Open the finished cache at `path`, whatever its container and encoding.

    Raises:
        StoreNotFoundError: no cache there.
        StoreFormatError: unknown version or broken manifest.
        StoreDamagedError: the index does not fit the manifest.
    """
    return CacheStore(path)
