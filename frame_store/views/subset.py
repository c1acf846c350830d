"""`select`: the frames of chosen videos, or chosen frames, as a view."""

import difflib
import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.errors import ViewError
from frame_store.protocol import FrameIds, FrameStore, check_frame_ids
from frame_store.shared import counted, without_controls
from frame_store.source_order import Int64s
from frame_store.video_table import VideoRow, VideoTable
from frame_store.views.camera_view import view_of
from frame_store.views.forgotten import is_forgotten
from frame_store.views.selection import (
    RangeSelection,
    Selection,
    all_ids,
    common_selection,
    selection_of_ids,
    selection_of_runs,
)
from frame_store.views.view import View, base_of, check_is_store, places_between

VideoChoice: TypeAlias = str | Sequence[str] | Sequence[int] | npt.NDArray[Any] | Callable[[VideoRow], object]
"""Videos of a store: rows of `store.videos`, a bool for each video, paths, glob patterns, or a function that is true
for the rows of the wanted videos. A text that is no path of a video is a pattern; its `*` matches `/`, too."""

_ROWS_AT_ONCE: Final = 1 << 16
_NUM_NEAREST: Final = 3


def select(store: FrameStore, *, videos: VideoChoice | None = None, ids: FrameIds | None = None) -> View:
    """The chosen frames of `store` as a view, in the order of the store's ids.

    Args:
        store: any store, also a group of cameras. A view of a view is a view of the first one's base.
        videos: the view has the frames of these videos; see `VideoChoice`. Their order does not matter.
        ids: the view has these frames: ids of `store`, in any order, or a bool for each frame, shape (N,). With
            `videos`, the view has the frames that both name. The view has the videos that have one of the frames.

    Raises:
        ViewError: neither `videos` nor `ids`, a video or an id given twice, a path that no video has (the message names
            the nearest ones), a pattern that matches none, or no frame is left.
        FrameIdError: an id outside [0, len(store)).
        StoreDamagedError: the store's index is damaged.
    """
    check_is_store(store, taker="select")
    if videos is None and ids is None:
        raise ViewError("select takes videos=, ids= or both; it was given neither")
    whole = store if isinstance(store, View) else _whole_view(store)
    view = whole
    if videos is not None:
        view = _view_of_videos(view, _rows_of_choice(view, videos))
    if ids is not None:
        asked = _checked_ids(ids, num_frames=len(store))
        if not len(asked):
            raise ViewError(f"no frame is chosen: ids= is empty, of {counted(len(store), 'frame')}")
        base_ids = whole.selection.ids_at(asked)
        view = _view_of_ids(view, selection_of_ids(base_ids, num_frames=len(view.base)))
    return view


def select_places(store: FrameStore, starts: Int64s, ends: Int64s) -> View | None:
    """The frames of `store` at the places [starts[r], ends[r]) of its base's source order, as a view; None without any.

    The ranges are ascending and do not overlap: int64, shape (R,). Some may be empty.
    """
    view = store if isinstance(store, View) else _whole_view(store)
    base = view.base
    order = base.source_order.order
    if order is None:
        asked: Selection | None = selection_of_runs(starts, ends, num_frames=len(base))
    else:
        places = places_between(starts, ends)
        asked = selection_of_ids(np.sort(order[places]), num_frames=len(base)) if len(places) else None
    if (
        asked is None
        or not len(asked)
        or not len(common_selection(view.selection, asked, num_frames=len(base)))
    ):
        return None
    return _view_of_ids(view, asked)


def _rows_of_choice(view: View, videos: VideoChoice) -> Int64s:
    """The rows of the view's table that `videos` names, ascending: int64, shape (n,).

    The table itself, which may be long, is read only for paths, patterns and functions.

    Raises:
        ViewError: see `select`.
    """
    if callable(videos):
        return np.flatnonzero([bool(videos(row)) for row in view.videos])
    if isinstance(videos, str):
        videos = [videos]
    if isinstance(videos, set | frozenset | Mapping) or not isinstance(videos, Collection):
        raise ViewError(
            f"videos= takes a list of rows of the table, bools, paths or patterns, or a function; found {videos!r}"
        )
    if len(videos) > 0 and isinstance(videos[0], str):
        return _rows_of_texts(view.videos, [str(text) for text in videos], is_forgotten(view))
    num_videos = len(view.video_ids)
    chosen = np.asarray(videos)
    if chosen.dtype == np.bool_:
        if chosen.shape != (num_videos,):
            raise ViewError(
                f"videos= as bools has one for each of {counted(num_videos, 'video')}, found shape {chosen.shape}"
            )
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise ViewError(
            f"videos= takes rows of the table, bools, paths, patterns or a function; "
            f"found {chosen.dtype} of shape {chosen.shape}"
        )
    outside = chosen[(chosen < 0) | (chosen >= num_videos)] if chosen.size else chosen
    if len(outside):
        raise ViewError(
            f"video {outside[0]} is not in the table: it has {counted(num_videos, 'video')}, rows 0 to "
            f"{num_videos - 1}"
        )
    return _ascending(chosen, what="video")


