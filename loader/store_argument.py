"""The store that loaders take: an open one, or the path or URL of a cache."""

import os
from typing import TypeAlias, cast

from frame_store.cameras import CameraGroup
from frame_store.protocol import FrameStore
from frame_store.reader import open_store
from loader.errors import SamplingError

StoreOrPath: TypeAlias = FrameStore | CameraGroup | str | os.PathLike[str]
"""A path, or a URL such as `s3://bucket/folder`, is opened as `frame_store.open_store(path)` does. A store that a
loader opened is closed with the loader. A store that the caller opened stays open."""


def opened_store(store: StoreOrPath) -> FrameStore:
    """The store itself, or the cache at a path. A group of cameras has all of a store but the type of its frames.

    Raises:
        SamplingError: `store` is neither.
        StoreError, ValueError, OSError: see `frame_store.open_store`.
    """
    if isinstance(store, str | os.PathLike):
        return open_store(os.fspath(store))
    if not hasattr(store, "read_frames"):
        raise SamplingError(
            f"the first argument must be a store (frame_store.open_store, cache_builder.open_videos) or the path of "
            f"a cache, found {type(store).__name__}"
        )
    return cast("FrameStore", store)
