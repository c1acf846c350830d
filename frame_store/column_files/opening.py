"""Opens the columns of a generation, which may come from a stranger."""

import hashlib
from collections.abc import Mapping
from functools import partial
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
from frame_store.columns import NO_COLUMNS, Column, ColumnPart, Columns, MappedArray, concat_columns
from frame_store.errors import ColumnError, StoreDamagedError, StoreFormatError
from frame_store.files import read_inside
from frame_store.manifest import CacheTree, ColumnsEntry, FileEntry, need_files
from frame_store.names import COLUMNS_NAME
from frame_store.remote import MirroredFile, RemoteCache
from frame_store.shared import counted, raise_if_out_of_files
from frame_store.source_order import Int64s


def open_columns(tree: CacheTree, *, first_row: Int64s) -> Columns:
    """The columns of a cache. Values are mapped when they are gathered.

    `first_row` has the decoded frames before each video of the tree, and of all: int64, shape (V + 1,). A column that
    some videos lack is left out.

    Raises:
        StoreDamagedError: `columns.json` or a list of texts is missing or was altered, or belongs to other
            generations.
        StoreFormatError: as `read_columns_record`, or one column has two kinds.
        OSError: no more files can be opened.
    """
    opened = [
        _opened(
            tree,
            entry,
            num_rows=int(first_row[entry.first_video + entry.num_videos] - first_row[entry.first_video]),
        )
        for entry in entries_of(tree)
    ]
    if not opened:
        return NO_COLUMNS
    try:
        return concat_columns(opened, fingerprint=tree.fingerprint)[0]
    except ColumnError as error:
        raise StoreFormatError(f"{tree.store_path}: {error}") from error


def entries_of(tree: CacheTree) -> list[ColumnsEntry]:
    """The folders of columns of the videos of a tree, in order."""
    return [entry for entry in tree.manifest.columns if entry.first_video < tree.num_videos]


def _opened(tree: CacheTree, entry: ColumnsEntry, *, num_rows: int) -> Columns:
    store_path = tree.store_path
    record = _read_record(tree, entry)
    if not has_columns(tree, entry, record) or record.num_rows != num_rows:
        raise StoreDamagedError(
            f"{store_path / entry.folder}: columns of generation {record.generation[:16]} with "
            f"{counted(record.num_rows, 'frame')} and {counted(record.num_videos, 'video')}, "
            f"expected those of videos {entry.first_video} to {entry.first_video + entry.num_videos - 1} with "
            f"{counted(num_rows, 'frame')}; {remedy(tree.text)}"
        )
    length_of = {"frame": num_rows, "video": entry.num_videos}
    try:
        return Columns(
            [
                open_column(
                    store_path, entry.folder, column, length=length_of[column.scope], remote=tree.remote
                )
                for column in record.columns
            ],
            num_rows=num_rows,
            num_videos=entry.num_videos,
            fingerprint=record.generation,
        )
    except ColumnError as error:
        raise StoreFormatError(f"{store_path / entry.folder}: {error}") from error


def has_columns(tree: CacheTree, entry: ColumnsEntry, record: ColumnsRecord) -> bool:
    """Whether columns are those of the videos of their entry; for another camera than the first, by number alone."""
    expected = tree.fingerprint_of_videos(entry.first_video, entry.num_videos)
    is_same = record.generation == expected if tree.leads else expected is not None
    return is_same and record.num_videos == entry.num_videos


def read_dataset(tree: CacheTree) -> Mapping[str, Any] | None:
    """What the data set that the columns come from states about itself; None where nothing is stated.

    Where the cache has grown, the statement of the newest columns counts: it is about all that was there then.

    Raises as `read_columns_record`, and StoreDamagedError where the columns are of other videos.
    """
    entries = entries_of(tree)
    if not entries:
        return None
    record = _read_record(tree, entries[-1])
    if not has_columns(tree, entries[-1], record):
        raise StoreDamagedError(
            f"{tree.store_path / entries[-1].folder}: is of another generation; {remedy(tree.text)}"
        )
    return record.dataset


def _read_record(tree: CacheTree, entry: ColumnsEntry) -> ColumnsRecord:
    """What `columns.json` states. Raises what `read_columns_record` and `need_files` raise."""
    if tree.remote is not None:
        name = f"{entry.folder}/{COLUMNS_NAME}"
        tree.remote.need([MirroredFile(name=name, sha256=entry.digest, num_bytes=None)])
    return read_columns_record(tree.store_path, entry)


def open_column(
    store_path: Path, folder: str, column: ColumnEntry, *, length: int, remote: RemoteCache | None = None
) -> Column:
    """One column of the folder of columns `folder`, with `length` rows. Raises as `read_texts`."""

    def mapped(file: FileEntry, dtype: str, shape: tuple[int, ...]) -> MappedArray:
        entry = file.inside(folder)
        need = None if remote is None else partial(need_files, remote, [entry])
        return MappedArray(
            store_path,
            entry.name,
            dtype=np.dtype(dtype),
            shape=shape,
            need=need,
            cache_name=None if remote is None else remote.url.text,
        )

    if column.codes is not None:
        need_files(remote, [column.codes.inside(folder)])
    cache = store_path if remote is None else remote.url.text
    return Column(
        name=column.name,
        scope=column.scope,
        parts=(
            ColumnPart(
                values=mapped(column.values, column.dtype, (length, *column.shape)),
                valid=None if column.valid is None else mapped(column.valid, "|b1", (length,)),
            ),
        ),
        strings=None
        if column.codes is None
        else read_texts(store_path, column.codes.inside(folder), cache=cache),
    )


def read_texts(store_path: Path, entry: FileEntry, *, cache: Path | str) -> tuple[str, ...]:
    """The texts of a column, by code. `cache` is what the cache is called in messages.

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
        raise StoreDamagedError(f"{path}: {error.strerror}; {remedy(cache)}") from error
    if len(raw) != entry.num_bytes or hashlib.sha256(raw).hexdigest() != entry.sha256:
        raise StoreDamagedError(f"{path}: sha256 differs from that in columns.json; {remedy(cache)}")
    try:
        texts = msgspec.json.decode(raw, type=tuple[str, ...])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreFormatError(f"{path}: {error}") from error
    if len(set(texts)) < len(texts):
        raise StoreFormatError(f"{path}: a text is listed twice")
    return texts
