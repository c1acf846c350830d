"""Tables joined to the videos of a store: which row of a table each decoded frame, or each video, has."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from frame_store.columns import NO_TEXT, Column, ColumnScope, check_column_names
from frame_store.errors import ColumnError, UnfitVideoError, UnmatchedRowsError
from frame_store.names import Verdict
from frame_store.shared import counted, listed, without_controls
from frame_store.source_order import SourceOrder
from frame_store.tables.match import NO_ROW, Matched, match_frames, match_seconds, match_videos
from frame_store.tables.table import Table, TableColumn
from frame_store.tables.video_names import NO_VIDEO, VideoNames

Missing: TypeAlias = Literal["refuse", "mask"]
"""What becomes of frames or videos without a row: an error, or values marked as missing."""

ROWS_PER_BLOCK: Final = 1 << 16
_NUM_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinTarget:
    """The videos that tables are joined to, V of them, with R decoded frames."""

    paths: Sequence[str]
    """Of each video, forward slashes."""
    verdicts: Sequence[Verdict | None]
    """Of each video; None for a video that is decoded live."""
    source_order: SourceOrder
    forgotten: Collection[int] = ()
    """`video_id`s of forgotten videos. They need no rows, and a name means them only where no other video has it."""

    def __post_init__(self) -> None:
        """Check that there is a path and a verdict for each video."""
        if not len(self.paths) == len(self.verdicts) == self.source_order.num_videos:
            raise ValueError(
                f"{len(self.paths)} paths and {len(self.verdicts)} verdicts for "
                f"{counted(self.source_order.num_videos, 'video')}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedColumn:
    """A column of a table, with the table's row for each decoded frame or each video."""

    name: str
    scope: ColumnScope
    column: TableColumn
    table_rows: npt.NDArray[np.int64]
    """Row of the table for each row of the store (or each video), `NO_ROW` where there is none."""

    def __len__(self) -> int:
        return len(self.table_rows)

    @property
    def valid(self) -> npt.NDArray[np.bool_] | None:
        """Where there is a value; None if there is one everywhere."""
        valid: npt.NDArray[np.bool_] = self.table_rows != NO_ROW
        return None if valid.all() else valid

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """The values in the order of the store, some rows at a time. A missing value is 0, False or `NO_TEXT`."""
        values = self.column.values
        for begin in range(0, len(self), ROWS_PER_BLOCK):
            rows = self.table_rows[begin : begin + ROWS_PER_BLOCK]
            block = values[np.maximum(rows, 0)]
            block[rows == NO_ROW] = 0 if self.column.strings is None else NO_TEXT
            yield block

    def in_memory(self) -> Column:
        """The column with all its values in memory."""
        blocks = list(self.blocks()) or [self.column.values[:0]]
        return Column.of(
            self.name,
            self.scope,
            np.concatenate(blocks),
            valid=self.valid,
            strings=self.column.strings,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Join:
    """Columns joined to a store, and what was left out on the way."""

    columns: list[JoinedColumn]
    notes: list[str]
    """Rows that were left out, and frames and videos whose values are missing: one line for each kind and table."""
    problems: list[str]
    """Videos whose rows did not fit and were left out, one line each; empty unless `skip`."""


def check_join_options(*, missing: str, tolerance_seconds: object) -> None:
    """Check two arguments of `join_tables`, before anything long is done for the join.

    Raises:
        ColumnError: one is wrong.
    """
    if missing not in get_args(Missing):
        raise ColumnError(f"missing must be 'refuse' or 'mask', found {missing!r}")
    if tolerance_seconds is not None and not (
        isinstance(tolerance_seconds, Real) and float(tolerance_seconds) >= 0
    ):
        raise ColumnError(f"tolerance_seconds must be 0 or more, found {tolerance_seconds!r}")


def join_tables(
    tables: Sequence[Table],
    target: JoinTarget,
    *,
    missing: Missing = "refuse",
    tolerance_seconds: float | None = None,
    skip: bool = False,
) -> Join:
    """Give every decoded frame, or every video, its row of each table.

    Rows of a table with `frame` belong to frames by number. Their video must be whole, and must have a row for every
    decoded frame: one lost picture would shift all that follow. Rows with `seconds` belong to the frame of the nearest
    pts within the tolerance, one to one: of several rows that are nearest to one frame, the nearest has it. Other
    tables have a row for a video.

    Args:
        tables: they have no column in common.
        target: the videos.
        missing: `refuse` raises where a frame or video has no row, or a row no frame. `mask` marks these frames and
            videos, and leaves such rows out; the notes say so.
        tolerance_seconds: for tables with `seconds`. None: half the median step of the video's pts (0.1 ms for a video
            without a step).
        skip: leave out the rows of a video that do not fit it, and mark its values as missing.

    Raises:
        UnmatchedRowsError: rows without a frame or video, or frames or videos without a row.
        UnfitVideoError: rows that do not fit their video, and `skip` is not set.
        ColumnError: a table of which no row matches, two tables with one column, or pts that are not known.
    """
    check_join_options(missing=missing, tolerance_seconds=tolerance_seconds)
    check_column_names([name for table in tables for name in table.columns], where=_sources(tables))
    names = VideoNames(target.paths, hidden=target.forgotten)
    forgotten = frozenset(target.forgotten)
    joined: list[JoinedColumn] = []
    notes: list[str] = []
    problems: list[str] = []
    for table in tables:
        video_ids = _video_ids(table, names)
        matched = _match(table, video_ids, target, tolerance_seconds)
        unfit = [text for video_id, text in matched.problems.items() if video_id not in forgotten]
        of_table = [f"{table.source}: {problem}" for problem in unfit]
        if of_table and not skip:
            raise UnfitVideoError(listed(f"{table.source}: rows do not fit their videos", unfit))
        problems += of_table
        unmatched = _unmatched(table, matched, video_ids, target)
        if unmatched and missing == "refuse":
            raise UnmatchedRowsError("\n".join(unmatched))
        notes += unmatched
        joined += [
            JoinedColumn(name=name, scope=matched.scope, column=column, table_rows=matched.table_rows)
            for name, column in table.columns.items()
        ]
    return Join(columns=joined, notes=notes, problems=problems)


def _sources(tables: Sequence[Table]) -> str:
    return " and ".join(dict.fromkeys(table.source for table in tables))


def _video_ids(table: Table, names: VideoNames) -> npt.NDArray[np.int64]:
    """The video of each row, `NO_VIDEO` where the store has none of that name."""
    texts = table.video.strings or ()
    try:
        of_text = np.array([names.find(text) for text in texts], np.int64)
    except ColumnError as error:
        raise ColumnError(f"{table.source}: {error}") from error
    if (of_text == NO_VIDEO).all():
        first = texts[int(table.video.values[0])]
        nearest = ", ".join(repr(without_controls(name)) for name in names.nearest(first))
        raise ColumnError(
            f"{table.source}: none of its {counted(len(table), 'row')} matches a video: {table.place(0)} has "
            f"{without_controls(first)!r}, the nearest names of the store are {nearest}"
        )
    video_ids: npt.NDArray[np.int64] = of_text[table.video.values]
    return video_ids


def _match(
    table: Table, video_ids: npt.NDArray[np.int64], target: JoinTarget, tolerance_seconds: float | None
) -> Matched:
    if table.frames is not None:
        return match_frames(table, video_ids, table.frames, paths=target.paths, verdicts=target.verdicts,
                            first_row=target.source_order.first_row)  # fmt: skip
    if table.seconds is not None:
        source_pts = target.source_order.source_pts
        if source_pts is None:
            raise ColumnError(
                f"{table.source}: rows have 'seconds', and the pts of all decoded frames are not known here; give "
                "'frame' instead"
            )
        return match_seconds(
            video_ids,
            table.seconds,
            first_row=target.source_order.first_row,
            source_pts=source_pts,
            tolerance_seconds=tolerance_seconds,
        )
    return match_videos(table, video_ids, paths=target.paths)


def _unmatched(
    table: Table, matched: Matched, video_ids: npt.NDArray[np.int64], target: JoinTarget
) -> list[str]:
    """What has no counterpart: rows of the table, and frames or videos of the store.

    Videos whose rows do not fit them have rows, and forgotten ones need none: these are no part of it.
    """
    lines = []
    of_forgotten = np.isin(video_ids, np.array([*target.forgotten], np.int64))
    rows = np.flatnonzero(matched.is_unmatched & ~of_forgotten)
    if len(rows):
        shown = ", ".join(_shown_row(table, int(row), video_ids) for row in rows[:_NUM_SHOWN])
        match = "matches" if len(rows) == 1 else "match"
        lines.append(
            f"{table.source}: {len(rows)} of {counted(len(table), 'row')} {match} no "
            f"{'frame' if matched.scope == 'frame' else 'video'}: {shown}{_more(len(rows))}"
        )
    is_missing = matched.table_rows == NO_ROW
    first_row = target.source_order.first_row
    for video_id in {*matched.problems, *target.forgotten}:
        is_missing[slice(*first_row[video_id : video_id + 2]) if matched.scope == "frame" else video_id] = (
            False
        )
    places = np.flatnonzero(is_missing)
    if len(places):
        shown = ", ".join(_shown_place(int(place), matched.scope, target) for place in places[:_NUM_SHOWN])
        noun = "decoded frame" if matched.scope == "frame" else "video"
        have = "has" if len(places) == 1 else "have"
        lines.append(
            f"{table.source}: {len(places)} of {counted(len(matched.table_rows), noun)} {have} no row: {shown}"
            f"{_more(len(places))}"
        )
    return lines


def _more(number: int) -> str:
    return " ..." if number > _NUM_SHOWN else ""


def _shown_row(table: Table, row: int, video_ids: npt.NDArray[np.int64]) -> str:
    name = without_controls((table.video.strings or ())[int(table.video.values[row])])
    key = ""
    if video_ids[row] == NO_VIDEO:
        key = " (no such video)"
    elif table.frames is not None:
        key = f" frame {table.frames[row]}"
    elif table.seconds is not None:
        key = f" at {table.seconds[row]:.6g} s"
    return f"{table.place(row)} ({name!r}{key})"


def _shown_place(place: int, scope: ColumnScope, target: JoinTarget) -> str:
    if scope == "video":
        return repr(without_controls(target.paths[place]))
    first_row = target.source_order.first_row
    video_id = int(np.searchsorted(first_row, place, side="right")) - 1
    return f"{without_controls(target.paths[video_id])!r} frame {place - first_row[video_id]}"
