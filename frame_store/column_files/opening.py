"""Opens the columns of a generation, which may come from a stranger."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from frame_store.column_files.record import (
    MAX_TEXTS_BYTES,
    ColumnEntry,
    ColumnsRecord,
    read_columns_record,
    remedy,
)
from frame_store.columns import NO_COLUMNS, Column, ColumnPart, Columns, MappedArray
from frame_store.errors import ColumnError, StoreDamagedError, StoreFormatError
from frame_store.files import read_inside
from frame_store.manifest import CacheTree, FileEntry
from frame_store.names import generation_folder
from frame_store.shared import counted, raise_if_out_of_files


def open_columns(tree: CacheTree, *, num_rows: int) -> Columns:
    """The columns of a cache whose generation has `num_rows` decoded frames. Values are mapped when they are gathered.

    Raises:
        StoreDamagedError: `columns.json` or a list of texts is missing or was altered, or belongs to another
            generation.
        StoreFormatError: as `read_columns_record`.
        OSError: no more files can be opened.
    """
    if not tree.manifest.columns:
        return NO_COLUMNS
    entry, store_path, generation = tree.manifest.columns[0], tree.store_path, tree.generation
    record = read_columns_record(store_path, entry)
    if not has_columns(tree, record) or record.num_rows != num_rows:
        raise StoreDamagedError(
            f"{store_path / entry.folder}: columns of generation {record.generation[:16]} with "
            f"{counted(record.num_rows, 'frame')} and {counted(record.num_videos, 'video')}, "
            f"expected {entry.generation.removeprefix('gen-')} with {num_rows} and {generation.num_videos}; "
            f"{remedy(store_path)}"
        )
    length_of = {"frame": num_rows, "video": generation.num_videos}
    try:
        return Columns(
            [
                open_column(store_path, entry.folder, column, length=length_of[column.scope])
                for column in record.columns
            ],
            num_rows=num_rows,
            num_videos=generation.num_videos,
            fingerprint=generation.fingerprint,
        )
    except ColumnError as error:
        raise StoreFormatError(f"{store_path / entry.folder}: {error}") from error


def has_columns(tree: CacheTree, record: ColumnsRecord) -> bool:
    """Whether columns are those of the generation, or of the first camera's where it is another camera's."""
    is_same = tree.generation.fingerprint == record.generation if tree.leads else True
    is_named = generation_folder(record.generation) == tree.manifest.columns[0].generation
    return is_same and is_named and record.num_videos == tree.generation.num_videos


def read_dataset(tree: CacheTree) -> Mapping[str, Any] | None:
    """What the data set that the columns come from states about itself; None where nothing is stated.

    Raises as `read_columns_record`, and StoreDamagedError where the columns are of another generation.
    """
    if not tree.manifest.columns:
        return None
    entry = tree.manifest.columns[0]
    record = read_columns_record(tree.store_path, entry)
    if not has_columns(tree, record):
        raise StoreDamagedError(
            f"{tree.store_path / entry.folder}: is of another generation; {remedy(tree.store_path)}"
        )
    return record.dataset


def open_column(store_path: Path, folder: str, column: ColumnEntry, *, length: int) -> Column:
    """One column of the folder of columns `folder`, with `length` rows. Raises as `read_texts`."""

    def mapped(file: FileEntry, dtype: str, shape: tuple[int, ...]) -> MappedArray:
        return MappedArray(store_path, file.inside(folder).name, dtype=np.dtype(dtype), shape=shape)

    return Column(
        name=column.name,
        scope=column.scope,
        parts=(
            ColumnPart(
                values=mapped(column.values, column.dtype, (length, *column.shape)),
                valid=None if column.valid is None else mapped(column.valid, "|b1", (length,)),
            ),
        ),
        strings=None if column.codes is None else read_texts(store_path, column.codes.inside(folder)),
    )


def read_texts(store_path: Path, entry: FileEntry) -> tuple[str, ...]:
    """The texts of a column, by code.

    Raises:
        StoreDamagedError: the file is missing, a link, cannot be read or was altered.
        StoreFormatError: it has the recorded hash, and is no list of different texts.
        OSError: no more files can be opened.
    """
    path = store_path / entry.name
    try:
        raw = read_inside(store_path, entry.name, max_bytes=MAX_TEXTS_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        raise StoreDamagedError(f"{path}: {error.strerror}; {remedy(store_path)}") from error
    if len(raw) != entry.num_bytes or hashlib.sha256(raw).hexdigest() != entry.sha256:
        raise StoreDamagedError(f"{path}: sha256 differs from that in columns.json; {remedy(store_path)}")
    try:
        texts = msgspec.json.decode(raw, type=tuple[str, ...])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreFormatError(f"{path}: {error}") from error
    if len(set(texts)) < len(texts):
        raise StoreFormatError(f"{path}: a text is listed twice")
    return texts
