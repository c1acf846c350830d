"""Views: some frames of a store as a store, parts of a split, and several stores as one. No frame is copied."""

from frame_store.views.camera_view import CameraView, view_of
from frame_store.views.concatenation import Concatenation
from frame_store.views.content import content_ids, content_ids_at, content_label, digest_of_orders
from frame_store.views.forgotten import forgotten_videos, has_all_but_forgotten
from frame_store.views.joining import JoinedGroup, concat, num_parts, part_of_videos, parts_of
from frame_store.views.partition import Split, split
from frame_store.views.selection import RangeSelection, common_selection
from frame_store.views.subset import VideoChoice, select, select_places
from frame_store.views.view import (
    View,
    base_of,
    cache_ids_of,
    frame_ids_of,
    frames_per_video,
    ids_by_video,
    is_video_by_video,
    own_rows_of,
)

__all__ = [
    "CameraView",
    "Concatenation",
    "JoinedGroup",
    "RangeSelection",
    "Split",
    "VideoChoice",
    "View",
    "base_of",
    "cache_ids_of",
    "common_selection",
    "concat",
    "content_ids",
    "content_ids_at",
    "content_label",
    "digest_of_orders",
    "forgotten_videos",
    "frame_ids_of",
    "frames_per_video",
    "has_all_but_forgotten",
    "ids_by_video",
    "is_video_by_video",
    "num_parts",
    "own_rows_of",
    "part_of_videos",
    "parts_of",
    "select",
    "select_places",
    "split",
    "view_of",
]
