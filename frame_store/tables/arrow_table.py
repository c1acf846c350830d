"""Tables in Parquet, and Arrow tables in memory. pyarrow is imported when one is read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from frame_store.errors import ColumnError
from frame_store.shared import counted
from frame_store.tables.table import (
    Table,
    TableColumn,
    make_table,
    number_column,
    row_text,
    sorted_text_column,
)

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path) -> Table:
    """The table in a Parquet file.

    Raises:
        ColumnError: pyarrow is not installed, or no such table; the message has the file, the row and the column.
        OSError: the file cannot be read.
    """
    source = str(path)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ColumnError(
            f"{source}: Parquet is read by pyarrow, which is not installed ({error}): "
            "pip install 'frame-cache[tables]'"
        ) from error
    try:
        with path.open("rb") as file:
            arrow = pq.ParquetFile(file).read()
    except (pa.ArrowException, ValueError) as error:
        raise ColumnError(f"{source}: is no Parquet file that pyarrow can read: {error}") from error
    return table_of_arrow(source, arrow)


def table_of_arrow(source: str, arrow: "pa.Table") -> Table:
    """The table of an Arrow table (or record batch).

    Raises:
        ColumnError: no such table; the message begins with `source`.
    """
    columns = {}
    for name, column in zip(arrow.column_names, arrow.columns, strict=True):
        try:
            if name in columns:
                raise ColumnError("occurs twice; rename one of them")
            columns[name] = _column(column)
        except ColumnError as error:
            raise ColumnError(f"{source}: column {name!r}: {error}") from error
    return make_table(source, columns)


def _column(column: "pa.ChunkedArray | pa.Array") -> TableColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    array = pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
    _refuse_nulls(array, num_rows=len(array))
    shape: tuple[int, ...] = ()
    if isinstance(array.type, pa.FixedShapeTensorType):
        if array.type.permutation not in (None, list(range(len(array.type.shape)))):
            raise ColumnError("tensors of permuted dimensions; store them in row-major order")
        shape, array = tuple(array.type.shape), array.storage.flatten()
        _refuse_nulls(array, num_rows=len(column))
    elif isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    kind: pa.DataType = array.type
    if pa.types.is_dictionary(kind) and _is_text(kind.value_type):
        array, kind = array.cast(kind.value_type), kind.value_type
    if _is_text(kind):
        unique = pc.unique(array)
        codes = pc.index_in(array, value_set=unique).to_numpy(zero_copy_only=False)
        try:
            strings = unique.to_pylist()
        except UnicodeDecodeError as error:
            raise ColumnError(f"a text is not UTF-8: {error}") from error
        return sorted_text_column(codes, strings)
    num_rows = len(column)
    while _is_list(kind):
        length = _list_length(array, rows_per_value=len(array) // num_rows if num_rows else 1)
        shape = (*shape, length)
        array = array.flatten()
        _refuse_nulls(array, num_rows=num_rows)
        kind = array.type
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ColumnError(f"values of {kind}; expected booleans, numbers, texts, or lists of one length")
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return number_column(values.reshape(num_rows, *shape))


def _refuse_nulls(array: "pa.Array", *, num_rows: int) -> None:
    """Refuse nulls in an array that holds the values of `num_rows` rows, the same number in each."""
    if array.null_count:
        is_null = np.asarray(array.is_null())
        row = int(np.argmax(is_null)) // max(1, len(array) // num_rows)
        raise ColumnError(
            f"{row_text(row)}: null (in {array.null_count} of {counted(len(array), 'value')}); "
            "expected a value in every row"
        )


def _list_length(array: "pa.Array", *, rows_per_value: int) -> int:
    """The one length that all lists of an array have."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    if not len(lengths):
        return 1
    is_other = lengths != lengths[0]
    if is_other.any():
        place = int(np.argmax(is_other))
        raise ColumnError(
            f"{row_text(place // rows_per_value)}: a list of {lengths[place]}, the first has {lengths[0]}; expected "
            "lists of one length"
        )
    if lengths[0] == 0:
        raise ColumnError(f"{row_text(0)}: an empty list; expected lists of one length, 1 or more")
    return int(lengths[0])


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
