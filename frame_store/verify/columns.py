"""The columns of a cache: every hash, and what the hashes do not tell of a cache of unknown origin."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from frame_store.column_files import ColumnEntry, has_columns, open_column, read_columns_record
from frame_store.columns import Column
from frame_store.errors import StoreError
from frame_store.manifest import CacheManifest, CacheTree, ColumnsEntry
from frame_store.names import COLUMNS_NAME
from frame_store.shared import counted
from frame_store.source_order import Int64s
from frame_store.verify.files import check_file

_ROWS_PER_STEP: Final = 1 << 18


def check_columns(
    store_path: Path,
    manifest: CacheManifest,
    *,
    tree: CacheTree | None,
    first_row: Int64s | None = None,
    only: ColumnsEntry | None = None,
) -> Iterator[str]:
    """One line for each file of the columns that is damaged or cannot be right.

    Args:
        store_path: the cache.
        manifest: its newest manifest.
        tree: all its generations, of a cache of cameras those of the first one; None where one cannot be read.
        first_row: decoded frames before each video, and of all, int64, shape (V + 1,); None where they are not known.
        only: one entry of the manifest; None for all.
    """
    for entry in manifest.columns if only is None else [only]:
        try:
            record = read_columns_record(store_path, entry)
        except StoreError as error:
            yield str(error).removeprefix(f"{store_path}/")
            continue
        if tree is not None and not has_columns(tree, entry, record):
            yield (
                f"{entry.folder}/{COLUMNS_NAME}: is of generation {record.generation[:16]} with "
                f"{counted(record.num_videos, 'video')}, the manifest names it for "
                f"{counted(entry.num_videos, 'video')} from {entry.first_video} on"
            )
            continue
        if first_row is not None:
            end = entry.first_video + entry.num_videos
            num_rows = int(first_row[end] - first_row[entry.first_video])
            if record.num_rows != num_rows:
                yield (
                    f"{entry.folder}/{COLUMNS_NAME}: is for {counted(record.num_rows, 'decoded frame')}, the table of "
                    f"videos has {num_rows}"
                )
                continue
        for column in record.columns:
            length = record.num_rows if column.scope == "frame" else record.num_videos
            for problem in _problems(store_path, entry, column, length=length):
                yield f"{problem} (column {column.name!r})"


def column_file_names(store_path: Path, manifest: CacheManifest) -> Iterator[str]:
    """Paths inside the cache of the files of its columns; of a damaged `columns.json`, its path alone."""
    for entry in manifest.columns:
        yield f"{entry.folder}/{COLUMNS_NAME}"
        try:
            record = read_columns_record(store_path, entry)
        except StoreError:
            continue
        yield from (file.inside(entry.folder).name for file in record.files)


def _problems(store_path: Path, entry: ColumnsEntry, column: ColumnEntry, *, length: int) -> Iterator[str]:
    broken = [
        problem
        for file in column.files
        for problem in check_file(store_path, file.inside(entry.folder), recorded_in=COLUMNS_NAME)
    ]
    if broken:
        # They are mapped: a page that the disk cannot read would kill the process.
        yield from broken
        return
    name = column.values.inside(entry.folder).name
    try:
        opened = open_column(store_path, entry.folder, column, length=length)
        yield from (f"{name}: {problem}" for problem in _content_problems(opened, column))
    except StoreError as error:
        yield str(error).removeprefix(f"{store_path}/")


def _content_problems(opened: Column, column: ColumnEntry) -> Iterator[str]:
    """Reads every value: a code without a text is an error of its own."""
    num_missing = 0
    edges = [*range(0, len(opened), _ROWS_PER_STEP), len(opened)]
    for begin, end in pairwise(edges):
        rows = np.arange(begin, end)
        values, valid = opened.gather(rows), opened.gather_valid(rows)
        num_missing += int(np.count_nonzero(~valid))
        if (valid.view(np.uint8) > 1).any():
            yield f"row {begin + int(np.argmax(valid.view(np.uint8) > 1))}: is neither valid nor missing"
            return
        if opened.dtype == np.bool_ and (values.view(np.uint8) > 1).any():
            yield f"rows {begin} to {end - 1}: a value is neither true nor false"
            return
        if opened.strings is not None and ((values < 0) & valid).any():
            yield f"row {begin + int(np.argmax((values < 0) & valid))}: is valid and has no text"
            return
    if num_missing != column.num_missing:
        yield f"{counted(num_missing, 'value')} missing, {COLUMNS_NAME} has {column.num_missing}"