def _rows_of_texts(table: VideoTable, texts: list[str], forgotten: npt.NDArray[np.bool_]) -> Int64s:
    """The rows of paths and patterns. A path means the video that is not forgotten, where there is one."""
    paths = [row.path for row in table]
    rows_by_path: dict[str, list[int]] = {}
    for row in [*np.flatnonzero(~forgotten).tolist(), *np.flatnonzero(forgotten).tolist()]:
        rows = rows_by_path.setdefault(paths[row], [])
        if not (forgotten[row] and rows):
            rows.append(row)
    chosen: set[int] = set()
    named: set[str] = set()
    for text in texts:
        if text in rows_by_path:
            if text in named:
                raise ViewError(f"video {without_controls(text)!r} is given twice")
            named.add(text)
            chosen.update(rows_by_path[text])
            continue
        found = [row for row, path in enumerate(paths) if fnmatch.fnmatchcase(path, text)]
        if not found:
            raise ViewError(_no_such_video(text, paths))
        chosen.update(found)
    return np.array(sorted(chosen), np.int64)


def _no_such_video(text: str, paths: Sequence[str]) -> str:
    shown = without_controls(text)
    if any(char in text for char in "*?["):
        reason = f"no video matches {shown!r}"
    else:
        reason = f"no video has the path {shown!r}"
    nearest = difflib.get_close_matches(text, dict.fromkeys(paths), n=_NUM_NEAREST, cutoff=0.0)
    if not nearest:
        return f"{reason}: the store has no video"
    return f"{reason}; the nearest paths are {', '.join(repr(without_controls(path)) for path in nearest)}"


def _checked_ids(ids: FrameIds, *, num_frames: int) -> Int64s:
    """The ids, ascending and different."""
    asked = np.asarray(ids)
    if asked.dtype == np.bool_:
        if asked.shape != (num_frames,):
            raise ViewError(
                f"ids= as bools has one for each of {counted(num_frames, 'frame')}, found shape {asked.shape}"
            )
        return np.flatnonzero(asked)
    return _ascending(check_frame_ids(asked, num_frames=num_frames), what="frame")


def _ascending(numbers: npt.NDArray[Any], *, what: str) -> Int64s:
    """The numbers sorted. A number that stands there twice is refused: a view has a frame once."""
    ordered = np.sort(numbers).astype(np.int64)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ViewError(
            f"{what} {repeated[0]} is given twice, and a view has a frame once; weights= of a loader draws some more "
            f"often"
        )
    return ordered


def _whole_view(store: FrameStore) -> View:
    """All frames of a store that is no view."""
    order = store.source_order
    ends = np.array([len(store)], np.int64)
    return view_of(
        base_of(store),
        RangeSelection(np.zeros(1, np.int64), ends),
        video_ids=np.arange(order.num_videos, dtype=np.int64),
        frames_of_video=np.diff(order.first_stored),
    )


def _view_of_videos(view: View, rows: Int64s) -> View:
    """The frames of the videos in some rows of the view's table."""
    counts = view.frames_of_video[rows]
    if not counts.sum():
        empty = f"{counted(len(rows), 'video')} without a frame" if len(rows) else "no video"
        raise ViewError(
            f"no frame is chosen: videos= names {empty}, of {counted(len(view.video_ids), 'video')}"
        )
    base, video_ids = view.base, view.video_ids[rows]
    chosen = _frames_of_videos(base, video_ids)
    if len(view) != len(base):
        chosen = common_selection(view.selection, chosen, num_frames=len(base))
    return view_of(base, chosen, video_ids=video_ids, frames_of_video=counts)


def _frames_of_videos(base: FrameStore, video_ids: Int64s) -> Selection:
    """All frames of some videos of a base."""
    order = base.source_order
    first, end = order.first_stored[video_ids], order.first_stored[video_ids + 1]
    if order.order is None:
        return selection_of_runs(first, end, num_frames=len(base))
    is_first = np.append(True, first[1:] != end[:-1])  # neighbouring videos are cut out together
    stretches = zip(first[is_first], end[np.append(is_first[1:], True)], strict=True)
    ids = np.concatenate([order.order[start:stop] for start, stop in stretches])
    ids.sort()
    return selection_of_ids(ids, num_frames=len(base))


def _view_of_ids(view: View, asked: Selection) -> View:
    """The frames of the view that `asked`, ids of its base, names."""
    base = view.base
    selection = common_selection(view.selection, asked, num_frames=len(base))
    if not len(selection):
        raise ViewError("no frame is chosen: none of ids= belongs to a video of videos=")
    held = _held_by_video(base, selection)
    video_ids = np.flatnonzero(held)
    return view_of(base, selection, video_ids=video_ids, frames_of_video=held[video_ids])


def _held_by_video(base: FrameStore, selection: Selection) -> Int64s:
    """Selected frames of each video of the base, shape (V,)."""
    order = base.source_order
    if order.order is None:
        return np.diff(selection.num_below(order.first_stored))
    held = np.zeros(order.num_videos, np.int64)
    ids = all_ids(selection)
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        rows = base.rows_of(ids[first : first + _ROWS_AT_ONCE])
        held += np.bincount(rows["video_id"], minlength=len(held))
    return held
