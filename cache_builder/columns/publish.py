"""Joined columns as a new version of a cache: their folder first, then the manifest that names it."""

from pathlib import Path

from cache_builder.columns.report import ColumnsReport, summaries_of
from cache_builder.errors import ColumnsError
from cache_builder.stages import Workspace, commit_manifest
from frame_store.column_files import (
    ColumnContent,
    content_of_column,
    content_of_join,
    open_column,
    read_columns_record,
    write_columns,
)
from frame_store.errors import ColumnError, StoreDamagedError, StoreError
from frame_store.files import publish_folder, sync_tree
from frame_store.manifest import CacheTree, ColumnsEntry, JsonValue, next_manifest
from frame_store.names import COLUMNS_NAME, columns_folder
from frame_store.reader import CacheStore
from frame_store.shared import without_controls
from frame_store.tables import Join
from frame_store.verify import check_file


def publish_columns(store: CacheStore, join: Join, *, workspace: Workspace) -> ColumnsReport:
    """Write the columns of `join`, and those that the cache has beside them, into the cache of `workspace`.

    The caller holds the lock of the workspace, and removes `workspace.columns` afterwards.

    Raises:
        ColumnsError: names that differ from those of the cache's columns by case alone.
        StoreDamagedError: columns that the tables do not give again are damaged.
        OutputError: another process has written a new version.
        OSError: disk full or failing.
    """
    tree, made = store.tree, workspace.made_columns
    given = [content_of_join(column) for column in join.columns]
    kept, damage = _kept(tree, {column.name for column in given}, store.source_order.num_rows)
    made.mkdir(parents=True)
    try:
        digest, record = write_columns(
            made,
            [*kept, *given],
            fingerprint=store.fingerprint,
            num_rows=store.source_order.num_rows,
            num_videos=tree.num_videos,
            dataset=_dataset(tree),
        )
    except ColumnError as error:
        raise ColumnsError(f"{tree.store_path}: {error}") from error
    entry = ColumnsEntry(
        first_video=0, num_videos=tree.num_videos, folder=columns_folder(digest), digest=digest
    )
    is_named = entry in tree.manifest.columns
    if damage is not None and not is_named:
        raise damage
    is_intact = _is_intact(tree.store_path, entry)
    if not is_intact:
        sync_tree(made)
        publish_folder(made, tree.store_path / entry.folder)
    if not is_named:
        commit_manifest(
            tree.store_path, next_manifest(tree.manifest, columns=[entry]), scratch=workspace.columns
        )
    return ColumnsReport(
        output=without_controls(str(workspace.output)),
        status="written" if not is_named else "already complete" if is_intact else "restored",
        folder=entry.folder,
        columns=summaries_of(record),
        notes=join.notes,
        problems=join.problems,
    )


def _kept(
    tree: CacheTree, given: set[str], num_rows: int
) -> tuple[list[ColumnContent], StoreDamagedError | None]:
    """The columns that the cache has and no table gives, with every hash checked.

    Where `columns.json` is damaged, nobody knows which columns these are. The error is then returned: the tables may
    give all columns again, with the recorded hash.

    Raises:
        StoreDamagedError: a file of a column that no table gives is damaged.
    """
    if not tree.manifest.columns:
        return [], None
    entry = tree.manifest.columns[0]
    try:
        record = read_columns_record(tree.store_path, entry)
    except StoreError as error:
        return [], StoreDamagedError(f"{error}: give the tables of all its columns together")
    kept = []
    for column in record.columns:
        if column.name in given:
            continue
        problems = [
            problem
            for file in column.files
            for problem in check_file(tree.store_path, file.inside(entry.folder), recorded_in=COLUMNS_NAME)
        ]
        if problems:
            raise StoreDamagedError(
                f"{tree.store_path}: {problems[0]}: column {column.name!r} stays and is damaged; give its table, too"
            )
        length = num_rows if column.scope == "frame" else record.num_videos
        kept.append(content_of_column(open_column(tree.store_path, entry.folder, column, length=length)))
    return kept, None


def _dataset(tree: CacheTree) -> dict[str, JsonValue] | None:
    """What the data set states about itself, as the cache has it; None where it has none, or it cannot be read.

    Then the columns cannot be read either, and `_kept` says so.
    """
    if not tree.manifest.columns:
        return None
    try:
        return read_columns_record(tree.store_path, tree.manifest.columns[0]).dataset
    except StoreError:
        return None


def _is_intact(store_path: Path, entry: ColumnsEntry) -> bool:
    """Whether the folder of that name is in the cache, with every byte."""
    try:
        record = read_columns_record(store_path, entry)
    except StoreError:
        return False
    return not any(check_file(store_path, file.inside(entry.folder)) for file in record.files)
