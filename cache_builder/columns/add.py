"""Columns for a complete cache. Nothing is decoded, and no file of the cache is changed.

The columns of each generation are written into a folder beside the cache, synced, and renamed to `columns-<hash>/`
inside it. Then a new version of the manifest names the folders; it is created, never replaced. Until then the cache is
complete in its old version, whatever happens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from cache_builder.columns.publish import publish_columns
from cache_builder.columns.report import ColumnsReport
from cache_builder.errors import ColumnsError, MachineError
from cache_builder.progress import NoProgress, Progress
from cache_builder.settings import ErrorPolicy
from cache_builder.stages import Workspace, local_path, resolved
from frame_store.errors import ColumnError, UnfitVideoError, UnmatchedRowsError
from frame_store.manifest import read_manifest
from frame_store.reader import CacheStore
from frame_store.tables import (
    Join,
    JoinTarget,
    Missing,
    Table,
    TableLike,
    check_join_options,
    join_tables,
    read_table,
)


def read_tables(
    tables: TableLike | Sequence[TableLike],
    *,
    missing: Missing = "refuse",
    tolerance_seconds: float | None = None,
) -> list[Table]:
    """One table or several, read and checked, and the options with which they will be joined, checked.

    Raises:
        ColumnsError: one is no table of columns; the message has its name, the row, what was expected and found. Or an
            option is wrong.
        MachineError: a file cannot be read.
    """
    several = list(tables) if isinstance(tables, list | tuple) else [tables]
    if not several:
        raise ColumnsError("no table of columns is given")
    try:
        check_join_options(missing=missing, tolerance_seconds=tolerance_seconds)
        return [read_table(table) for table in several]
    except ColumnError as error:
        raise ColumnsError(str(error)) from error
    except OSError as error:
        raise MachineError(f"{error.filename}: {error.strerror or error}") from error


def add_columns(
    cache: Path | str,
    tables: TableLike | Sequence[TableLike],
    *,
    missing: Missing = "refuse",
    tolerance_seconds: float | None = None,
    on_error: ErrorPolicy = "fail",
    progress: Progress | None = None,
) -> ColumnsReport:
    """Write columns beside the frames of a complete cache, for `store.columns` and `batch.columns`.

    A table has a column `video` (the path of the video in the cache, its file name, or its name without extension) and
    one of `frame` (`frame_in_video`, counted over all decoded frames) or `seconds` (pts); a table without these two
    has a row for each video. All other columns are stored: booleans, numbers, texts, and lists of one length. Columns
    that the cache has already stay; one of the same name is replaced. Columns are no part of the cache's fingerprint.
    The cameras of a cache of cameras share them. Forgotten videos need no rows: their values are missing.

    Args:
        cache: path of the cache.
        tables: a file (`.parquet`, `.csv`, `.npz`), a dict of arrays, a pandas or polars frame or an Arrow table, or a
            list of them.
        missing: `refuse` raises where frames or videos have no row, or rows no frame or video. `mask` marks them as
            missing (`batch.columns_valid`), and leaves such rows out.
        tolerance_seconds: for tables with `seconds`: how far the nearest pts may be. None: half the median step of the
            video's pts.
        on_error: `fail` stops at a video whose rows do not fit it. `skip` marks the values of that video as missing.
        progress: receives what is done; None for silence.

    Returns:
        The columns of the cache, and what was left out.

    Raises:
        ColumnsError: a table cannot be read or does not fit the videos; the message has the table, the row, what was
            expected and found. Or an argument is wrong.
        StoreError: no cache at this path, or damaged columns that no table gives again.
        OutputError: another process writes to the cache, or it cannot be written.
        MachineError: disk full, I/O error. The same call goes on.
    """
    progress = progress or NoProgress()
    if on_error not in get_args(ErrorPolicy):
        raise ColumnsError(f"on_error must be 'fail' or 'skip', found {on_error!r}")
    read = read_tables(tables, missing=missing, tolerance_seconds=tolerance_seconds)
    try:
        store = _counting_store(local_path(cache))
        output = resolved(store.path)
        workspace = Workspace(output)
        with workspace.locked(
            if_not_writable="copy the cache to a place that can be, and add the columns there"
        ):
            store = _counting_store(output)  # its newest manifest, now that nobody else writes one
            progress.start("columns", sum(len(table) for table in read), "rows")
            join = _join(store, read, missing=missing, tolerance_seconds=tolerance_seconds, on_error=on_error)
            progress.advance(sum(len(table) for table in read))
            workspace.clear_columns()
            try:
                return publish_columns(store, join, workspace=workspace)
            finally:
                workspace.clear_columns()
    except OSError as error:
        raise MachineError(
            f"{error.filename or cache}: {error.strerror or error}; the same command resumes"
        ) from error


def _counting_store(path: Path) -> CacheStore:
    """The cache; of a cache of cameras the first one, by whose generation the shared columns count."""
    cameras = read_manifest(path).cameras
    return CacheStore(path, camera=cameras[0].name if cameras else None)


def _join(
    store: CacheStore,
    tables: Sequence[Table],
    *,
    missing: Missing,
    tolerance_seconds: float | None,
    on_error: ErrorPolicy,
) -> Join:
    paths, verdicts = [], []
    for entry in store.tree.stream_videos():
        paths.append(entry.path)
        verdicts.append(entry.verdict)
    target = JoinTarget(
        paths=paths,
        verdicts=verdicts,
        source_order=store.source_order,
        forgotten=store.manifest.forgotten_videos,
    )
    return joined(
        tables, target, missing=missing, tolerance_seconds=tolerance_seconds, skip=on_error == "skip"
    )


def joined(
    tables: Sequence[Table],
    target: JoinTarget,
    *,
    missing: Missing,
    tolerance_seconds: float | None,
    skip: bool,
) -> Join:
    """`join_tables`, whose errors are those of a builder and name its flags.

    Raises:
        ColumnsError: a table does not fit the videos.
    """
    try:
        return join_tables(tables, target, missing=missing, tolerance_seconds=tolerance_seconds, skip=skip)
    except UnmatchedRowsError as error:
        remedy = "" if missing == "mask" else "; {--columns-missing mask} leaves them out, marked as missing"
        raise ColumnsError(f"{error}{remedy}") from error
    except UnfitVideoError as error:
        raise ColumnsError(f"{error}; {{--on-error skip}} takes the rest") from error
    except ColumnError as error:
        raise ColumnsError(str(error)) from error
