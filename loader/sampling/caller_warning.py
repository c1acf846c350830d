"""Warnings that point at the caller's own line, however deep inside this package they arise."""

import sys
import warnings

_BETWEEN = frozenset({__name__.partition(".")[0], "contextlib", "torch"})
"""This package, and what may stand between it and the caller's line: a `with` of ours, and torch's DataLoader."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as if from the line outside of this package that called into it."""
    stacklevel, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        stacklevel, frame = stacklevel + 1, frame.f_back
    warnings.warn(message, category, stacklevel=stacklevel)
