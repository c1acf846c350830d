"""Tables in memory: arrays by name, pandas and polars frames; and the arrays of an `.npz` file."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.errors import ColumnError
from frame_store.tables.table import Table, TableColumn, make_table, number_column, row_text, text_column

_FLOATS: Final = (float, np.floating)
_SCALARS: Final = (bool, int, np.bool_, np.integer, *_FLOATS)


def read_npz(path: Path) -> Table:
    """The table in an `.npz` file: an array for each column, a row for each place of the first dimension.

    Raises:
        ColumnError: no such file, an array of objects (only pickle could load it), or no such table.
        OSError: the file cannot be read.
    """
    source = str(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ColumnError(f"{source}: is no .npz file of named arrays")
        with loaded as arrays:
            read = {}
            for name in arrays.files:
                try:
                    read[name] = arrays[name]
                except ValueError as error:
                    raise ColumnError(f"{source}: column {name!r}: {error}") from error
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        if isinstance(error, ColumnError):
            raise
        raise ColumnError(f"{source}: is no .npz file of plain arrays: {error}") from error
    return table_of_arrays(source, read)


def table_of_arrays(source: str, arrays: Mapping[Any, Any]) -> Table:
    """The table of arrays, sequences or tensors by name, each with a row for each place of its first dimension.

    Raises:
        ColumnError: no such table; the message begins with `source`.
    """
    columns = {}
    for name, values in arrays.items():
        try:
            columns[name] = column_of(values)
        except ColumnError as error:
            raise ColumnError(f"{source}: column {name!r}: {error}") from error
    return make_table(source, columns)


def table_of_frame(source: str, frame: Any) -> Table:  # noqa: ANN401 - a pandas or polars frame
    """The table of a pandas or polars frame: anything with `columns`, whose columns have `to_numpy`.

    Raises:
        ColumnError: no such table; the message begins with `source`.
    """
    columns = {}
    names = [*frame.columns]
    for name in names:
        try:
            if names.count(name) > 1:
                raise ColumnError("occurs twice; rename one of them")
            series = frame[name]
            if hasattr(series, "null_count") and series.null_count():
                null_row = series.is_null().to_list().index(True)
                raise ColumnError(_missing_text(null_row, series.null_count(), len(series)))
            columns[name] = column_of(series.to_numpy())
        except ColumnError as error:
            raise ColumnError(f"{source}: column {name!r}: {error}") from error
    return make_table(source, columns)


def column_of(values: Any) -> TableColumn:  # noqa: ANN401 - whatever the caller's table holds
    """A column of whatever numpy takes for an array.

    Raises:
        ColumnError: ragged lists, nulls, NaN, objects, or values that are no numbers, booleans or texts.
    """
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        values = _objects(values)
    is_masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    if is_masked is not None and is_masked.any():
        rows = np.flatnonzero(is_masked.reshape(len(values), -1).any(axis=1))
        raise ColumnError(_missing_text(int(rows[0]), len(rows), len(values)))
    try:
        array = np.asarray(values)
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:  # the last two: tensors on a GPU, or with a gradient
        raise ColumnError(f"no array: {error}") from error
    if array.ndim == 0:
        raise ColumnError(f"expected a value for each row, found {type(values).__name__}")
    if array.dtype.kind in "UT":
        array = array.astype(object)
    if array.dtype.kind == "O":
        return _column_of_objects(list(array))
    return number_column(array)


def _objects(values: Sequence[Any]) -> npt.NDArray[Any]:
    """The elements as they are: numpy would make one type of numbers and texts."""
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def _column_of_objects(values: list[Any]) -> TableColumn:
    if values and all(isinstance(value, _SCALARS) for value in values):
        return number_column(_scalars(values))
    is_missing = [value is None or _is_not_equal_to_itself(value) for value in values]
    if any(is_missing):
        raise ColumnError(_missing_text(is_missing.index(True), sum(is_missing), len(values)))
    if not values:
        raise ColumnError("it has no rows")
    if all(isinstance(value, str) for value in values):
        return text_column([str(value) for value in values])
    for row, value in enumerate(values):
        if not isinstance(value, list | tuple | np.ndarray):
            raise ColumnError(
                f"{row_text(row)}: {type(value).__name__}; expected values of one kind: booleans, numbers, texts, or "
                "lists of one length"
            )
    return number_column(_stacked(values))


def _scalars(values: list[Any]) -> npt.NDArray[Any]:
    first_is_bool = isinstance(values[0], bool | np.bool_)
    for row, value in enumerate(values):
        if isinstance(value, bool | np.bool_) != first_is_bool:
            raise ColumnError(f"{row_text(row)}: {value!r}; the column mixes booleans and numbers")
    array = np.array(values)
    is_rounded = array.dtype.kind == "f" and not any(isinstance(value, _FLOATS) for value in values)
    if array.dtype.kind not in "biuf" or is_rounded:  # numpy makes floats of 2**63 beside -1
        raise ColumnError("whole numbers of more than 64 bits")
    return array


def _stacked(values: list[Any]) -> npt.NDArray[Any]:
    """Lists of one shape as one array."""
    arrays: list[npt.NDArray[Any]] = []
    for row, value in enumerate(values):
        if np.ma.is_masked(value):
            raise ColumnError(f"{row_text(row)}: a masked value; expected a value in every place")
        try:
            array = np.asarray(value)
        except ValueError:
            raise ColumnError(f"{row_text(row)}: a ragged list; expected lists of one length") from None
        if array.dtype == object and array.size:
            try:
                array = np.stack([np.asarray(each) for each in array.tolist()])
            except ValueError:
                raise ColumnError(f"{row_text(row)}: a ragged list; expected lists of one length") from None
        if array.dtype.kind not in "biuf":
            raise ColumnError(
                f"{row_text(row)}: a list of {array.dtype}; expected lists of booleans or numbers"
            )
        if arrays and array.shape != arrays[0].shape:
            raise ColumnError(
                f"{row_text(row)}: a list of shape {array.shape}, the first row has {arrays[0].shape}; expected lists "
                "of one length"
            )
        if arrays and (array.dtype.kind == "b") != (arrays[0].dtype.kind == "b"):
            raise ColumnError(f"{row_text(row)}: the column mixes booleans and numbers")
        arrays.append(array)
    return np.stack(arrays)


def _is_not_equal_to_itself(value: object) -> bool:
    """Whether a value is NaN, NaT or pandas' NA."""
    if isinstance(value, str | list | tuple | np.ndarray):
        return False
    is_equal = value == value  # noqa: PLR0124 - what NaN is known by
    return is_equal is not True and not (isinstance(is_equal, np.bool_) and bool(is_equal))


def _missing_text(row: int, num_missing: int, num_rows: int) -> str:
    return f"{row_text(row)}: no value (in {num_missing} of {num_rows} rows); expected a value in every row"
