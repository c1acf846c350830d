"""The frame nearest to a time, in each of many videos at once."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from frame_store.source_order import PtsOfRows, SourceOrder
from loader.errors import SamplingError
from loader.sampling.orders import Int64s
from loader.windows.request import Bools

Seconds = npt.NDArray[np.float64]

ROUNDING_SECONDS: Final = 1e-9
"""Sums of pts and offsets are rounded. Distances that differ by less than this are alike, and a distance that exceeds
the tolerance by less is within it."""

_ROWS_AT_ONCE: Final = 1 << 20


class Nearest(NamedTuple):
    """The nearest frames, and whether they are near enough."""

    found: Int64s
    """Rows or places, shape (B, K)."""
    is_near: Bools
    """Shape (B, K)."""


class _Frames(NamedTuple):
    """The frames among which the nearest one is searched, rows or places."""

    first: Int64s
    """Of each video, shape (B,)."""
    end: Int64s
    pts_at: Callable[[Int64s], Seconds]
    of_unsorted: "dict[int, _Sorted]"


class _Sorted(NamedTuple):
    """The frames of a video that have pts, sorted by pts, then by row."""

    pts: Seconds
    found: Int64s


class TimeSearch:
    """Finds rows (decoded frames) and places (stored frames) by pts.

    A video whose pts rise from frame to frame is searched where its pts are. For the others a sorted copy of their pts
    is kept: 16 bytes a frame for rows, and as much for places.
    """

    def __init__(self, order: SourceOrder) -> None:
        """Look through the pts of `order` once.

        Raises:
            SamplingError: no pts are known.
        """
        if order.source_pts is None or not _has_pts(order.source_pts):
            raise SamplingError(
                f"offsets in seconds need the times of frames, and none of {counted(order.num_videos, 'video')} has "
                f"pts; give frame_offsets and column_offsets, which count frames"
            )
        self._order = order
        self._pts = order.source_pts
        self._unsorted = _unsorted_videos(order.first_row, self._pts)
        self._rows_of = {video: self._sorted_rows(video) for video in self._unsorted.tolist()}
        self._places_of = {video: self._sorted_places(video) for video in self._unsorted.tolist()}

    def pts_of(self, rows: Int64s) -> Seconds:
        """Pts of rows, NaN where there is none: float64 of the same shape."""
        return np.asarray(self._pts[rows], np.float64)

    def nearest_rows(self, videos: Int64s, wanted: Seconds, *, tolerance: float | None) -> Nearest:
        """The row of video videos[b] that is nearest to each wanted[b, k]. Of two that are alike, the earlier one.

        A distance of up to `tolerance` is near; None means half the mean distance between the frames of the video.
        NaN is near nothing, and its row is any.
        """
        first, end = self._order.first_row[videos], self._order.first_row[videos + 1]
        return self._nearest(videos, wanted, _Frames(first, end, self.pts_of, self._rows_of), tolerance)

    def nearest_places(self, videos: Int64s, wanted: Seconds, *, tolerance: float | None) -> Nearest:
        """The place of the stored frame that is nearest; otherwise as `nearest_rows`."""
        order = self._order
        first, end = order.first_stored[videos], order.first_stored[videos + 1]

        def pts_at(places: Int64s) -> Seconds:
            of_place = np.broadcast_to(videos[:, None], places.shape) if places.ndim == 2 else videos
            return self.pts_of(order.rows_of(of_place, order.frames_at(places, of_place)))

        return self._nearest(videos, wanted, _Frames(first, end, pts_at, self._places_of), tolerance)

    def _nearest(self, videos: Int64s, wanted: Seconds, frames: _Frames, tolerance: float | None) -> Nearest:
        first, end, pts_at, of_unsorted = frames
        firsts = np.broadcast_to(first[:, None], wanted.shape)
        lasts = np.broadcast_to(end[:, None], wanted.shape) - 1
        above = _first_from(pts_at, firsts, lasts + 1, wanted)
        left, right = np.maximum(above - 1, firsts), np.minimum(above, lasts)
        to_left, to_right = np.abs(wanted - pts_at(left)), np.abs(wanted - pts_at(right))
        is_left = to_left <= to_right + ROUNDING_SECONDS
        found, distance = np.where(is_left, left, right), np.where(is_left, to_left, to_right)
        mean = (pts_at(end - 1) - pts_at(first)) / np.maximum(end - first - 1, 1)
        for row in np.flatnonzero(np.isin(videos, self._unsorted)).tolist():
            times = of_unsorted[int(videos[row])]
            found[row], distance[row], mean[row] = _nearest_of(times, wanted[row], default=int(first[row]))
        limit = mean / 2 if tolerance is None else np.full(len(videos), tolerance)
        return Nearest(found, distance <= limit[:, None] + ROUNDING_SECONDS)

    def _sorted_rows(self, video: int) -> _Sorted:
        rows = np.arange(self._order.first_row[video], self._order.first_row[video + 1])
        return _sorted(self.pts_of(rows), rows)

    def _sorted_places(self, video: int) -> _Sorted:
        order = self._order
        places = np.arange(order.first_stored[video], order.first_stored[video + 1])
        videos = np.full(len(places), video)
        return _sorted(self.pts_of(order.rows_of(videos, order.frames_at(places, videos))), places)


def _has_pts(pts: PtsOfRows) -> bool:
    starts = range(0, len(pts), _ROWS_AT_ONCE)
    return any(np.isfinite(pts[start : start + _ROWS_AT_ONCE]).any() for start in starts)


def _unsorted_videos(first_row: Int64s, pts: PtsOfRows) -> Int64s:
    """Videos in which a frame has no pts, or none above that of the frame before it: int64, ascending."""
    found = []
    for start in range(0, len(pts), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(pts))
        block = np.asarray(pts[max(start - 1, 0) : stop])
        rises = np.append([True] if start == 0 else [], block[1:] > block[:-1]).astype(bool)
        rows = start + np.flatnonzero(~(rises & np.isfinite(block[len(block) - (stop - start) :])))
        videos = np.searchsorted(first_row, rows, side="right") - 1
        begins = (rows == first_row[videos]) & np.isfinite(pts[rows])  # the first frame follows no other
        found.append(np.unique(videos[~begins]))
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found])).astype(np.int64)


def _sorted(pts: Seconds, found: Int64s) -> _Sorted:
    has_pts = np.isfinite(pts)
    pts, found = pts[has_pts], found[has_pts]
    order = np.argsort(pts, kind="stable")
    return _Sorted(pts[order], found[order])


def _nearest_of(times: _Sorted, wanted: Seconds, *, default: int) -> tuple[Any, Any, float]:
    """Nearest frames, their distances, and the mean distance between the frames, in one sorted video."""
    if not len(times.pts):
        return default, np.nan, 0.0
    right = np.minimum(np.searchsorted(times.pts, wanted), len(times.pts) - 1)
    # Several frames may have one pts: the first of them.
    left = np.searchsorted(times.pts, times.pts[np.maximum(right - 1, 0)])
    to_left, to_right = np.abs(wanted - times.pts[left]), np.abs(wanted - times.pts[right])
    is_left = to_left <= to_right + ROUNDING_SECONDS
    mean = float(times.pts[-1] - times.pts[0]) / max(len(times.pts) - 1, 1)
    return (
        np.where(is_left, times.found[left], times.found[right]),
        np.where(is_left, to_left, to_right),
        mean,
    )


def _first_from(value_at: Callable[[Int64s], Seconds], first: Int64s, end: Int64s, wanted: Seconds) -> Int64s:
    """The first position in [first, end) whose value is not below `wanted`, else `end`; values rise in the range."""
    low, high = first.copy(), end.copy()
    while (is_open := low < high).any():
        middle = (low + high) >> 1
        is_below = is_open & (value_at(np.minimum(middle, end - 1)) < wanted)
        low, high = np.where(is_below, middle + 1, low), np.where(is_open & ~is_below, middle, high)
    return low
