"""A set of frame ids of a store, as ranges or as an array, whichever is smaller. Positions in it count from 0."""

import hashlib
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.source_order import Int64s

NOT_SELECTED: Final = -1
"""The position of an id that the selection does not have."""

_BYTES_OF_A_RANGE: Final = 24
_IDS_AT_ONCE: Final = 1 << 20


class RangeSelection:
    """Ids in ranges, ascending, with a gap between two ranges: 24 bytes a range."""

    def __init__(self, starts: Int64s, ends: Int64s) -> None:
        """Of the ids [starts[r], ends[r]) of each range r, int64, shape (R,)."""
        self._starts, self._ends = starts, ends
        self._first = np.cumsum(ends - starts) - (ends - starts)

    def __len__(self) -> int:
        return int((self._ends - self._starts).sum())

    def ids_at(self, positions: Int64s) -> Int64s:
        """Ids at positions in [0, len(self)): int64 of the same shape."""
        ranges = np.searchsorted(self._first, positions, side="right") - 1
        ids: Int64s = self._starts[ranges] + (positions - self._first[ranges])
        return ids

    def positions_of(self, ids: Int64s) -> Int64s:
        """The position of each id, or `NOT_SELECTED`: int64 of the same shape."""
        ranges = np.maximum(np.searchsorted(self._starts, ids, side="right") - 1, 0)
        is_selected = (ids >= self._starts[ranges]) & (ids < self._ends[ranges])
        return np.where(is_selected, self._first[ranges] + ids - self._starts[ranges], NOT_SELECTED)

    def num_below(self, bounds: Int64s) -> Int64s:
        """Selected ids below each bound: int64 of the same shape."""
        ranges = np.maximum(np.searchsorted(self._starts, bounds, side="right") - 1, 0)
        inside = np.clip(bounds, self._starts[ranges], self._ends[ranges]) - self._starts[ranges]
        below: Int64s = self._first[ranges] + inside
        return below

    def runs(self) -> tuple[Int64s, Int64s]:
        """First ids and ends of the longest runs of neighbouring ids."""
        return self._starts, self._ends


class IdSelection:
    """Ascending ids: 4 bytes an id, or 8 where the store has 2**32 frames or more."""

    def __init__(self, ids: npt.NDArray[Any]) -> None:
        """Of `ids`, uint32 or int64, shape (n,)."""
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def ids_at(self, positions: Int64s) -> Int64s:
        """See `RangeSelection`."""
        ids: Int64s = self._ids[positions].astype(np.int64)
        return ids

    def positions_of(self, ids: Int64s) -> Int64s:
        """See `RangeSelection`."""
        # The needles take the type of the ids: with two types numpy would convert all ids.
        positions = np.searchsorted(self._ids, ids.astype(self._ids.dtype))
        inside = np.minimum(positions, len(self._ids) - 1)
        return np.where(self._ids[inside] == ids, inside, NOT_SELECTED)

    def num_below(self, bounds: Int64s) -> Int64s:
        """See `RangeSelection`."""
        return np.searchsorted(self._ids, bounds.astype(self._ids.dtype)).astype(np.int64)

    def runs(self) -> tuple[Int64s, Int64s]:
        """See `RangeSelection`."""
        return _runs_of(self._ids)


Selection: TypeAlias = RangeSelection | IdSelection


def selection_of_ids(ids: npt.NDArray[Any], *, num_frames: int) -> Selection:
    """The selection of ascending, different ids out of [0, num_frames): `ids` has shape (n,), n > 0."""
    is_start = np.diff(ids, prepend=ids[0]) != 1  # the first id compares with itself
    if _BYTES_OF_A_RANGE * int(is_start.sum()) <= _id_dtype(num_frames).itemsize * len(ids):
        return RangeSelection(*_runs_of(ids))
    return IdSelection(ids.astype(_id_dtype(num_frames), copy=False))


def selection_of_runs(starts: Int64s, ends: Int64s, *, num_frames: int) -> Selection:
    """The selection of the ids [starts[r], ends[r]), in ascending order of r: int64, shape (R,). Some may be empty."""
    is_held = ends > starts
    starts, ends = starts[is_held], ends[is_held]
    is_start = np.append(True, starts[1:] != ends[:-1])[: len(starts)]
    ranges = RangeSelection(starts[is_start], ends[np.append(is_start[1:], True)[: len(ends)]])
    id_dtype = _id_dtype(num_frames)
    if _BYTES_OF_A_RANGE * int(is_start.sum()) <= id_dtype.itemsize * len(ranges):
        return ranges
    return IdSelection(ranges.ids_at(np.arange(len(ranges), dtype=np.int64)).astype(id_dtype))


def common_selection(one: Selection, other: Selection, *, num_frames: int) -> Selection:
    """The selection of the ids that both have; it may have none."""
    if isinstance(one, RangeSelection) and isinstance(other, RangeSelection):
        (starts, ends), (other_starts, other_ends) = one.runs(), other.runs()
        first = np.searchsorted(other_ends, starts, side="right")
        counts = np.maximum(np.searchsorted(other_starts, ends, side="left") - first, 0)
        left = np.repeat(np.arange(len(starts)), counts)
        right = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts) + first[left]
        return selection_of_runs(
            np.maximum(starts[left], other_starts[right]),
            np.minimum(ends[left], other_ends[right]),
            num_frames=num_frames,
        )
    listed, asked = (one, other) if isinstance(one, IdSelection) else (other, one)
    ids = all_ids(listed)
    common = ids[asked.positions_of(ids) != NOT_SELECTED]
    if not len(common):
        return RangeSelection(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return selection_of_ids(common, num_frames=num_frames)


def all_ids(selection: Selection) -> Int64s:
    """Every selected id in ascending order: int64, shape (len(selection),)."""
    return selection.ids_at(np.arange(len(selection), dtype=np.int64))


def digest_of(selection: Selection) -> str:
    """SHA-256 of the runs of neighbouring ids, in hex: it does not depend on how the selection is kept."""
    hashed = hashlib.sha256()
    for edges in selection.runs():
        for first in range(0, len(edges), _IDS_AT_ONCE):
            hashed.update(edges[first : first + _IDS_AT_ONCE].astype("<i8").tobytes())
    return hashed.hexdigest()


def _runs_of(ids: npt.NDArray[Any]) -> tuple[Int64s, Int64s]:
    is_start = np.diff(ids, prepend=ids[0]) != 1
    is_end = np.append(is_start[1:], True)
    return ids[is_start].astype(np.int64), ids[is_end].astype(np.int64) + 1


def _id_dtype(num_frames: int) -> np.dtype[Any]:
    return np.dtype(np.uint32 if num_frames < 1 << 32 else np.int64)
