"""Checks of numbers, flags and paths on entry, so that the error names the argument."""

import operator
import os
from pathlib import Path
from typing import SupportsIndex

import numpy as np


def whole_number(
    name: str, value: SupportsIndex, *, least: int | None = None, error: type[Exception] = ValueError
) -> int:
    """The value of an argument as an `int`: an integer of Python or NumPy, but no flag, no float and no text.

    Raises:
        error: the value is not such an integer, or is less than `least`.

    >>> whole_number("rank", np.int64(3))
    3
    >>> whole_number("rank", 0.5)
    Traceback (most recent call last):
    ValueError: rank must be a whole number, found 0.5
    """
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise error(f"{name} must be a whole number, found {value!r}")
    if least is not None and number < least:
        raise error(f"{name} must be {least} or more, found {number}")
    return number


def flag(name: str, value: object, *, error: type[Exception] = ValueError) -> bool:
    """The value of an argument as a `bool`.

    Raises:
        error: the value is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} must be True or False, found {value!r}")
    return bool(value)


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path, with a leading `~` or `~name` replaced by the home folder.

    A shell does not replace the `~` of `--videos=~/clips` or of a quoted path. Where no user has such a home, the path
    stays as it is. `./~` names a file that is called `~`.

    Raises:
        ValueError: an empty text, which is what a variable that is not set gives. `Path` would make the current folder
            of it.
    """
    if not os.fspath(path):
        raise ValueError("the path is empty (a variable that is not set?); the current folder is '.'")
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's version raises where no user has such a home
