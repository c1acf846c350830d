"""`edges="whole"`: the anchors whose whole window lies in their video, as a view; and the videos that have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from frame_store.protocol import FrameStore
from frame_store.shared import counted, counted_in_groups, without_controls
from frame_store.source_order import SourceOrder
from frame_store.views import View, select_places
from loader.errors import SamplingError
from loader.sampling.orders import Int64s
from loader.windows.gaps import clock_seconds_of_videos, irregular_steps
from loader.windows.spec import WindowSpec
from loader.windows.windows import Windows

_PLACES_AT_ONCE: Final = 1 << 16
_NUM_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeWindows:
    """The anchors of whole windows, and what is left out."""

    anchors: FrameStore
    """A view of the store: the frames whose whole window lies in their video."""
    num_short_videos: int
    """Videos of the store with frames, but without a whole window."""
    notes: tuple[str, ...]
    """A text on these videos, and on videos with gaps, if there are such; for the `repr` of a loader."""


class Runs(NamedTuple):
    """Places [starts[r], ends[r]), ascending: int64, shape (R,)."""

    starts: Int64s
    ends: Int64s


def anchors_with_whole_windows(windows: Windows) -> WholeWindows:
    """The anchors of `windows.store` whose whole window lies in their video.

    Of a cache made with `--fps`, a window is whole only if the pts of its frames keep the step of that clock.
    Offsets in frames over a store that has its frames video by video cost O(videos).

    Raises:
        SamplingError: no window fits into any video (the message has the longest video), or none belongs to a frame of
            the store.
    """
    store, base, spec = windows.store, windows.base, windows.spec
    order = base.source_order
    runs, gap_note = _runs_that_fit(order, spec), None
    if not (runs.ends > runs.starts).any():
        longest = int(np.diff(order.first_stored).max(initial=0))
        raise SamplingError(
            f"edges='whole': windows longer than every video: {spec} fits into none of "
            f"{counted(order.num_videos, 'video')}, the longest of which has {counted(longest, 'stored frame')}"
        )
    if spec.frame_offsets is not None:
        runs, gap_note = _without_gaps(base, spec, runs)
    if spec.uses_seconds:
        runs = _runs_that_hold(windows, runs)
    view = select_places(store, runs.starts, runs.ends)
    if view is None:
        reason = "" if gap_note is None else f"; {gap_note}"
        raise SamplingError(f"edges='whole': no frame of {store!r} has a whole window of {spec}{reason}")
    rows = _rows_without_windows(store, order, runs)
    notes = [_short_note(store, rows)] if len(rows) else []
    return WholeWindows(
        anchors=view,
        num_short_videos=len(rows),
        notes=(*notes, *([] if gap_note is None else [gap_note])),
    )


def span_of(offsets: Sequence[int]) -> tuple[int, int]:
    """(before, after): how far a window reaches from its anchor, both 0 or more."""
    return max(0, -min(offsets)), max(0, *offsets)


def _runs_that_fit(order: SourceOrder, spec: WindowSpec) -> Runs:
    """By offsets in frames: the anchors of each video, one run a video."""
    first, end = order.first_stored[:-1], order.first_stored[1:]
    starts, ends = first.copy(), end.copy()
    if spec.frame_offsets is not None:
        starts = np.maximum(starts, first - min(spec.frame_offsets))
        ends = np.minimum(ends, end - max(spec.frame_offsets))
    videos = np.arange(order.num_videos)
    num_rows = np.diff(order.first_row)
    for offsets in spec.column_offsets.values():
        before, after = span_of(offsets)
        starts = np.maximum(starts, order.places_from(videos, np.full(len(videos), before)))
        ends = np.minimum(ends, order.places_from(videos, np.maximum(num_rows - after, 0)))
    return Runs(starts, np.maximum(ends, starts))


def _without_gaps(base: FrameStore, spec: WindowSpec, runs: Runs) -> tuple[Runs, str | None]:
    """The anchors whose windows keep the step of the clock by which the cache's frames were chosen."""
    clocks = clock_seconds_of_videos(base)
    if not np.isfinite(clocks).any():
        return runs, None
    assert spec.frame_offsets is not None
    gaps = irregular_steps(base, clocks, tolerance=spec.tolerance_seconds)
    if not len(gaps.places):
        return runs, None
    low, high = min(spec.frame_offsets), max(spec.frame_offsets)
    # The window of an anchor p has the steps p + low, ..., p + high - 1; step g leads from place g to g + 1.
    has_gap_from, has_gap_to = gaps.places - high + 1, gaps.places - low + 1
    kept = _without(runs, Runs(has_gap_from, has_gap_to))
    table = base.videos
    rows = np.unique(gaps.videos)
    named = _named([table[row].path for row in rows[:_NUM_NAMED].tolist()], len(rows))
    return kept, (
        f"{counted_in_groups(len(rows), 'video has', 'videos have')} gaps in time between frames that --fps chose, "
        f"and windows over one are left out: {named}"
    )


