"""The files of source order against the index and the table of videos, and what these two determine of them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.names import INDEX_NAME
from frame_store.source_files.names import (
    FIRST_ROW_NAME,
    FIRST_STORED_NAME,
    ORDER_NAME,
    SOURCE_FRAMES_NAME,
    SOURCE_PTS_NAME,
)
from frame_store.source_order import Int64s, SourceOrder, source_order_of_rows

_PLACES_PER_STEP = 1 << 18


def find_source_problems(
    order: SourceOrder, index: npt.NDArray[Any], *, num_decoded: npt.ArrayLike, num_stored: npt.ArrayLike
) -> Iterator[str]:
    """The first place where `order` contradicts the index or the table of videos: no line, or one.

    Args:
        order: Of a generation, with `source_pts`.
        index: Its rows, `INDEX_DTYPE`, shape (N,). Each has a video of the table.
        num_decoded: Decoded frames of each video, by the table, shape (V,).
        num_stored: Stored frames of each video, by the table, shape (V,).
    """
    for name, starts, counts in (
        (FIRST_ROW_NAME, order.first_row, num_decoded),
        (FIRST_STORED_NAME, order.first_stored, num_stored),
    ):
        differs = np.diff(starts) != np.asarray(counts, np.int64)
        if differs.any():
            video_id = int(np.argmax(differs))
            yield (
                f"{name}: video {video_id} has {starts[video_id + 1] - starts[video_id]} there, "
                f"{np.asarray(counts)[video_id]} in the table of videos"
            )
            return
    for first in range(0, order.num_stored, _PLACES_PER_STEP):
        places = np.arange(first, min(first + _PLACES_PER_STEP, order.num_stored), dtype=np.int64)
        if problem := _problem_of_places(order, index, places):
            yield problem
            return


def _problem_of_places(order: SourceOrder, index: npt.NDArray[Any], places: Int64s) -> str | None:
    """What is wrong with some places that follow each other: their ids, frames or times."""
    name_of_places = INDEX_NAME if order.order is None else ORDER_NAME
    name_of_frames = name_of_places
    if order.source_frames is not None:  # which of the two is wrong cannot be told
        name_of_frames = (
            SOURCE_FRAMES_NAME if order.order is None else f"{ORDER_NAME} or {SOURCE_FRAMES_NAME}"
        )
    ids = places if order.order is None else order.order[places]
    if (at := _first(ids >= order.num_stored)) is not None:
        return f"{ORDER_NAME}: place {places[at]} holds frame id {ids[at]}, of {order.num_stored}"
    rows = index[ids]
    video_ids = np.searchsorted(order.first_stored, places, side="right") - 1
    if (at := _first(rows["video_id"] != video_ids)) is not None:
        return (
            f"{name_of_places}: place {places[at]} is of video {video_ids[at]}, and frame {ids[at]} of the index "
            f"is of video {rows['video_id'][at]}"
        )
    starts = order.first_stored[video_ids]
    frames = places - starts if order.source_frames is None else order.source_frames[places].astype(np.int64)
    num_decoded = order.first_row[video_ids + 1] - order.first_row[video_ids]
    falls = np.zeros(len(places), np.bool_)
    if order.source_frames is not None:
        falls = (places > starts) & (order.source_frames[np.maximum(places - 1, 0)] >= frames)
    for is_wrong, wrong in (
        (frames != rows["frame_in_video"], "which is another frame in the index"),
        (frames >= num_decoded, "which the video does not have"),
        (falls, "which does not rise"),
    ):
        if (at := _first(is_wrong)) is not None:
            return f"{name_of_frames}: place {places[at]} is frame {frames[at]} of video {video_ids[at]}, {wrong}"
    assert order.source_pts is not None
    pts, of_index = order.source_pts[order.rows_of(video_ids, frames)], rows["pts_seconds"]
    if (at := _first((pts != of_index) & ~(np.isnan(pts) & np.isnan(of_index)))) is not None:
        return (
            f"{SOURCE_PTS_NAME}: frame {frames[at]} of video {video_ids[at]} is at {pts[at]} s there, at "
            f"{of_index[at]} s in the index"
        )
    return None


def _first(is_wrong: npt.NDArray[np.bool_]) -> int | None:
    """Position of the first True; None where there is none."""
    return int(np.argmax(is_wrong)) if is_wrong.any() else None


def order_of_index(index: npt.NDArray[Any], *, num_decoded: npt.ArrayLike) -> SourceOrder:
    """The source order that an index and the decoded frames of each video determine.

    Its `source_pts` is NaN for frames that are not stored. Where a video has such a frame, only the video knows their
    times.

    Raises:
        ValueError: a frame of the index lies outside of its video.
    """
    order = source_order_of_rows(index["video_id"], index["frame_in_video"], num_decoded=num_decoded)
    pts = np.full(order.num_rows, np.nan)
    pts[order.rows_of(index["video_id"], index["frame_in_video"])] = index["pts_seconds"]
    return replace(order, source_pts=pts)
