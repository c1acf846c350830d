"""Numbers and flags that callers give: what is none is refused by the argument's name, not where it is first used."""

import operator
from typing import SupportsIndex

import numpy as np


def whole_number(
    name: str, value: SupportsIndex, *, least: int | None = None, error: type[Exception] = ValueError
) -> int:
    """The value of an argument as an `int`: integers of Python and NumPy, but no flag, no float and no text.

    Raises:
        error: it is none, or less than `least`.

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
        error: it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} must be True or False, found {value!r}")
    return bool(value)
