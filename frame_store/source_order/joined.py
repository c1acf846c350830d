"""The source orders of stores that lie one after another, as one."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.source_order.deferred import DeferredArray
from frame_store.source_order.order import Int64s, SourceOrder


def joined_order(orders: Sequence[SourceOrder]) -> SourceOrder:
    """The source order of stores whose frames, videos and rows follow each other; a single one is given back as it is.

    All but the pts is copied: 16 bytes a video, and up to 8 bytes a frame. What is deferred is copied at its first use.

    Raises:
        StoreDamagedError: an `order` holds a number that is no frame id of its store. A deferred one raises it when it
            is used.
    """
    if len(orders) == 1:
        return orders[0]
    num_frames = sum(order.num_stored for order in orders)
    return SourceOrder(
        first_row=_joined_starts([order.first_row for order in orders]),
        first_stored=_joined_starts([order.first_stored for order in orders]),
        order=_joined([order.order for order in orders], num_frames, lambda: _joined_ids(orders)),
        source_frames=_joined(
            [order.source_frames for order in orders], num_frames, lambda: _joined_frames(orders)
        ),
        source_pts=_joined_pts(orders),
    )


def starts_of(counts: Sequence[int]) -> Int64s:
    """What lies before each of several things, and before the end: int64, shape (P + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class JoinedPts:
    """Implements `PtsOfRows`. It keeps the parts' arrays, mostly mapped files, and copies what is asked for."""

    def __init__(self, parts: Sequence[Any], *, memory: object = None) -> None:
        """Of `parts`, `PtsOfRows` each; `memory` is kept for as long as they are in use."""
        self._parts, self._memory = tuple(parts), memory
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int]:
        """(R,)."""
        return (len(self),)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401 - as numpy's
        """The pts at a slice, or at an array of rows: float64, of the same shape as the rows."""
        rows = rows_of_key(key, num_rows=len(self))
        if isinstance(rows, range):
            return self._stretch(rows.start, rows.stop)
        of_rows = np.searchsorted(self._ends, rows, side="right")
        values = np.empty(rows.shape, np.float64)
        for number in np.unique(of_rows).tolist():
            is_here = of_rows == number
            part = self._parts[number]
            values[is_here] = part[rows[is_here] - (self._ends[number] - len(part))]
        return values

    def _stretch(self, first: int, end: int) -> npt.NDArray[np.float64]:
        """The pts of the rows [first, end), a copy."""
        values = np.empty(max(end - first, 0), np.float64)
        number, at = int(np.searchsorted(self._ends, first, side="right")), first
        while at < end:
            part, stop = self._parts[number], min(end, int(self._ends[number]))
            start = int(self._ends[number]) - len(part)
            values[at - first : stop - first] = part[at - start : stop - start]
            number, at = number + 1, stop
        return values

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All of them.

        Raises:
            ValueError: `copy` is False.
        """
        if copy is False:
            raise ValueError("an array of JoinedPts is a copy")
        return np.asarray(self[:], dtype)


def rows_of_key(key: Any, *, num_rows: int) -> range | Int64s:  # noqa: ANN401 - as numpy's
    """The rows that an index of numpy means among `num_rows`: a range for a slice of step 1, else int64.

    Raises:
        IndexError: a row outside of them, or bools of another number.
    """
    if isinstance(key, slice):
        rows = range(*key.indices(num_rows))
        return rows if rows.step == 1 else np.arange(rows.start, rows.stop, rows.step)
    asked = np.asarray(key)
    if asked.dtype == np.bool_:
        if asked.shape != (num_rows,):
            raise IndexError(f"bools have shape ({num_rows},), found {asked.shape}")
        return np.flatnonzero(asked)
    if asked.size and asked.dtype.kind not in "iu":
        raise IndexError(f"rows are a slice, whole numbers or bools, found {asked.dtype}")
    asked = asked.astype(np.int64, copy=False)
    outside = (asked < -num_rows) | (asked >= num_rows)
    if outside.any():
        raise IndexError(f"row {asked[outside][0]} is outside [0, {num_rows})")
    return np.where(asked < 0, asked + num_rows, asked)


def _joined_starts(starts: Sequence[Int64s]) -> Int64s:
    return np.append(0, np.cumsum(np.concatenate([np.diff(each) for each in starts]))).astype(np.int64)


def _joined(
    parts: Sequence[object], num_frames: int, joined: Callable[[], npt.NDArray[Any]]
) -> npt.NDArray[Any] | None:
    """A column of all parts; None where none has it."""
    if all(part is None for part in parts):
        return None
    if any(isinstance(part, DeferredArray) for part in parts):
        return cast("npt.NDArray[Any]", DeferredArray(num_frames, joined))
    return joined()


def _joined_ids(orders: Sequence[SourceOrder]) -> npt.NDArray[Any]:
    first_ids = starts_of([order.num_stored for order in orders])
    num_frames = int(first_ids[-1])
    ids: npt.NDArray[Any] = np.empty(num_frames, np.uint32 if num_frames < 1 << 32 else np.int64)
    for order, first, end in zip(orders, first_ids[:-1], first_ids[1:], strict=True):
        own = np.arange(end - first) if order.order is None else np.asarray(order.order)
        if len(own) and int(own.max()) >= end - first:  # it would be a frame of another one
            raise StoreDamagedError(
                f"{order.label}order.npy: frame id {own.max()} is outside [0, {end - first})"
            )
        ids[first:end] = own.astype(ids.dtype) + ids.dtype.type(first)
    return ids


def _joined_frames(orders: Sequence[SourceOrder]) -> npt.NDArray[Any]:
    frames = []
    for order in orders:
        if order.source_frames is not None:
            frames.append(np.asarray(order.source_frames))
            continue
        lengths = np.diff(order.first_stored)
        own = np.arange(order.num_stored) - np.repeat(order.first_stored[:-1], lengths)
        frames.append(own.astype(np.uint32))
    return np.concatenate(frames)


def _joined_pts(orders: Sequence[SourceOrder]) -> JoinedPts | None:
    """The pts of all parts, NaN for a part where they are not known."""
    if all(order.source_pts is None for order in orders):
        return None
    return JoinedPts(
        [
            np.broadcast_to(np.nan, order.num_rows) if order.source_pts is None else order.source_pts
            for order in orders
        ]
    )