def _runs_that_hold(windows: Windows, runs: Runs) -> Runs:
    """The anchors among `runs` whose windows by time are whole, too."""
    order = windows.base.source_order
    lengths = runs.ends - runs.starts
    past = np.cumsum(lengths)
    starts, ends = [runs.starts[:0]], [runs.ends[:0]]
    for first in range(0, int(lengths.sum()), _PLACES_AT_ONCE):
        numbers = np.arange(first, min(first + _PLACES_AT_ONCE, int(past[-1])))
        of_number = np.searchsorted(past, numbers, side="right")
        places = runs.starts[of_number] + numbers - (past[of_number] - lengths[of_number])
        videos = np.searchsorted(order.first_stored, places, side="right") - 1
        kept = places[windows.shown(videos, order.frames_at(places, videos)).is_whole]
        if len(kept):
            is_start = np.append(True, np.diff(kept) != 1)
            starts.append(kept[is_start])
            ends.append(kept[np.append(is_start[1:], True)] + 1)
    return Runs(np.concatenate(starts), np.concatenate(ends))


def _without(runs: Runs, removed: Runs) -> Runs:
    """The places of `runs` outside of `removed`, whose starts and ends both rise."""
    starts, ends = [], []
    for start, end in zip(runs.starts.tolist(), runs.ends.tolist(), strict=True):
        first = int(np.searchsorted(removed.ends, start, side="right"))
        last = int(np.searchsorted(removed.starts, end, side="left"))
        for number in range(first, last):
            starts.append(start)
            ends.append(max(start, int(removed.starts[number])))
            start = max(start, int(removed.ends[number]))  # noqa: PLW2901 - goes on behind the gap
        starts.append(start)
        ends.append(max(start, end))
    return Runs(np.array(starts, np.int64), np.array(ends, np.int64))


def _rows_without_windows(store: FrameStore, order: SourceOrder, runs: Runs) -> Int64s:
    """Rows of `store.videos` that have frames, but no whole window."""
    held = runs.ends > runs.starts
    videos = np.searchsorted(order.first_stored, runs.starts[held], side="right") - 1
    base_rows = store.video_ids if isinstance(store, View) else np.arange(order.num_videos)
    sizes = order.first_stored[base_rows + 1] - order.first_stored[base_rows]
    return np.flatnonzero((sizes > 0) & ~np.isin(base_rows, videos))


def _short_note(store: FrameStore, rows: Int64s) -> str:
    table = store.videos
    num_frames = sum(table[row].num_frames_stored for row in rows.tolist())
    named = _named([table[row].path for row in rows[:_NUM_NAMED].tolist()], len(rows))
    without = counted_in_groups(len(rows), "video without a whole window", "videos without a whole window")
    return f"{num_frames:,} of {counted_in_groups(len(store), 'frame')} are in {without}: {named}"


def _named(paths: list[str], num_videos: int) -> str:
    more = f" and {num_videos - len(paths):,} more" if num_videos > len(paths) else ""
    return ", ".join(map(without_controls, paths)) + more
