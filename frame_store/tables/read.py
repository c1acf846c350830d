"""Any table that a caller may give: a file by its extension, or an object in memory."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from frame_store.errors import ColumnError
from frame_store.shared import user_path
from frame_store.tables.arrow_table import read_parquet, table_of_arrow
from frame_store.tables.csv_table import read_csv
from frame_store.tables.object_table import read_npz, table_of_arrays, table_of_frame
from frame_store.tables.table import Table

TableLike: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Any
"""A file (`.parquet`, `.csv`, `.npz`), a dict of arrays, a pandas or polars frame, or an Arrow table."""

_READERS = {".parquet": read_parquet, ".pq": read_parquet, ".csv": read_csv, ".npz": read_npz}


def read_table(table: TableLike) -> Table:
    """The table, read and checked.

    Raises:
        ColumnError: no such table; the message has its name, the row, what was expected and what was found.
        OSError: the file cannot be read.
    """
    if isinstance(table, Table):
        return table
    if isinstance(table, str | os.PathLike):
        path = user_path(table)
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise ColumnError(f"{path}: the name must end with .parquet, .csv or .npz, found {path.suffix!r}")
        try:
            return reader(Path(path))
        except FileNotFoundError as error:
            raise ColumnError(f"{path}: no such file") from error
        except IsADirectoryError as error:
            raise ColumnError(f"{path}: is a folder, expected a file") from error
    source = f"the {type(table).__name__}"
    if isinstance(table, Mapping):
        return table_of_arrays(source, table)
    if hasattr(table, "column_names") and hasattr(table, "schema"):
        return table_of_arrow(f"the {type(table).__name__} of Arrow", table)
    if hasattr(table, "columns") and hasattr(table, "__getitem__"):
        return table_of_frame(source, table)
    raise ColumnError(
        f"a table must be a file, a dict of arrays, a pandas or polars frame or an Arrow table, found "
        f"{type(table).__name__}"
    )
