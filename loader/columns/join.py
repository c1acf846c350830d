"""Tables joined to a store when a run starts, without touching a cache."""

from collections.abc import Sequence

from frame_store.columns import Columns
from frame_store.errors import ColumnError, UnmatchedRowsError
from frame_store.tables import JoinTarget, Missing, TableLike, join_tables, read_table
from frame_store.views import base_of, forgotten_videos
from loader.errors import warn_caller
from loader.store_argument import StoreOrPath, opened_store


def join_columns(
    store: StoreOrPath,
    tables: TableLike | Sequence[TableLike],
    *,
    missing: Missing = "refuse",
    tolerance_seconds: float | None = None,
) -> Columns:
    """Columns for `FrameLoader(store, columns=...)` from a table, held in memory; the store is not touched.

    A table has a column `video` (the path of the video in the store, its file name, or its name without extension) and
    one of `frame` (`frame_in_video`, counted over all decoded frames) or `seconds` (pts); a table without these two
    has a row for each video. All other columns are taken: booleans, numbers, texts, and lists of one length.

    Args:
        store: a cache, its path, videos decoded live, or a view of these. A view gets columns of its base, for all
            videos of the base.
        tables: a file (`.parquet`, `.csv`, `.npz`), a dict of arrays, a pandas or polars frame or an Arrow table, or a
            list of them.
        missing: `refuse` raises where frames or videos have no row, or rows no frame or video. `mask` marks them as
            missing (`batch.columns_valid`), leaves such rows out, and warns with their numbers.
        tolerance_seconds: for tables with `seconds`: how far the nearest pts may be. None: half the median step of the
            video's pts.

    Returns:
        The columns of these tables; `store.columns | joined` has those of the cache, too.

    Raises:
        ColumnError: a table cannot be read or does not fit the videos; the message has the table, the row, what was
            expected and found.
        StoreError: no usable cache at the path.
        OSError: a file cannot be read.
    """
    base = base_of(opened_store(store))
    several = list(tables) if isinstance(tables, list | tuple) else [tables]
    if not several:
        raise ColumnError("no table of columns is given")
    target = JoinTarget(
        paths=[video.path for video in base.videos],
        verdicts=[video.verdict for video in base.videos],
        source_order=base.source_order,
        forgotten=forgotten_videos(base).tolist(),
    )
    try:
        join = join_tables(
            [read_table(table) for table in several],
            target,
            missing=missing,
            tolerance_seconds=tolerance_seconds,
        )
    except UnmatchedRowsError as error:
        remedy = "" if missing == "mask" else "; missing='mask' leaves them out, marked as missing"
        raise UnmatchedRowsError(f"{error}{remedy}") from error
    if join.notes:
        warn_caller("\n".join(join.notes))
    return Columns(
        [column.in_memory() for column in join.columns],
        num_rows=target.source_order.num_rows,
        num_videos=target.source_order.num_videos,
        fingerprint=base.fingerprint,
    )
