"""A store as it was earlier: the first frames of a cache that has grown, under the same ids."""

from frame_store.growth.earlier import EarlierStore
from frame_store.growth.stages import (
    Stage,
    earlier_numbers_of_videos,
    earlier_store,
    generation_frames_of,
    growth_of,
    has_grown,
    joined_shard_sizes,
    num_content_orders,
    num_forgotten_in,
    numbers_of_frames,
)

__all__ = [
    "EarlierStore",
    "Stage",
    "earlier_numbers_of_videos",
    "earlier_store",
    "generation_frames_of",
    "growth_of",
    "has_grown",
    "joined_shard_sizes",
    "num_content_orders",
    "num_forgotten_in",
    "numbers_of_frames",
]
