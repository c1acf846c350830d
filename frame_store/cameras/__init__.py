"""Several cameras that filmed the same videos, as one store of moments."""

from frame_store.cameras.aligned import AlignedStore, aligned_store
from frame_store.cameras.group import CameraGroup, differing_videos, group_cameras, stores_of_cameras

__all__ = [
    "AlignedStore",
    "CameraGroup",
    "aligned_store",
    "differing_videos",
    "group_cameras",
    "stores_of_cameras",
]
