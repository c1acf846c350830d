"""Errors of the loader, under the same root as the store's (`frame_store.errors`), and its warnings."""

import sys
import warnings
from typing import Final

from frame_store.errors import FrameCacheError


class SamplingError(FrameCacheError, ValueError):
    """The options of a loader are misspelt, contradict each other, or do not fit the store."""


class AugmentationError(FrameCacheError, ValueError):
    """The augmentation is not possible, or its frames, ids or buffer do not fit."""


class LeRobotError(FrameCacheError, ValueError):
    """A cache cannot stand for its LeRobot data set, or `delta_timestamps` or `episodes` do not fit it."""


class UnknownOptionError(SamplingError, TypeError):
    """An option that does not exist. It is also a TypeError, which is what Python raises for an unknown keyword."""


class UnshardedWarning(UserWarning):
    """Several processes train, and each of them reads every frame."""


_BETWEEN: Final = frozenset({__name__.partition(".")[0], "contextlib", "torch"})
"""This package, and modules whose frames can lie between it and the caller: a `with` of ours, torch's DataLoader."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this package that called into it, however deep inside the warning arises."""
    stacklevel, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        stacklevel, frame = stacklevel + 1, frame.f_back
    warnings.warn(message, category, stacklevel=stacklevel)
