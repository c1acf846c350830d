"""The columns of a data set, written into a cache before its first manifest, which names them."""

import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import ColumnsError
from cache_builder.sources import SourceContents
from frame_store.column_files import content_of_join, read_columns_record, write_columns
from frame_store.errors import ColumnError
from frame_store.files import publish_folder
from frame_store.manifest import CacheTree, ColumnsEntry, JsonValue, VideoEntry
from frame_store.names import columns_folder
from frame_store.source_order import SourceOrder
from frame_store.tables import Join, JoinTarget, Table, TableColumn, join_tables

DATASET_DIGEST: Final = "sha256"
"""Key of the hash in what a cache records of a data set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetColumns:
    """What a data set states beside its videos."""

    tables: list[Table]
    statement: dict[str, JsonValue]

    @property
    def recorded(self) -> dict[str, JsonValue]:
        """The statement as a cache records it: with the hash of the statement and of all values."""
        return {**self.statement, DATASET_DIGEST: self.digest}

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        digest = hashlib.sha256(msgspec.json.encode(self.statement, order="sorted"))
        for table in self.tables:
            _digest_column(digest, "video", table.video)
            for name, keys in (("frame", table.frames), ("seconds", table.seconds)):
                if keys is not None:
                    _digest_column(digest, name, TableColumn(values=keys))
            for name in sorted(table.columns):
                _digest_column(digest, name, table.columns[name])
        return digest.hexdigest()


def read_dataset(contents: SourceContents) -> DatasetColumns | None:
    """Read the columns of a source; None for plain videos.

    Raises: what the source's `read_tables` raises.
    """
    dataset = contents.dataset
    if dataset is None:
        return None
    return DatasetColumns(tables=list(dataset.read_tables()), statement=dataset.statement)


def dataset_differs(tree: CacheTree, videos: Sequence[VideoEntry], contents: SourceContents) -> bool:
    """Whether a data set no longer has the values, or states the same, as when the columns of a cache were written.

    The values of each folder of columns are compared for its videos, and the newest statement with that of now. A
    source without a data set differs from a cache that records one. `tree` and `videos` are those of the first camera.

    Raises: what the source's `read_tables` raises, and what `read_columns_record` raises.
    """
    records = [read_columns_record(tree.store_path, entry) for entry in tree.manifest.columns]
    recorded = [record.dataset for record in records]
    dataset = contents.dataset
    if not recorded or all(each is None for each in recorded):
        return False
    newest = recorded[-1]
    if dataset is None or newest is None or _without_digest(newest) != _as_json(dataset.statement):
        return True
    names_of_all = {video.path for video in videos}
    for entry, then in zip(tree.manifest.columns, recorded, strict=True):
        names = {video.path for video in videos[entry.first_video : entry.first_video + entry.num_videos]}
        whole = names == names_of_all and names == {video.relative_path for video in contents.videos}
        if then is None or not names <= {video.relative_path for video in contents.videos}:
            continue  # a part of the videos is forgotten, and the data set may have lost them
        tables = dataset.read_tables() if whole else dataset.of_videos(names).read_tables()
        now = DatasetColumns(tables=[*tables], statement=_without_digest(then))
        if now.digest != then.get(DATASET_DIGEST):
            return True
    return False


def _without_digest(recorded: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value for name, value in recorded.items() if name != DATASET_DIGEST}


def _as_json(statement: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """As it is read back from a file."""
    made: dict[str, JsonValue] = msgspec.json.decode(msgspec.json.encode(statement))
    return made


def write_dataset_columns(
    dataset: DatasetColumns,
    *,
    videos: Sequence[VideoEntry],
    source_order: SourceOrder,
    fingerprint: str,
    cache: Path,
    scratch: Path,
    first_video: int = 0,
    recorded: Mapping[str, JsonValue] | None = None,
) -> ColumnsEntry:
    """Write the columns of the stored videos into the folder of a cache.

    Rows of videos that are not stored are left out.

    Args:
        dataset: what the videos come from.
        videos: some that follow each other, of a cache without cameras or of its first camera.
        source_order: of these videos.
        fingerprint: of their built generations together.
        cache: its folder.
        scratch: a path on the same disk at which nothing else lies.
        first_video: `video_id`, in the cache, of the first of the videos.
        recorded: what the data set states about itself; None for what `dataset` states. Of columns that were written
            before the data set grew, it is what was recorded then.

    Raises:
        ColumnsError: a decoded frame without a row, or a row without a frame, or no columns at all.
        OSError: disk full or failing.
    """
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(parents=True)
    join = dataset_join(dataset, videos=videos, source_order=source_order)
    try:
        digest, _ = write_columns(
            scratch,
            map(content_of_join, join.columns),
            fingerprint=fingerprint,
            num_rows=source_order.num_rows,
            num_videos=len(videos),
            dataset=dataset.recorded if recorded is None else dict(recorded),
        )
    except ColumnError as error:
        raise ColumnsError(str(error)) from error
    publish_folder(scratch, cache / columns_folder(digest))
    return ColumnsEntry(
        first_video=first_video, num_videos=len(videos), folder=columns_folder(digest), digest=digest
    )


def dataset_join(dataset: DatasetColumns, *, videos: Sequence[VideoEntry], source_order: SourceOrder) -> Join:
    """The columns of a data set for the stored videos. Rows of videos that are not stored are left out.

    Raises:
        ColumnsError: a decoded frame without a row, or a row without a frame, or no columns at all.
    """
    stored = {video.path for video in videos if video.num_frames_decoded}
    target = JoinTarget(
        paths=[video.path for video in videos],
        # The frames of an episode are those that the data set promises, whatever their pictures are like.
        verdicts=["whole" if video.span is not None else video.verdict for video in videos],
        source_order=source_order,
    )
    if not dataset.tables:
        raise ColumnsError("the data set has no values beside its videos")
    try:
        return join_tables([_rows_of(table, stored) for table in dataset.tables], target)
    except ColumnError as error:
        raise ColumnsError(str(error)) from error


def _rows_of(table: Table, videos: Collection[str]) -> Table:
    """The rows of some videos."""
    texts: Sequence[str] = table.video.strings or ()
    is_taken = np.array([text in videos for text in texts], np.bool_)[table.video.values]
    if is_taken.all():
        return table
    rows = np.flatnonzero(is_taken)
    if not len(rows):
        raise ColumnError(f"{table.source}: has no row of the videos that are stored")
    return rows_of_table(table, rows)


def rows_of_table(table: Table, rows: npt.NDArray[np.intp]) -> Table:
    """Some rows of a table."""
    return replace(
        table,
        video=replace(table.video, values=table.video.values[rows]),
        frames=None if table.frames is None else table.frames[rows],
        seconds=None if table.seconds is None else table.seconds[rows],
        columns={name: replace(column, values=column.values[rows]) for name, column in table.columns.items()},
        place=lambda row: table.place(int(rows[row])),
    )


def _digest_column(digest: "hashlib._Hash", name: str, column: TableColumn) -> None:
    values = np.ascontiguousarray(column.values)
    digest.update(msgspec.json.encode([name, values.dtype.str, values.shape, column.strings]))
    digest.update(values.tobytes())
