"""Several cameras that filmed the same videos, as one store of moments."""

from frame_store.cameras.group import CameraGroup, group_cameras, stores_of_cameras

__all__ = ["CameraGroup", "group_cameras", "stores_of_cameras"]
