"""Small pictures of frames in whole numbers, by which frames are compared."""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

GRID: Final = 8
"""Cells on each side of a frame; a side of fewer pixels has a cell for each of them."""

_FRACTION_BITS: Final = {np.dtype(np.uint8): 4, np.dtype(np.uint16): 0}
"""Bits after the point in the mean of a cell. With them, 8-bit levels reach 4080 and 16-bit levels 65535."""

_MAX_LINES_IN_16_BITS: Final = 257
"""Of 8-bit levels. Sums of 16 bits take half the time of 32 bits."""

Thumbnails = npt.NDArray[np.uint16]
"""uint16, shape (B, D): the means of a frame's cells, row by row, with the channels of a cell together."""


def thumbnails_of(frames: npt.NDArray[Any]) -> Thumbnails:
    """The means of 8 x 8 cells per channel, rounded down to 1/16 of a level (16-bit levels: to whole levels).

    Cell i of a side of s pixels has the pixels from floor(i s / 8) up to floor((i + 1) s / 8). All sums are of whole
    numbers, so that equal frames give equal thumbnails on every machine.

    Args:
        frames: uint8 or uint16, shape (B, H, W, C).

    Returns:
        uint16, shape (B, D), D = min(8, H) min(8, W) C.
    """
    num_frames, height, width, channels = frames.shape
    rows, columns = _edges(height), _edges(width)
    # Sums down the picture first: they run along whole lines of memory.
    lines = frames.reshape(num_frames, height, width * channels)
    fits = frames.dtype == np.uint8 and int(np.diff(rows).max()) <= _MAX_LINES_IN_16_BITS
    dtype = np.dtype(np.uint16 if fits else np.uint32)
    sums = np.empty((num_frames, len(rows) - 1, width * channels), dtype)
    for row, (first, end) in enumerate(pairwise(rows)):
        np.add.reduce(lines[:, first:end], axis=1, dtype=dtype, out=sums[:, row])
    cells = np.add.reduceat(
        sums.reshape(num_frames, len(rows) - 1, width, channels), columns[:-1], axis=2, dtype=np.uint64
    )
    areas = np.outer(np.diff(rows), np.diff(columns)).astype(np.uint64)[:, :, None]
    bits = np.uint64(_FRACTION_BITS[frames.dtype])
    return ((cells << bits) // areas).astype(np.uint16).reshape(num_frames, -1)


def _edges(side: int) -> npt.NDArray[np.int64]:
    """First pixels of the cells of a side, and its end."""
    num_cells = min(GRID, side)
    return np.arange(num_cells + 1, dtype=np.int64) * side // num_cells
