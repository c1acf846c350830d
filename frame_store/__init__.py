"""The cache on disk, which the builder writes and the loader reads. Importing this package imports numpy alone."""

import warnings
from typing import TYPE_CHECKING

from frame_store.errors import (
    ColumnError,
    CudaError,
    CudaForkError,
    CudaUnavailableError,
    FrameCacheError,
    FrameIdError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
    UnmatchedRowsError,
    ViewError,
)
from frame_store.protocol import DecodesInGroups, DecodesOnDevice, FrameStore
from frame_store.shared import hidden_loader_text, lazy_names

if TYPE_CHECKING:
    from frame_store.cameras import CameraGroup, group_cameras
    from frame_store.columns import Column, Columns
    from frame_store.manifest import CacheManifest, Generation, VideoEntry
    from frame_store.reader import CacheStore, open_store
    from frame_store.views import View, base_of, cache_ids_of, concat, select, split

__all__ = [
    "CacheManifest",
    "CacheStore",
    "CameraGroup",
    "Column",
    "ColumnError",
    "Columns",
    "CudaError",
    "CudaForkError",
    "CudaUnavailableError",
    "DecodesInGroups",
    "DecodesOnDevice",
    "FrameCacheError",
    "FrameIdError",
    "FrameStore",
    "Generation",
    "StoreDamagedError",
    "StoreError",
    "StoreFormatError",
    "StoreNotFoundError",
    "UnmatchedRowsError",
    "VideoEntry",
    "View",
    "ViewError",
    "base_of",
    "cache_ids_of",
    "concat",
    "group_cameras",
    "open_store",
    "select",
    "split",
]

__version__ = "0.1.0"
"""Version of this code, installed or not. A cache's `generation.json` records it."""

# Most scripts import this package first; without the warning they meet an ImportError that names no cause.
if (_warning := hidden_loader_text()) is not None:
    warnings.warn(_warning, stacklevel=2)

__getattr__ = lazy_names(
    __name__,
    {
        "frame_store.cameras": ["CameraGroup", "group_cameras"],
        "frame_store.columns": ["Column", "Columns"],
        "frame_store.reader": ["CacheStore", "open_store"],
        "frame_store.manifest": ["CacheManifest", "Generation", "VideoEntry"],
        "frame_store.views": ["View", "base_of", "cache_ids_of", "concat", "select", "split"],
    },
)
