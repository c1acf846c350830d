"""The frames of a store video by video, in time order; and of several stores, one after another."""

from frame_store.source_order.deferred import DeferredArray
from frame_store.source_order.joined import JoinedPts, joined_order, rows_of_key, starts_of
from frame_store.source_order.order import NO_PLACE, Int64s, PtsOfRows, SourceOrder, source_order_of_rows

__all__ = [
    "NO_PLACE",
    "DeferredArray",
    "Int64s",
    "JoinedPts",
    "PtsOfRows",
    "SourceOrder",
    "joined_order",
    "rows_of_key",
    "source_order_of_rows",
    "starts_of",
]
