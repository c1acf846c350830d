"""Reads frames out of a cache, from files that are kept open or mapped into memory."""

from frame_store.reader.cache_store import CacheStore
from frame_store.reader.content_orders import ContentOrders
from frame_store.reader.opening import differing_frames, open_store
from frame_store.reader.store_index import StoreIndex

__all__ = ["CacheStore", "ContentOrders", "StoreIndex", "differing_frames", "open_store"]
