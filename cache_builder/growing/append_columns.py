"""The columns of the videos that an append adds: of a data set, of tables, and missing values for the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_builder.columns import (
    ColumnFolders,
    DatasetColumns,
    dataset_join,
    joined,
    kept_column,
    missing_column,
    rows_of_table,
)
from cache_builder.errors import ColumnsError, OutputError
from cache_builder.growing.column_kinds import ColumnKind, fits, kinds_given, kinds_of_cache
from cache_builder.growing.live_cache import LiveCache
from cache_builder.stages import Workspace
from frame_store.column_files import (
    ColumnContent,
    ColumnsRecord,
    content_of_column,
    content_of_join,
    read_columns_record,
)
from frame_store.errors import ColumnError, StoreError
from frame_store.manifest import ColumnsEntry, JsonValue
from frame_store.reader import CacheStore
from frame_store.shared import counted, without_controls
from frame_store.tables import (
    JoinTarget,
    Missing,
    Table,
    TableColumn,
    VideoNames,
    sorted_text_column,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class TablesGiven:
    """Tables for an append, and how they are joined."""

    tables: Sequence[Table] = ()
    missing: Missing = "refuse"
    tolerance_seconds: float | None = None
    skip: bool = False
    """Leave out the rows of a video that do not fit it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenColumns:
    """Folders of columns beside the cache, not yet in it."""

    folders: ColumnFolders
    of_new: ColumnsEntry
    """Its videos count from 0."""
    of_old: Sequence[ColumnsEntry] | None
    """Those of the videos that were there, where these get further columns; None where they keep theirs."""
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnsPlan:
    """Which columns the new videos get, known before anything is decoded."""

    there: Mapping[str, ColumnKind]
    """The columns of the cache."""
    records: Sequence[ColumnsRecord]
    """Of each of its folders."""
    dataset: DatasetColumns | None
    given: TablesGiven
    kinds: Mapping[str, ColumnKind]
    """What the data set and the tables give."""

    @property
    def lacking(self) -> list[str]:
        """Columns of the cache that the new videos do not get."""
        return [name for name in self.there if name not in self.kinds]

    @property
    def added(self) -> list[str]:
        """Columns that the videos of the cache lack."""
        return [name for name in self.kinds if name not in self.there]

    @property
    def is_empty(self) -> bool:
        """Whether there are no columns at all."""
        return not self.there and not self.kinds


def columns_of(cache: LiveCache) -> list[ColumnsRecord]:
    """What each folder of columns of a cache states.

    Raises:
        OutputError: one is damaged.
        OSError: no more files can be opened.
    """
    try:
        return [read_columns_record(cache.path, entry) for entry in cache.manifest.columns]
    except StoreError as error:
        raise OutputError(str(error)) from error


def plan_columns(cache: LiveCache, *, dataset: DatasetColumns | None, given: TablesGiven) -> ColumnsPlan:
    """Compare the columns of the cache with those that are given for the new videos.

    Raises:
        ColumnsError: the cache has columns that nobody gives, or lacks some that are given, and `missing` is `refuse`;
            or a column is of another kind.
        OutputError: columns of the cache are damaged.
        OSError: no more files can be opened.
    """
    records = columns_of(cache)
    plan = ColumnsPlan(
        there=kinds_of_cache(records),
        records=records,
        dataset=dataset,
        given=given,
        kinds=kinds_given(dataset, given.tables),
    )
    for name, kind in plan.kinds.items():
        then = plan.there.get(name)
        if then is not None and not fits(kind, then):
            raise ColumnsError(
                f"column {without_controls(name)!r}: the cache has {then.text}, the new videos are given {kind.text}"
            )
    if given.missing == "refuse":
        _refuse_missing(cache, plan)
    return plan


