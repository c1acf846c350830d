"""Errors of the loader, under the same root as the store's (`frame_store.errors`), and its warnings."""

import sys
import warnings
from typing import Final

from frame_store.errors import FrameCacheError


class SamplingError(FrameCacheError, ValueError):
    """The sampling asked for is misspelt, contradicts itself, or cannot be drawn from this store."""


class AugmentationError(FrameCacheError, ValueError):
    """The augmentation asked for is not possible, or the frames, ids or buffer it was given do not fit."""


class UnknownOptionError(SamplingError, TypeError):
    """An option that does not exist, as other loaders call it or misspelt; also the TypeError that Python raises."""


class UnshardedWarning(UserWarning):
    """Several processes train, and each of them reads every frame."""


_BETWEEN: Final = frozenset({__name__.partition(".")[0], "contextlib", "torch"})
"""This package, and what may stand between it and the caller's line: a `with` of ours, and torch's DataLoader."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as if from the line outside of this package that called into it."""
    stacklevel, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        stacklevel, frame = stacklevel + 1, frame.f_back
    warnings.warn(message, category, stacklevel=stacklevel)
