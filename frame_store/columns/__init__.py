"""Columns: actions, states and labels beside the frames, a value for each decoded frame or each video."""

from frame_store.columns.column import NO_TEXT, Column, ColumnPart, ColumnScope, Positions
from frame_store.columns.column_names import DTYPES, check_column_name, check_column_names, check_kind
from frame_store.columns.column_set import NO_COLUMNS, Columns, concat_columns
from frame_store.columns.mapped_array import MappedArray

__all__ = [
    "DTYPES",
    "NO_COLUMNS",
    "NO_TEXT",
    "Column",
    "ColumnPart",
    "ColumnScope",
    "Columns",
    "MappedArray",
    "Positions",
    "check_column_name",
    "check_column_names",
    "check_kind",
    "concat_columns",
]