def _refuse_missing(cache: LiveCache, plan: ColumnsPlan) -> None:
    if plan.lacking:
        raise ColumnsError(
            f"{cache.path}: has {_named(plan.lacking)}, which nothing gives for the new videos: give "
            "{--columns} a table with their rows, or {--columns-missing mask} for missing values"
        )
    if plan.added:
        raise ColumnsError(
            f"{cache.path}: lacks {_named(plan.added)}, given for the new videos: write these for the videos that are "
            f"there first (cache-build --columns TABLE --out {cache.path}), or give {{--columns-missing mask}} for "
            "missing values there"
        )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(without_controls(name)) for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"the column{'s' if len(names) > 1 else ''} {shown}{more}"


def write_append_columns(
    plan: ColumnsPlan, cache: LiveCache, new: CacheStore, *, workspace: Workspace
) -> WrittenColumns | None:
    """Write the columns of the new videos, and those of the others that get further ones, beside the cache.

    `new` is the new generation alone; of cameras, that of the first one. None where there are no columns.

    Raises:
        ColumnsError: a table does not fit the new videos.
        StoreDamagedError: columns of the cache, which are to be written again, are damaged.
        OSError: disk full or failing.
    """
    if plan.is_empty:
        return None
    folders = ColumnFolders(workspace)
    notes: list[str] = []
    problems: list[str] = []
    contents = {content.name: content for content in _contents_of_new(plan, cache, new, notes, problems)}
    num_rows, num_videos = new.source_order.num_rows, new.tree.num_videos
    for name in plan.lacking:
        kind = plan.there[name]
        length = num_rows if kind.scope == "frame" else num_videos
        contents[name] = _missing(name, kind, length)
    if plan.lacking:
        notes.append(f"missing in the new videos: {_named(plan.lacking)}")
    of_old = _write_old(plan, cache, folders) if plan.added else None
    if plan.added:
        notes.append(f"missing in the videos that were there: {_named(plan.added)}")
    folders.write(
        contents.values(),
        fingerprint=new.fingerprint,
        num_rows=num_rows,
        first_video=0,
        num_videos=num_videos,
        dataset=_statement(plan),
    )
    return WrittenColumns(
        folders=folders, of_new=folders.entries[-1], of_old=of_old, notes=notes, problems=problems
    )


def _statement(plan: ColumnsPlan) -> dict[str, JsonValue] | None:
    """What the data set states now; without one, what the newest columns of the cache state."""
    if plan.dataset is not None:
        return plan.dataset.recorded
    return plan.records[-1].dataset if plan.records else None


def _missing(name: str, kind: ColumnKind, length: int) -> ColumnContent:
    return missing_column(
        name, scope=kind.scope, dtype=kind.dtype, shape=kind.shape, is_text=kind.is_text, length=length
    )


def _contents_of_new(
    plan: ColumnsPlan, cache: LiveCache, new: CacheStore, notes: list[str], problems: list[str]
) -> Iterator[ColumnContent]:
    videos, order, given = new.video_entries, new.source_order, plan.given
    by_table = {name for table in given.tables for name in table.columns}
    if plan.dataset is not None:
        for column in dataset_join(plan.dataset, videos=videos, source_order=order).columns:
            if column.name not in by_table:
                yield _as_there(content_of_join(column), plan.there)
    paths = [video.path for video in videos]
    target = JoinTarget(paths=paths, verdicts=[video.verdict for video in videos], source_order=order)
    taken = []
    for table in given.tables:
        kept, num_old = _rows_of_new(table, paths, cache)
        if num_old:
            notes.append(
                f"{table.source}: {counted(num_old, 'row')} of videos that the cache has already, not written again"
            )
        if kept is not None:
            taken.append(kept)
            continue
        text = f"{table.source}: has no row of the new videos"
        if given.missing == "refuse":
            raise ColumnsError(f"{text}; {{--columns-missing mask}} marks their values as missing")
        notes.append(text)
        for name in table.columns:
            kind = plan.there.get(name, plan.kinds[name])
            length = order.num_rows if kind.scope == "frame" else len(paths)
            yield _missing(name, kind, length)
    if taken:
        join = joined(
            taken,
            target,
            missing=given.missing,
            tolerance_seconds=given.tolerance_seconds,
            skip=given.skip,
        )
        notes += join.notes
        problems += join.problems
        for column in join.columns:
            yield _as_there(content_of_join(column), plan.there)


