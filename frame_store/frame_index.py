"""`index.npy`: one row per frame, memory-mapped (FORMAT.md section 4)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.errors import FrameIdError, StoreDamagedError
from frame_store.layout import INDEX_DTYPE, INDEX_NAME
from frame_store.protocol import FrameIds, Frames

FrameIndex = npt.NDArray[Any]


def open_index(store_path: Path, *, num_frames: int) -> FrameIndex:
    """Map `index.npy` read-only: structured array of `INDEX_DTYPE`, shape (num_frames,).

    Raises:
        StoreDamagedError: missing, of another dtype or length, or shorter than its header says.
    """
    path = store_path / INDEX_NAME
    index: FrameIndex
    try:
        index = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can make numpy raise anything
        raise StoreDamagedError(f"{path}: not a readable index: {error}") from error
    if index.dtype != INDEX_DTYPE or index.shape != (num_frames,):
        raise StoreDamagedError(
            f"{path}: expected {num_frames} rows of {INDEX_DTYPE.itemsize} bytes as FORMAT.md section 4 says, "
            f"found shape {index.shape} of {index.dtype}"
        )
    return index.view(np.ndarray)  # the map underneath, without the bookkeeping of np.memmap at every access


def check_frame_ids(frame_ids: FrameIds, *, num_frames: int) -> npt.NDArray[np.int64]:
    """The ids as int64, shape (B,).

    Raises:
        FrameIdError: an id outside [0, num_frames).
        ValueError: not a flat sequence of integers.
    """
    ids = np.asarray(frame_ids)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise ValueError(
            f"frame ids must be a flat sequence of integers, found {ids.dtype} of shape {ids.shape}"
        )
    if ids.size and not 0 <= ids.min() <= ids.max() < num_frames:  # before the cast, which would wrap
        outside = (ids < 0) | (ids >= num_frames)
        raise FrameIdError(f"frame id {ids[outside][0]} is outside [0, {num_frames})")
    return ids.astype(np.int64, copy=False)


def check_out(out: Frames | None, *, num_frames: int, frame_shape: tuple[int, int, int]) -> Frames:
    """`out` if it can take the frames, a new buffer (num_frames, H, W, 3) if it is None.

    Raises:
        ValueError: wrong shape or dtype, not C-contiguous, or read-only.
        TypeError: no numpy array.
    """
    shape = (num_frames, *frame_shape)
    if out is None:
        return np.empty(shape, np.uint8)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array of shape {shape}, found {type(out).__name__}")
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out must be a writeable C-contiguous uint8 array of shape {shape}, found {out.dtype} {out.shape}"
            f"{'' if out.flags.c_contiguous else ', not contiguous'}{'' if out.flags.writeable else ', read-only'}"
        )
    return out


def check_outs(outs: Sequence[Frames], *, num_frames: int, frame_shape: tuple[int, int, int]) -> None:
    """Check that each frame has a place that can take it.

    Raises:
        ValueError: another number of places than frames, or one of a wrong shape or dtype, not C-contiguous, or
            read-only.
    """
    if len(outs) != num_frames:
        raise ValueError(f"expected a place for each of {num_frames} frames, found {len(outs)}")
    for out in outs:
        if (
            out.shape != frame_shape
            or out.dtype != np.uint8
            or not (out.flags.c_contiguous and out.flags.writeable)
        ):
            raise ValueError(
                f"each of outs must be a writeable C-contiguous uint8 array of shape {frame_shape}, "
                f"found {out.dtype} {out.shape}"
            )
