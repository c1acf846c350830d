"""Videos that a cache has forgotten, and that a store over it still has."""

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from frame_store.source_order import Int64s
from frame_store.views.concatenation import Concatenation
from frame_store.views.view import View


def forgotten_videos(store: FrameStore) -> Int64s:
    """The videos of a store that its cache has forgotten: rows of `store.videos`, ascending, int64.

    `open_store` leaves them out; a `CacheStore`, and a group of cameras made of such, have them under their ids.
    """
    if isinstance(store, View):
        return np.flatnonzero(np.isin(store.video_ids, forgotten_videos(store.base)))
    if isinstance(store, Concatenation):
        of_parts = [
            forgotten_videos(part) + first
            for part, first in zip(store.parts, store.first_videos, strict=False)
        ]
        return np.concatenate(of_parts)
    leader = getattr(store, "leader", None)  # of a group, or of a camera under the ids of another
    if leader is not None and leader is not store:
        return forgotten_videos(leader)
    forgotten: Int64s = np.asarray(getattr(store, "forgotten_videos", ()), np.int64)
    return forgotten


def is_forgotten(store: FrameStore) -> npt.NDArray[np.bool_]:
    """For each row of `store.videos`, whether the cache has forgotten the video: bool, shape (V,)."""
    num_videos = len(store.video_ids) if isinstance(store, View) else store.source_order.num_videos
    mask = np.zeros(num_videos, np.bool_)
    mask[forgotten_videos(store)] = True
    return mask


def has_all_but_forgotten(view: View) -> bool:
    """Whether a view has every frame of its base but those of forgotten videos, as `open_store` gives it."""
    order = view.base.source_order
    live = np.setdiff1d(np.arange(order.num_videos), forgotten_videos(view.base))
    return np.array_equal(view.video_ids, live) and np.array_equal(
        view.frames_of_video, np.diff(order.first_stored)[live]
    )
