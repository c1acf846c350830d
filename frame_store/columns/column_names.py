"""Which names a column may have, and which kinds of values."""

from collections.abc import Iterable
from math import prod
from typing import Any, Final

import numpy as np

from frame_store.errors import ColumnError
from frame_store.shared import without_controls

MAX_NAME_BYTES: Final = 255
MAX_COLUMNS: Final = 10_000
"""Their files are numbered with four digits."""
MAX_VALUES_PER_ROW: Final = 1 << 24
MAX_DIMENSIONS: Final = 8

DTYPES: Final = frozenset(
    np.dtype(name).str
    for name in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    if name != "?"
) | {"|b1"}
"""Booleans, whole numbers and floats, by numpy's names of their little-endian types."""


def check_column_name(name: object, *, where: str = "") -> str:
    """A column's name as a text that could also name a file.

    Raises:
        ColumnError: not a text, empty, `.` or `..`, too long, or with a path separator, a control character or a lone
            surrogate. The message begins with `where`, the table.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(name, str):
        raise ColumnError(f"{prefix}the name of a column must be a text, found {name!r}")
    shown = without_controls(name[:100])
    problem = None
    if not name.strip():
        problem = "is empty"
    elif name in {".", ".."}:
        problem = "names a folder"
    elif "/" in name or "\\" in name:
        problem = "has a path separator"
    elif not name.isprintable():
        problem = "has a control character"
    elif len(name.encode()) > MAX_NAME_BYTES:
        problem = f"has {len(name.encode())} bytes, at most {MAX_NAME_BYTES} are allowed"
    if problem is not None:
        raise ColumnError(
            f"{prefix}column {shown!r}: the name {problem}; expected a plain name, like a file's"
        )
    return name


def check_column_names(names: Iterable[object], *, where: str = "") -> list[str]:
    """The names of the columns of one table or cache.

    Raises:
        ColumnError: as `check_column_name`; also two names that are equal or differ by case alone, or too many columns.
    """
    prefix = f"{where}: " if where else ""
    checked: list[str] = []
    seen: dict[str, str] = {}
    for name in names:
        plain = check_column_name(name, where=where)
        other = seen.setdefault(plain.casefold(), plain)
        if len(seen) == len(checked):
            how = "occurs twice" if other == plain else f"and {other!r} differ by case alone"
            raise ColumnError(f"{prefix}column {plain!r} {how}; rename one of them")
        checked.append(plain)
    if len(checked) > MAX_COLUMNS:
        raise ColumnError(f"{prefix}{len(checked)} columns, at most {MAX_COLUMNS} are allowed")
    return checked


def check_kind(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check what one value of a column is.

    Raises:
        ColumnError: no little-endian boolean, whole number or float of at most 8 bytes; an empty or huge shape.
    """
    if dtype.str not in DTYPES:
        raise ColumnError(
            f"values of {dtype} cannot be stored; expected booleans, whole numbers or floats of 1 to 8 bytes, or texts"
        )
    has_sides = len(shape) <= MAX_DIMENSIONS and min(shape, default=1) >= 1
    if not has_sides or prod(shape) > MAX_VALUES_PER_ROW:
        raise ColumnError(
            f"a value of shape {shape} cannot be stored; expected at most {MAX_DIMENSIONS} dimensions and 1 to "
            f"{MAX_VALUES_PER_ROW} numbers"
        )
