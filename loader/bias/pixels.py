"""Features of frames from their pixels: small pictures, of one camera where there are several."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np

from frame_store.cameras import stores_of_cameras
from frame_store.errors import ViewError
from frame_store.protocol import FrameStore
from frame_store.views import base_of
from loader.bias.checks import Integers, Reals

ReadFeatures: TypeAlias = Callable[[Integers], Reals]
"""Frame ids, shape (P,) -> features, float64 of shape (P, D)."""

THUMBNAIL_SIZE: Final = 16
_MAX_FRAMES_AT_ONCE: Final = 256


def thumbnails(store: FrameStore, *, size: int = THUMBNAIL_SIZE, camera: str | None = None) -> ReadFeatures:
    """Frames averaged over a grid of `size` x `size` cells, as features of C size^2 numbers.

    Of a group of cameras, or of a view of one, the frames are those of `camera`; None takes the first.

    Raises:
        ViewError: no such camera.
    """
    store = store_of_pixels(store, camera)

    def read(frame_ids: Integers) -> Reals:
        height, width, channels = store.frame_shape
        rows = np.linspace(0, height, min(size, height) + 1).astype(np.int64)
        columns = np.linspace(0, width, min(size, width) + 1).astype(np.int64)
        areas = np.outer(np.diff(rows), np.diff(columns))[None, :, :, None]
        features = np.empty((len(frame_ids), areas.size * channels))
        for start in range(0, len(frame_ids), _MAX_FRAMES_AT_ONCE):
            frames = store.read_frames(frame_ids[start : start + _MAX_FRAMES_AT_ONCE])
            sums = np.add.reduceat(frames.astype(np.float64), rows[:-1], axis=1)
            sums = np.add.reduceat(sums, columns[:-1], axis=2)
            features[start : start + len(frames)] = (sums / areas).reshape(len(frames), -1)
        return features

    return read


def camera_of_pixels(store: FrameStore, camera: str | None = None) -> str | None:
    """The camera whose frames `thumbnails` reads; None for a store without cameras.

    Raises:
        ViewError: no such camera, or a camera is named and the store has none.
    """
    cameras = stores_of_cameras(base_of(store))
    if cameras is None:
        if camera is not None:
            raise ViewError(f"no camera {camera!r}: the store has no cameras")
        return None
    if camera is not None and camera not in cameras:
        raise ViewError(f"no camera {camera!r}; there are {', '.join(map(repr, cameras))}")
    return next(iter(cameras)) if camera is None else camera


def store_of_pixels(store: FrameStore, camera: str | None = None) -> FrameStore:
    """The frames of one camera under the ids of `store`; without cameras, `store` itself.

    Raises:
        ViewError: no such camera.
    """
    name = camera_of_pixels(store, camera)
    if name is None:
        return store
    cameras: Mapping[str, FrameStore] = getattr(store, "cameras", {})  # of the group, or of a view of it
    return cameras[name]
