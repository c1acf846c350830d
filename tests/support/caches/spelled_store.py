"""Numbers read out of the pixels of a numbered video in a cache."""

import numpy as np
from frame_cache_tools.samples.numbered_videos import read_frame

from frame_store import CacheStore

FPS = 25
"""Frame rate of the numbered videos, unless a test sets another."""


def spelled_numbers(store: CacheStore, video_id: int = 0) -> tuple[list[int], list[int | None]]:
    """For each frame of a video, in order: its number by its time, and the number in its pixels, if they have one."""
    frame_ids = np.flatnonzero(store.index["video_id"] == video_id)
    frame_ids = frame_ids[np.argsort(store.index["frame_in_video"][frame_ids])]
    numbers = np.round(store.index["pts_seconds"][frame_ids] * FPS).astype(int).tolist()
    return numbers, [_number(pixels) for pixels in store.read_frames(frame_ids)]


def _number(pixels: np.ndarray) -> int | None:
    try:
        return read_frame(pixels)[1]
    except ValueError:
        return None
