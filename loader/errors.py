"""Errors of the loader, under the same root as the store's (`frame_store.errors`)."""

from frame_store.errors import FrameCacheError


class SamplingError(FrameCacheError, ValueError):
    """The sampling asked for is misspelt, contradicts itself, or cannot be drawn from this store."""
