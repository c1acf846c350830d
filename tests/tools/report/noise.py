"""Caches of noise, which no JPEG makes small."""

import numpy as np

from frame_store.names import INDEX_DTYPE
from tests.support.caches.golden_stores import made_up_video, write_generation
from tests.support.caches.tar_cache import ENCODINGS
from tests.support.caches.tree import write_tree

FRAMES = 9
"""Of each video."""


def write_noise(path, num_videos, seed=0):
    """A cache of videos of noise."""
    frames = np.random.default_rng(seed).integers(0, 256, (num_videos * FRAMES, 64, 64, 3), np.uint8)
    index = np.zeros(len(frames), INDEX_DTYPE)
    index["video_id"] = np.arange(len(frames)) // FRAMES
    index["frame_in_video"] = np.arange(len(frames)) % FRAMES
    index["pts_seconds"] = index["frame_in_video"] / 10
    generation = write_generation(
        path,
        "wds",
        ENCODINGS["raw"],
        frames,
        index=index,
        videos=[made_up_video(f"{number:03d}.mp4", FRAMES) for number in range(num_videos)],
        times=index["pts_seconds"].copy(),
        frames_per_shard=100,
    )
    write_tree(path, generation)
    return path
