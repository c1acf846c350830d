"""Errors of the loader, under the same root as the store's (`frame_store.errors`)."""

from frame_store.errors import FrameCacheError


class SamplingError(FrameCacheError, ValueError):
    """The sampling asked for is misspelt, contradicts itself, or cannot be drawn from this store."""


class AugmentationError(FrameCacheError, ValueError):
    """The augmentation asked for is not possible, or the frames, ids or buffer it was given do not fit."""


class UnknownOptionError(SamplingError, TypeError):
    """An option that does not exist, as other loaders call it or misspelt; also the TypeError that Python raises."""
