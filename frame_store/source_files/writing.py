"""Writes the files of source order."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.source_files.names import (
    DTYPE_OF_FILE,
    FIRST_ROW_NAME,
    FIRST_STORED_NAME,
    ORDER_NAME,
    SOURCE_FILE_NAMES,
    SOURCE_FRAMES_NAME,
    SOURCE_PTS_NAME,
)
from frame_store.source_order import SourceOrder, starts_of

_VALUES_PER_STEP = 1 << 20

_Chunks = Iterator[npt.NDArray[Any]]


def write_source_order(
    folder: Path, order: SourceOrder, *, is_shuffled: bool, names: Collection[str] = SOURCE_FILE_NAMES
) -> None:
    """Write the files of a generation's source order into `folder`, or those of `names`. Equal orders give equal bytes.

    `order.npy` is written for a shuffled layout alone, and `source_frames.npy` where a decoded frame is not stored.
    `order.source_pts` is needed.

    Raises:
        OSError: disk full or failing.
    """
    write_joined_source_order(folder, [order], is_shuffled=is_shuffled, names=names)


def write_joined_source_order(
    folder: Path,
    orders: Sequence[SourceOrder],
    *,
    is_shuffled: bool,
    names: Collection[str] = SOURCE_FILE_NAMES,
) -> None:
    """As `write_source_order`, of a generation whose frames, videos and rows are those of `orders`, one after another.

    The arrays are written in steps: mapped ones are never in memory as a whole.
    """
    assert all(order.source_pts is not None for order in orders)
    assert is_shuffled or all(order.order is None for order in orders)
    num_stored, num_rows = (
        sum(getattr(order, name) for order in orders) for name in ("num_stored", "num_rows")
    )
    num_videos = sum(order.num_videos for order in orders)
    files: dict[str, tuple[int, _Chunks]] = {
        FIRST_ROW_NAME: (num_videos + 1, _starts([order.first_row for order in orders])),
        FIRST_STORED_NAME: (num_videos + 1, _starts([order.first_stored for order in orders])),
        SOURCE_PTS_NAME: (num_rows, _pts(orders)),
    }
    if is_shuffled:
        files[ORDER_NAME] = (num_stored, _ids(orders))
    if any(order.source_frames is not None for order in orders):
        files[SOURCE_FRAMES_NAME] = (num_stored, _frames(orders))
    for name, (length, chunks) in files.items():
        if name in names:
            _write_array(folder / name, chunks, length, DTYPE_OF_FILE[name])


def _starts(parts: Sequence[npt.NDArray[Any]]) -> _Chunks:
    yield np.zeros(1, np.int64)
    before = 0
    for starts in parts:
        for first, end in _steps(len(starts) - 1):
            yield starts[first + 1 : end + 1] + before
        before += int(starts[-1])


def _ids(orders: Sequence[SourceOrder]) -> _Chunks:
    for order, first_id in zip(
        orders, starts_of([order.num_stored for order in orders]).tolist(), strict=False
    ):
        for first, end in _steps(order.num_stored):
            ids = np.arange(first, end) if order.order is None else order.order[first:end].astype(np.int64)
            yield ids + first_id


def _frames(orders: Sequence[SourceOrder]) -> _Chunks:
    for order in orders:
        for first, end in _steps(order.num_stored):
            if order.source_frames is not None:
                yield order.source_frames[first:end]
                continue
            places = np.arange(first, end)
            video_ids = np.searchsorted(order.first_stored, places, side="right") - 1
            yield places - order.first_stored[video_ids]


def _pts(orders: Sequence[SourceOrder]) -> _Chunks:
    for order in orders:
        assert order.source_pts is not None
        for first, end in _steps(order.num_rows):
            yield np.asarray(order.source_pts[first:end])


def _steps(length: int) -> Iterator[tuple[int, int]]:
    for first in range(0, length, _VALUES_PER_STEP):
        yield first, min(first + _VALUES_PER_STEP, length)


def _write_array(path: Path, chunks: _Chunks, length: int, dtype: np.dtype[Any]) -> None:
    # Plain writes: through a memory map a full disk would kill the process instead of raising.
    with path.open("wb") as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        for values in chunks:
            file.write(values.astype(dtype).tobytes())
