"""The content order of a store in memory, by the steps that a build takes."""

from frame_store.content_order import bisected, ids_in_order, read_coordinates


def order_by_content(store, *, num_threads=1):
    """The ids of a store's frames in content order: uint32, shape (N,)."""
    return ids_in_order(store, bisected(read_coordinates(store, num_threads=num_threads)))
