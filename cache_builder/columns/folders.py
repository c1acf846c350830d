"""Folders of columns for stretches of a cache: written beside it, moved into it, and found there intact."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cache_builder.errors import ColumnsError
from cache_builder.stages import Workspace
from frame_store.column_files import (
    ColumnContent,
    ColumnEntry,
    ColumnsRecord,
    open_column,
    read_columns_record,
    write_columns,
)
from frame_store.column_files import content_of_column as content_of
from frame_store.columns import NO_TEXT, Column, ColumnScope
from frame_store.errors import ColumnError, StoreDamagedError, StoreError
from frame_store.files import publish_folder, sync_tree
from frame_store.manifest import ColumnsEntry, JsonValue
from frame_store.names import COLUMNS_NAME, columns_folder
from frame_store.verify import check_file

_ROWS_PER_BLOCK: Final = 1 << 16


class ColumnFolders:
    """Folders of columns in the making, in `workspace.columns`, for the cache of the workspace.

    The caller holds the lock of the workspace, and clears `workspace.columns` before and afterwards.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.records: list[ColumnsRecord] = []
        """What each folder states, in the order in which they were written."""
        self.entries: list[ColumnsEntry] = []
        """Their entries in a manifest, in that order."""

    def write(
        self,
        columns: Iterable[ColumnContent],
        *,
        fingerprint: str,
        num_rows: int,
        first_video: int,
        num_videos: int,
        dataset: dict[str, JsonValue] | None,
    ) -> None:
        """Write the folder of the next videos. `fingerprint` is that of their generations.

        Raises:
            ColumnsError: names that differ by case alone.
            OSError: disk full or failing.
        """
        made = self._workspace.made_columns
        made.mkdir(parents=True)
        try:
            digest, record = write_columns(
                made,
                columns,
                fingerprint=fingerprint,
                num_rows=num_rows,
                num_videos=num_videos,
                dataset=dataset,
            )
        except ColumnError as error:
            raise ColumnsError(f"{self._workspace.output}: {error}") from error
        place = self._workspace.columns / columns_folder(digest)
        if not place.exists():
            made.rename(place)
        self.records.append(record)
        self.entries.append(
            ColumnsEntry(
                first_video=first_video,
                num_videos=num_videos,
                folder=columns_folder(digest),
                digest=digest,
            )
        )

    def place(self) -> bool:
        """Move the folders into the cache, synced; returns whether each was there already, with every byte."""
        cache = self._workspace.output
        were_there = True
        for entry in self.entries:
            made = self._workspace.columns / entry.folder
            if is_intact(cache, entry):
                continue
            were_there = False
            sync_tree(made)
            publish_folder(made, cache / entry.folder)
        return were_there


def is_intact(store_path: Path, entry: ColumnsEntry) -> bool:
    """Whether the folder of that name is in the cache, with every byte."""
    try:
        record = read_columns_record(store_path, entry)
    except StoreError:
        return False
    return not any(check_file(store_path, file.inside(entry.folder)) for file in record.files)


def kept_column(store_path: Path, entry: ColumnsEntry, record: ColumnsRecord, column: ColumnEntry) -> Column:
    """A column that a cache has, its hashes checked.

    Raises:
        StoreDamagedError: a file of it is damaged.
    """
    problems = [
        problem
        for file in column.files
        for problem in check_file(store_path, file.inside(entry.folder), recorded_in=COLUMNS_NAME)
    ]
    if problems:
        raise StoreDamagedError(
            f"{store_path}: {problems[0]}: column {column.name!r} stays and is damaged; give its table, too"
        )
    length = record.num_rows if column.scope == "frame" else record.num_videos
    return open_column(store_path, entry.folder, column, length=length)


def content_between(column: Column, begin: int, end: int) -> ColumnContent:
    """Rows [begin, end) of a column of a cache."""
    if (begin, end) == (0, len(column)):
        return content_of(column)

    def blocks() -> Iterator[npt.NDArray[Any]]:
        for first in range(begin, end, _ROWS_PER_BLOCK):
            yield column.gather(np.arange(first, min(first + _ROWS_PER_BLOCK, end)))

    return ColumnContent(
        name=column.name,
        scope=column.scope,
        dtype=column.dtype,
        shape=column.shape,
        length=end - begin,
        strings=column.strings,
        valid=column.gather_valid(np.arange(begin, end)) if column.may_miss_values else None,
        blocks=blocks,
    )


def missing_column(
    name: str, *, scope: ColumnScope, dtype: np.dtype[Any], shape: tuple[int, ...], is_text: bool, length: int
) -> ColumnContent:
    """A column whose values are all missing."""

    def blocks() -> Iterator[npt.NDArray[Any]]:
        for first in range(0, length, _ROWS_PER_BLOCK):
            rows = min(_ROWS_PER_BLOCK, length - first)
            yield np.full((rows, *shape), NO_TEXT if is_text else 0, dtype)

    return ColumnContent(
        name=name,
        scope=scope,
        dtype=dtype,
        shape=shape,
        length=length,
        strings=() if is_text else None,
        valid=np.zeros(length, np.bool_),
        blocks=blocks,
    )