def _rows_of_new(table: Table, paths: Sequence[str], cache: LiveCache) -> tuple[Table | None, int]:
    """The rows of a table without those of the cache's videos, and how many these are; None without a row.

    A name means a video of the cache as it would if the new ones were there already.
    """
    again = set(paths)  # some may come in place of a video that is, or gets, forgotten
    old = [path for path in cache.live if path not in again]
    forgotten = [path for path in cache.forgotten if path not in again and path not in cache.live]
    all_paths = [*paths, *old, *forgotten]
    names = VideoNames(all_paths, hidden=range(len(paths) + len(old), len(all_paths)))
    texts: Sequence[str] = table.video.strings or ()
    try:
        is_old = np.array([names.find(text) >= len(paths) for text in texts], np.bool_)
    except ColumnError as error:
        raise ColumnsError(f"{table.source}: {error}") from error
    of_row = is_old[table.video.values] if len(texts) else np.zeros(len(table), np.bool_)
    num_old = int(np.count_nonzero(of_row))
    if not num_old:
        return table, 0
    if num_old == len(table):
        return None, num_old
    kept = rows_of_table(table, np.flatnonzero(~of_row))
    return replace(
        kept, columns={name: _used_texts(column) for name, column in kept.columns.items()}
    ), num_old


def _used_texts(column: TableColumn) -> TableColumn:
    """The column without the texts that no row has: those of the old videos stay in their own columns."""
    if column.strings is None:
        return column
    used, codes = np.unique(column.values, return_inverse=True)
    return sorted_text_column(
        codes.reshape(-1).astype(np.int32), [column.strings[code] for code in used.tolist()]
    )


def _as_there(content: ColumnContent, there: Mapping[str, ColumnKind]) -> ColumnContent:
    """The column with numbers of the type that the cache has; raises where one cannot be stored so."""
    then = there.get(content.name)
    if then is None or then.dtype == content.dtype:
        return content
    return replace(content, dtype=then.dtype, blocks=_cast(content, then.dtype))


def _cast(content: ColumnContent, dtype: np.dtype[Any]) -> Callable[[], Iterator[npt.NDArray[Any]]]:
    def blocks() -> Iterator[npt.NDArray[Any]]:
        for block in content.blocks():
            with np.errstate(invalid="ignore", over="ignore"):
                made = block.astype(dtype)
                is_same = (made == block) | (made != made) & (block != block)  # noqa: PLR0124 - NaN
            if not is_same.all():
                value = block[~is_same][0]
                raise ColumnsError(
                    f"column {without_controls(content.name)!r}: the cache has {dtype.name}, which cannot hold {value}"
                )
            yield made

    return blocks


def _write_old(plan: ColumnsPlan, cache: LiveCache, folders: ColumnFolders) -> list[ColumnsEntry]:
    """Folders for the videos that are there, with the added columns as missing ones."""
    tree = cache.trees[0]
    for entry, record in zip(cache.manifest.columns, plan.records, strict=True):
        kept = [
            content_of_column(kept_column(cache.path, entry, record, column)) for column in record.columns
        ]
        folders.write(
            [*kept, *_added(plan, record.num_rows, record.num_videos)],
            fingerprint=record.generation,
            num_rows=record.num_rows,
            first_video=entry.first_video,
            num_videos=entry.num_videos,
            dataset=record.dataset,
        )
    if not plan.records:
        for number, each in enumerate(tree.generations):
            videos = cache.tables[0][each.entry.first_video : each.entry.end_video]
            num_rows = sum(video.num_frames_decoded for video in videos)
            folders.write(
                _added(plan, num_rows, len(videos)),
                fingerprint=tree.alone(number).fingerprint,
                num_rows=num_rows,
                first_video=each.entry.first_video,
                num_videos=len(videos),
                dataset=None,
            )
    return [*folders.entries]


def _added(plan: ColumnsPlan, num_rows: int, num_videos: int) -> list[ColumnContent]:
    return [
        _missing(name, plan.kinds[name], num_rows if plan.kinds[name].scope == "frame" else num_videos)
        for name in plan.added
    ]
