"""Writes a folder of columns."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from frame_store.column_files.record import (
    ColumnEntry,
    ColumnsRecord,
    codes_name,
    encode_columns,
    valid_name,
    values_name,
)
from frame_store.columns import Column, ColumnScope
from frame_store.manifest import FileEntry, JsonValue
from frame_store.names import COLUMNS_NAME
from frame_store.tables import JoinedColumn

_ROWS_PER_BLOCK: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnContent:
    """A column to write."""

    name: str
    scope: ColumnScope
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of one value."""
    length: int
    strings: Sequence[str] | None
    valid: npt.NDArray[np.bool_] | None
    blocks: Callable[[], Iterator[npt.NDArray[Any]]]
    """The values in order, some rows at a time."""


def content_of_join(joined: JoinedColumn) -> ColumnContent:
    """A column that a table gave."""
    return ColumnContent(
        name=joined.name,
        scope=joined.scope,
        dtype=joined.column.values.dtype,
        shape=joined.column.values.shape[1:],
        length=len(joined),
        strings=joined.column.strings,
        valid=joined.valid,
        blocks=joined.blocks,
    )


def content_of_column(column: Column) -> ColumnContent:
    """A column that a cache has already."""

    def blocks() -> Iterator[npt.NDArray[Any]]:
        for begin in range(0, len(column), _ROWS_PER_BLOCK):
            yield column.gather(np.arange(begin, min(begin + _ROWS_PER_BLOCK, len(column))))

    return ColumnContent(
        name=column.name,
        scope=column.scope,
        dtype=column.dtype,
        shape=column.shape,
        length=len(column),
        strings=column.strings,
        valid=column.gather_valid(np.arange(len(column))) if column.may_miss_values else None,
        blocks=blocks,
    )


def write_columns(
    folder: Path,
    columns: Iterable[ColumnContent],
    *,
    fingerprint: str,
    num_rows: int,
    num_videos: int,
    dataset: dict[str, JsonValue] | None = None,
) -> tuple[str, ColumnsRecord]:
    """Write the columns of a generation and their `columns.json` into `folder`, which is empty.

    Equal columns give equal bytes, in whatever order they are given.

    Returns:
        The SHA-256 of `columns.json`, from which the folder gets its name, and what it states.

    Raises:
        ColumnError, ValueError: names that are equal or differ by case alone, or no columns.
        OSError: disk full or failing.
    """
    entries = [
        _write(folder, number, column)
        for number, column in enumerate(sorted(columns, key=lambda column: column.name))
    ]
    record = ColumnsRecord(
        generation=fingerprint, num_rows=num_rows, num_videos=num_videos, columns=entries, dataset=dataset
    )
    content = encode_columns(record)
    (folder / COLUMNS_NAME).write_bytes(content)
    return hashlib.sha256(content).hexdigest(), record


def _write(folder: Path, number: int, column: ColumnContent) -> ColumnEntry:
    shape = (column.length, *column.shape)
    num_missing = 0 if column.valid is None else column.length - int(np.count_nonzero(column.valid))
    codes = None
    if column.strings is not None:
        content = msgspec.json.format(msgspec.json.encode(list(column.strings)), indent=1) + b"\n"
        codes = _write_file(folder, codes_name(number), [content])
    return ColumnEntry(
        name=column.name,
        scope=column.scope,
        dtype=column.dtype.str,
        shape=list(column.shape),
        num_missing=num_missing,
        values=_write_file(folder, values_name(number), _npy(column.dtype, shape, column.blocks())),
        codes=codes,
        valid=(
            _write_file(folder, valid_name(number), _npy(np.dtype(np.bool_), shape[:1], iter([column.valid])))
            if column.valid is not None and num_missing
            else None
        ),
    )


def _npy(dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterator[npt.NDArray[Any]]) -> Iterator[bytes]:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    yield header.getvalue()
    for block in blocks:
        yield np.ascontiguousarray(block, dtype).tobytes()


def _write_file(folder: Path, name: str, blocks: Iterable[bytes]) -> FileEntry:
    # Plain writes: through a memory map a full disk would kill the process instead of raising.
    digest = hashlib.sha256()
    with (folder / name).open("wb") as file:
        for block in blocks:
            file.write(block)
            digest.update(block)
        return FileEntry(name=name, num_bytes=file.tell(), sha256=digest.hexdigest())
