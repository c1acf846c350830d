"""Joined columns as a new version of a cache: a folder for each generation first, then the manifest that names them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cache_builder.columns.folders import ColumnFolders, content_between, kept_column
from cache_builder.columns.report import ColumnsReport, joined_summaries
from cache_builder.stages import Workspace, commit_manifest
from frame_store.column_files import ColumnContent, ColumnsRecord, content_of_join, read_columns_record
from frame_store.columns import Column, Columns, concat_columns
from frame_store.errors import ColumnError, StoreDamagedError, StoreError
from frame_store.manifest import CacheTree, JsonValue, next_manifest
from frame_store.reader import CacheStore
from frame_store.shared import without_controls
from frame_store.tables import Join, JoinedColumn


def publish_columns(store: CacheStore, join: Join, *, workspace: Workspace) -> ColumnsReport:
    """Write the columns of `join`, and those that the cache has beside them, into the cache of `workspace`.

    Each generation gets a folder of its own. The caller holds the lock of the workspace, and removes
    `workspace.columns` afterwards.

    Raises:
        ColumnsError: names that differ from those of the cache's columns by case alone.
        StoreDamagedError: columns that the tables do not give again are damaged.
        OutputError: another process has written a new version.
        OSError: disk full or failing.
    """
    tree, first_row = store.tree, store.source_order.first_row
    kept = _kept(tree, {column.name for column in join.columns})
    folders = ColumnFolders(workspace)
    for first, end, fingerprint in _stretches(tree, as_named=kept.damage is not None):
        rows = (int(first_row[first]), int(first_row[end]))
        folders.write(
            [
                *(
                    content_between(column, *(rows if column.scope == "frame" else (first, end)))
                    for column in kept.columns
                ),
                *(
                    _part(column, rows if column.scope == "frame" else (first, end))
                    for column in join.columns
                ),
            ],
            fingerprint=fingerprint,
            num_rows=rows[1] - rows[0],
            first_video=first,
            num_videos=end - first,
            dataset=kept.dataset_until(end),
        )
    is_named = folders.entries == tree.manifest.columns
    if kept.damage is not None and not is_named:
        raise kept.damage
    is_intact = folders.place()
    if not is_named:
        commit_manifest(
            tree.store_path,
            next_manifest(tree.manifest, columns=folders.entries),
            scratch=workspace.columns,
        )
    return ColumnsReport(
        output=without_controls(str(workspace.output)),
        status="written" if not is_named else "already complete" if is_intact else "restored",
        folders=[entry.folder for entry in folders.entries],
        columns=joined_summaries(folders.records),
        notes=join.notes,
        problems=join.problems,
    )


def _stretches(tree: CacheTree, *, as_named: bool) -> list[tuple[int, int, str]]:
    """First video, end and fingerprint of each folder to write: of each generation.

    With `as_named`, of each folder of columns that the cache has: generations may have been joined since.
    """
    if as_named:
        named = [
            (entry, tree.fingerprint_of_videos(entry.first_video, entry.num_videos))
            for entry in tree.manifest.columns
        ]
        stretches = [
            (entry.first_video, entry.first_video + entry.num_videos, fingerprint)
            for entry, fingerprint in named
            if fingerprint is not None
        ]
        if len(stretches) == len(named):
            return stretches
    return [
        (each.entry.first_video, each.entry.end_video, tree.alone(number).fingerprint)
        for number, each in enumerate(tree.generations)
    ]


def _part(column: JoinedColumn, rows: tuple[int, int]) -> ColumnContent:
    return content_of_join(replace(column, table_rows=column.table_rows[slice(*rows)]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    """The columns that the cache has and no table gives, of all its videos, with every hash checked."""

    columns: Sequence[Column]
    datasets: Sequence[tuple[int, dict[str, JsonValue] | None]]
    """(Video behind the last one, what a data set states there) of each folder."""
    damage: StoreDamagedError | None
    """Where a `columns.json` is damaged, nobody knows which columns these are. The tables may give all columns again,
    with the recorded hash."""

    def dataset_until(self, end_video: int) -> dict[str, JsonValue] | None:
        """What the data set stated when the video before `end_video` came; None where nothing is stated."""
        return next((dataset for end, dataset in self.datasets if end >= end_video), None)


def _kept(tree: CacheTree, given: set[str]) -> _Kept:
    """Raises StoreDamagedError where a file of a column that no table gives is damaged."""
    opened: list[Columns] = []
    datasets: list[tuple[int, dict[str, JsonValue] | None]] = []
    for entry in tree.manifest.columns:
        try:
            record: ColumnsRecord = read_columns_record(tree.store_path, entry)
        except StoreError as error:
            damage = StoreDamagedError(f"{error}: give the tables of all its columns together")
            return _Kept(columns=[], datasets=datasets, damage=damage)
        datasets.append((entry.first_video + entry.num_videos, record.dataset))
        opened.append(
            Columns(
                [
                    kept_column(tree.store_path, entry, record, column)
                    for column in record.columns
                    if column.name not in given
                ],
                num_rows=record.num_rows,
                num_videos=record.num_videos,
                fingerprint=record.generation,
            )
        )
    if not opened:
        return _Kept(columns=[], datasets=[], damage=None)
    try:
        joined = concat_columns(opened, fingerprint=tree.fingerprint)[0]
    except ColumnError as error:
        raise StoreDamagedError(f"{tree.store_path}: {error}") from error
    return _Kept(columns=[*joined.values()], datasets=datasets, damage=None)
