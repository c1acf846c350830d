"""Warnings that point at the caller's own line, however deep inside this package they arise."""

import sys
import warnings


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as if from the line outside of this package that called into it."""
    package = __name__.partition(".")[0]
    stacklevel, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        stacklevel, frame = stacklevel + 1, frame.f_back
    warnings.warn(message, category, stacklevel=stacklevel)
