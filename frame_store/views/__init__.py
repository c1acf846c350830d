"""Placeholder until views are merged: every store is its own base."""

from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameIds, FrameStore, check_frame_ids


def base_of(store: FrameStore) -> FrameStore:
    """The store that the frames of a view are read from."""
    return store


def cache_ids_of(store: FrameStore, frame_ids: FrameIds) -> npt.NDArray[np.int64]:
    """Ids in the base of frames of the store: int64, shape (B,)."""
    return check_frame_ids(frame_ids, num_frames=len(store))


def own_rows_of(store: FrameStore, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows of the base as rows of the store: `video_id` is the row of `store.videos`."""
    return rows
