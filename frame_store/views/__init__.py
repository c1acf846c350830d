"""Views: some frames of a store as a store, parts of a split, and several stores as one. No frame is copied."""

from frame_store.views.concatenation import Concatenation, concat, part_of_videos
from frame_store.views.partition import Split, split
from frame_store.views.subset import VideoChoice, select, select_places
from frame_store.views.view import View, base_of, cache_ids_of, frame_ids_of, own_rows_of

__all__ = [
    "Concatenation",
    "Split",
    "VideoChoice",
    "View",
    "base_of",
    "cache_ids_of",
    "concat",
    "frame_ids_of",
    "own_rows_of",
    "part_of_videos",
    "select",
    "select_places",
    "split",
]
