"""Rows of a table matched with decoded frames, by number or by time, or with videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.columns import ColumnScope
from frame_store.names import Verdict
from frame_store.shared import counted, without_controls
from frame_store.source_order import PtsOfRows
from frame_store.tables.table import Table

Int64s = npt.NDArray[np.int64]

NO_ROW: Final = -1
TOLERANCE_WITHOUT_STEP: Final = 1e-4
"""Seconds, for a video whose pts have no step: one of a single frame."""
_ROUNDING: Final = 1e-9
"""Relative and absolute: a difference of exactly the tolerance may come out a little above it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """Which rows of a table belong to what."""

    scope: ColumnScope
    table_rows: Int64s
    """Row of the table for each decoded frame, or for each video; `NO_ROW` where there is none."""
    is_unmatched: npt.NDArray[np.bool_]
    """For each row of the table, whether it belongs to nothing. False for rows of the videos in `problems`."""
    problems: dict[int, str]
    """Videos whose rows do not fit, by `video_id`: one line each, with what was expected and found."""


def match_frames(
    table: Table,
    video_ids: Int64s,
    frames: Int64s,
    *,
    paths: Sequence[str],
    verdicts: Sequence[Verdict | None],
    first_row: Int64s,
) -> Matched:
    """Rows by the number of their frame. A video is matched as a whole or not at all.

    `video_ids` are negative for rows of no video. The video must be whole, and each of its decoded frames must have
    one row.
    """
    table_rows = np.full(int(first_row[-1]), NO_ROW, np.int64)
    problems = {}
    for video_id, rows in _by_video(video_ids):
        path = without_controls(paths[video_id])
        verdict, num_frames = verdicts[video_id], int(first_row[video_id + 1] - first_row[video_id])
        of_video = frames[rows]
        if verdict not in (None, "whole"):
            problems[video_id] = (
                f"{path}: is {verdict}, and rows by frame need a whole video: the numbers behind a lost picture would "
                "be shifted; give 'seconds' instead of 'frame'"
            )
        elif (is_outside := (of_video < 0) | (of_video >= num_frames)).any() or len(rows) != num_frames:
            outside = ""
            if is_outside.any():
                row = int(rows[int(np.argmax(is_outside))])
                outside = f", {table.place(row)} is for frame {frames[row]}"
            problems[video_id] = (
                f"{path}: expected a row for each of {counted(num_frames, 'decoded frame')}, found "
                f"{counted(len(rows), 'row')}{outside}"
            )
        elif (counts := np.bincount(of_video, minlength=num_frames)).max(initial=0) > 1:
            twice = int(np.argmax(counts > 1))
            row = int(rows[np.flatnonzero(of_video == twice)[1]])
            problems[video_id] = (
                f"{path}: frame {twice} has {counts[twice]} rows, the second is {table.place(row)}"
            )
        else:
            table_rows[first_row[video_id] + of_video] = rows
    return Matched(scope="frame", table_rows=table_rows, is_unmatched=video_ids < 0, problems=problems)


def match_videos(table: Table, video_ids: Int64s, *, paths: Sequence[str]) -> Matched:
    """Rows of which each belongs to a video."""
    table_rows = np.full(len(paths), NO_ROW, np.int64)
    problems = {}
    for video_id, rows in _by_video(video_ids):
        if len(rows) > 1:
            problems[video_id] = (
                f"{without_controls(paths[video_id])}: expected one row, as the table has neither 'frame' nor "
                f"'seconds', found {len(rows)}: {table.place(int(rows[0]))}, {table.place(int(rows[1]))}"
                f"{' ...' if len(rows) > 2 else ''}"
            )
        else:
            table_rows[video_id] = rows[0]
    return Matched(scope="video", table_rows=table_rows, is_unmatched=video_ids < 0, problems=problems)


def match_seconds(
    video_ids: Int64s,
    seconds: npt.NDArray[np.float64],
    *,
    first_row: Int64s,
    source_pts: PtsOfRows,
    tolerance_seconds: float | None,
) -> Matched:
    """Rows by time: a row belongs to the frame of its video with the nearest pts, within the tolerance.

    Of several rows with the same nearest frame, the nearest has it, and of equally near ones the first. Of frames with
    one pts, the first may have a row. Frames without pts have none.
    """
    table_rows = np.full(int(first_row[-1]), NO_ROW, np.int64)
    is_unmatched = np.ones(len(video_ids), np.bool_)
    for video_id, rows in _by_video(video_ids):
        pts = np.asarray(source_pts[first_row[video_id] : first_row[video_id + 1]])
        frames, of_frames = nearest_one_to_one(pts, seconds[rows], tolerance_seconds=tolerance_seconds)
        table_rows[first_row[video_id] + frames] = rows[of_frames]
        is_unmatched[rows[of_frames]] = False
    return Matched(scope="frame", table_rows=table_rows, is_unmatched=is_unmatched, problems={})


def nearest_one_to_one(
    pts: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64], *, tolerance_seconds: float | None
) -> tuple[Int64s, Int64s]:
    """Frames that have a row, and the row of each: int64, both of shape (matches,).

    >>> nearest_one_to_one(np.array([0.0, 0.1, 0.2]), np.array([0.21, 0.02, 0.01]), tolerance_seconds=None)
    (array([0, 2]), array([2, 0]))
    """
    order = np.argsort(pts, kind="stable")
    order = order[: len(order) - int(np.isnan(pts).sum())]  # NaN is sorted to the end
    if not len(order):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    times = pts[order]
    limit = default_tolerance(times) if tolerance_seconds is None else tolerance_seconds
    after = np.minimum(np.searchsorted(times, seconds), len(times) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(seconds - times[before]) <= np.abs(seconds - times[after])
    nearest = np.searchsorted(
        times, times[np.where(is_before, before, after)]
    )  # the first frame of this time
    distance = np.abs(seconds - times[nearest])
    rows = np.flatnonzero(distance <= limit * (1 + _ROUNDING) + _ROUNDING)
    rows = rows[np.lexsort((rows, distance[rows], nearest[rows]))]
    _, first = np.unique(nearest[rows], return_index=True)
    rows = rows[first]
    return order[nearest[rows]].astype(np.int64), rows.astype(np.int64)


def default_tolerance(times: npt.NDArray[np.float64]) -> float:
    """Half the median of the positive steps of sorted times; `TOLERANCE_WITHOUT_STEP` without one."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return float(np.median(steps)) / 2 if len(steps) else TOLERANCE_WITHOUT_STEP


def _by_video(video_ids: Int64s) -> list[tuple[int, Int64s]]:
    """The rows of each video that has some, in the order of the table; rows of no video are left out."""
    order = np.argsort(video_ids, kind="stable")
    order = order[int((video_ids < 0).sum()) :]
    found, begins = np.unique(video_ids[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, begins[1:]), strict=True)) if len(order) else []
