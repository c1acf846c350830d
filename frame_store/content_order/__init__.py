"""An order of a store's frames by content: made from their pixels, and its file in a cache."""

from frame_store.content_order.bisection import bisected, num_levels
from frame_store.content_order.coordinates import MAX_SAMPLE, NUM_AXES, ContentAxes, axes_of_sample
from frame_store.content_order.order_file import (
    METHOD,
    entry_of_file,
    mapped_order,
    mapped_orders,
    write_order_file,
)
from frame_store.content_order.reading import (
    frames_to_read,
    ids_in_order,
    read_coordinates,
)
from frame_store.content_order.thumbnails import thumbnails_of

__all__ = [
    "MAX_SAMPLE",
    "METHOD",
    "NUM_AXES",
    "ContentAxes",
    "axes_of_sample",
    "bisected",
    "entry_of_file",
    "frames_to_read",
    "ids_in_order",
    "mapped_order",
    "mapped_orders",
    "num_levels",
    "read_coordinates",
    "thumbnails_of",
    "write_order_file",
]
