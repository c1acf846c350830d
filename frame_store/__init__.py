"""The on-disk contract that builder and loader share. Importing it costs the standard library and numpy."""

import warnings
from typing import TYPE_CHECKING

from frame_store.errors import (
    CudaError,
    CudaForkError,
    CudaUnavailableError,
    FrameCacheError,
    FrameIdError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
)
from frame_store.protocol import DecodesInGroups, DecodesOnDevice, FrameStore
from frame_store.shared import foreign_loader, hidden_text, lazy_names

if TYPE_CHECKING:
    from frame_store.manifest import StoreManifest
    from frame_store.reader import CacheStore, open_store

__all__ = [
    "CacheStore",
    "CudaError",
    "CudaForkError",
    "CudaUnavailableError",
    "DecodesInGroups",
    "DecodesOnDevice",
    "FrameCacheError",
    "FrameIdError",
    "FrameStore",
    "StoreDamagedError",
    "StoreError",
    "StoreFormatError",
    "StoreManifest",
    "StoreNotFoundError",
    "open_store",
]

__version__ = "0.1.0"
"""Of this code, be it installed or not: part of what a cache's manifest says it was made with."""

# Here, as most scripts import this first, and what they meet next is an AttributeError that does not say why.
if (_foreign := foreign_loader()) is not None:
    warnings.warn(hidden_text(_foreign), stacklevel=2)

__getattr__ = lazy_names(
    __name__,
    {
        "frame_store.reader": ["CacheStore", "open_store"],
        "frame_store.manifest": ["StoreManifest"],
    },
)
