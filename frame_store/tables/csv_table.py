"""Tables in CSV: a line of names, then a line a row. All cells of a column decide its type."""

import csv
import re
from pathlib import Path
from typing import Final

import numpy as np

from frame_store.columns import check_column_names
from frame_store.errors import ColumnError
from frame_store.shared import without_controls
from frame_store.tables.table import (
    FRAME_KEY,
    SECONDS_KEY,
    VIDEO_KEY,
    RowText,
    Table,
    TableColumn,
    make_table,
    number_column,
    text_column,
)

_TRUTH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE
)
_PADDED: Final = re.compile(r"[+-]?0[0-9]+")
"""Digits after a leading zero are a name, as in `000012`, and no number."""
_INT64: Final = np.iinfo(np.int64)


def read_csv(path: Path) -> Table:
    """The table in a CSV file: UTF-8, commas, a line of names first.

    A column whose cells are all `true` or `false` holds booleans. A column of whole numbers is int64, one of numbers
    float64, any other holds texts. A column that mixes numbers with other texts is refused.

    Raises:
        ColumnError: no such table. The message has the file, the line, the column, and what was found.
        OSError: the file cannot be read.
    """
    source = str(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = next(lines, None)
            if not names:
                raise ColumnError(f"{source}: line 1: expected the names of the columns, found nothing")
            names = check_column_names((name.strip() for name in names), where=source)
            cells: list[list[str]] = [[] for _ in names]
            line_numbers: list[int] = []
            for row in lines:
                if not row:
                    continue
                if len(row) != len(names):
                    raise ColumnError(
                        f"{source}: line {lines.line_num}: expected {len(names)} cells, found {len(row)}"
                    )
                line_numbers.append(lines.line_num)
                for column, cell in zip(cells, row, strict=True):
                    column.append(cell)
    except csv.Error as error:
        raise ColumnError(f"{source}: line {lines.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise ColumnError(f"{source}: is not UTF-8 text: {error}") from error

    def place(row: int) -> str:
        return f"line {line_numbers[row]}"

    columns = {}
    for name, column in zip(names, cells, strict=True):
        try:
            columns[name] = _typed(column, key=name, place=place)
        except ColumnError as error:
            raise ColumnError(f"{source}: column {name!r}: {error}") from error
    return make_table(source, columns, place=place)


def _typed(cells: list[str], *, key: str, place: RowText) -> TableColumn:
    for row, cell in enumerate(cells):
        if not cell.strip():
            raise ColumnError(f"{place(row)}: the cell is empty; expected a value in every row")
    if key == VIDEO_KEY:
        return text_column(cells, place=place)
    stripped = [cell.strip() for cell in cells]
    if key not in {FRAME_KEY, SECONDS_KEY} and all(cell in _TRUTH for cell in stripped):
        return number_column(np.array([_TRUTH[cell] for cell in stripped], np.bool_), place=place)
    is_number = [_NUMBER.fullmatch(cell) is not None for cell in stripped]
    is_name = any(_PADDED.fullmatch(cell) for cell in stripped)
    if key == FRAME_KEY or all(_INTEGER.fullmatch(cell) for cell in stripped):
        return number_column(
            np.array([_integer(cell, row, place) for row, cell in enumerate(stripped)], np.int64)
        )
    if key == SECONDS_KEY or (any(is_number) and not is_name):
        if not all(is_number):
            row = is_number.index(False)
            found = without_controls(stripped[row][:60])
            raise ColumnError(
                f"{place(row)}: expected a number, as in {sum(is_number)} other cells, found {found!r}"
            )
        return number_column(np.array([float(cell) for cell in stripped], np.float64), place=place)
    return text_column(cells, place=place)


def _integer(cell: str, row: int, place: RowText) -> int:
    if _INTEGER.fullmatch(cell) is None or not _INT64.min <= int(cell[:40]) <= _INT64.max or len(cell) > 40:
        raise ColumnError(
            f"{place(row)}: expected a whole number of 64 bits, found {without_controls(cell[:60])!r}"
        )
    return int(cell)
