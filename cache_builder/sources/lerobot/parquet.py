"""Parquet files of a data set: columns of them, read within bounds. pyarrow is imported when one is read."""

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cache_builder.errors import InputFolderError
from frame_store.shared import counted, raise_if_out_of_files, without_controls

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


class ParquetProblem(Exception):
    """A Parquet file cannot be used; the text begins with its name."""


def check_pyarrow(root: Path) -> None:
    """Raise an InputFolderError if pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputFolderError(
            root,
            f"is a LeRobot data set, whose Parquet files pyarrow reads, which is not installed ({error}): "
            "pip install 'frame-cache[tables]'",
        ) from error


@contextmanager
def opened_parquet(root: Path, name: str) -> Iterator["pq.ParquetFile"]:
    """The file `name` below `root`, open. What pyarrow raises within the block becomes a `ParquetProblem`.

    Raises:
        ParquetProblem: it does not exist, is no regular file, or no Parquet file.
        OSError: no more files can be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = root / name
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ParquetProblem(f"{name} is no file")
        with path.open("rb") as file:
            yield pq.ParquetFile(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ParquetProblem(f"{name} does not exist") from error
    except (pa.ArrowException, ValueError) as error:
        reason = without_controls(str(error).splitlines()[0][:300] if str(error) else type(error).__name__)
        raise ParquetProblem(f"{name} is no Parquet file that pyarrow can read: {reason}") from error
    except OSError as error:
        raise_if_out_of_files(error)
        if error.strerror is None:  # pyarrow raises OSError for files that end too early
            raise ParquetProblem(
                f"{name} is no Parquet file that pyarrow can read: {without_controls(str(error)[:300])}"
            ) from error
        raise ParquetProblem(f"{name} cannot be read: {error.strerror}") from error


def read_columns(file: "pq.ParquetFile", name: str, columns: Sequence[str], *, max_rows: int) -> "pa.Table":
    """Columns of an open file.

    Raises:
        ParquetProblem: a column is missing or occurs twice, or there are more rows than expected.
    """
    found = file.schema_arrow.names
    for column in columns:
        if found.count(column) != 1:
            how = "is missing" if column not in found else "occurs more than once"
            raise ParquetProblem(f"{name}: column {column!r} {how}")
    if file.metadata.num_rows > max_rows:
        raise ParquetProblem(f"{name} has {file.metadata.num_rows} rows, expected at most {max_rows}")
    return file.read(columns=list(columns), use_threads=False).select(list(columns))


def whole_numbers(table: "pa.Table", name: str, column: str) -> npt.NDArray[np.int64]:
    """A column of whole numbers, one in every row: shape (rows,).

    Raises:
        ParquetProblem: another type, or nulls.
    """
    values = _numbers(table, name, column, whole=True)
    return values.astype(np.int64)


def numbers(table: "pa.Table", name: str, column: str) -> npt.NDArray[np.float64]:
    """A column of numbers, NaN where there is none: shape (rows,).

    Raises:
        ParquetProblem: another type.
    """
    return _numbers(table, name, column, whole=False).astype(np.float64)


def _numbers(table: "pa.Table", name: str, column: str, *, whole: bool) -> npt.NDArray[Any]:
    import pyarrow as pa

    array = table.column(column)
    is_whole = pa.types.is_integer(array.type) and not pa.types.is_uint64(array.type)
    if not (is_whole or (not whole and pa.types.is_floating(array.type))):
        expected = "whole numbers" if whole else "numbers"
        raise ParquetProblem(f"{name}: column {column!r} is of {array.type}, expected {expected}")
    if whole and array.null_count:
        row = int(np.argmax(np.asarray(array.is_null())))
        more = f" (nor in {counted(array.null_count - 1, 'other')})" if array.null_count > 1 else ""
        raise ParquetProblem(f"{name}: column {column!r} has no value in row {row}{more}")
    values: npt.NDArray[Any] = array.to_numpy()
    return values
