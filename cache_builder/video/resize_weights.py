"""Bilinear resize of one axis as matrix products: the filter of swscale, built once in float64.

Which source samples go into which output, and with what weights, depends on sizes and siting alone. So it is
worked out once a video, and a frame costs one product for its rows and one for its columns.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Output rows of one block: of 8, 16 and 32, 16 leaves the fewest products for 1080 -> 224.
_ROWS_PER_BLOCK = 16


@dataclass(frozen=True, kw_only=True)
class AxisTaps:
    """The source samples of every output sample along one axis, and their weights.

    Attributes:
        num_in: Source samples.
        indices: intp (num_out, num_taps): source samples, each in [0, num_in), repeated at the edges.
        weights: float64 (num_out, num_taps), at least 0; each row sums to 1.
    """

    num_in: int
    indices: NDArray[np.intp]
    weights: NDArray[np.float64]

    @property
    def num_out(self) -> int:
        """Output samples."""
        return len(self.indices)

    @property
    def is_identity(self) -> bool:
        """Whether the output is the source."""
        if self.num_in != self.num_out:
            return False
        weight_of_itself = (self.weights * (self.indices == np.arange(self.num_out)[:, None])).sum(1)
        return bool(np.all(weight_of_itself == 1.0))


def bilinear_taps(num_in: int, num_out: int, *, sample_centre: float = 0.5) -> AxisTaps:
    """The triangle filter that libswscale's SWS_BILINEAR uses (initFilter in libswscale/utils.c), unrounded.

    Output i lies at source position `(i + 1/2) * num_in / num_out - sample_centre`. The triangle is as wide
    as two source samples when scaling up and as two output samples when scaling down; a tap beyond an edge
    takes the sample at the edge. Two habits of swscale are kept, or edges would differ by up to 14 levels:
    the first output misses the tap furthest outside, and an axis of n samples gets n - 2 taps at most.

    Args:
        num_in: Source samples, at least 1.
        num_out: Output samples, at least 1.
        sample_centre: Where in its own cell a source sample lies: 0.5 in the middle; 0.25 for chroma that
            coincides with the first of its two luma samples, 0.75 with the second.

    Raises:
        ValueError: If there are no samples.

    >>> bilinear_taps(8, 4).weights[1].tolist()
    [0.125, 0.375, 0.375, 0.125, 0.0]
    """
    if num_in < 1 or num_out < 1:
        raise ValueError(f"an axis needs at least 1 sample to resize from and to, not {num_in} and {num_out}")
    scale = num_in / num_out
    radius = max(1.0, scale)
    num_taps = max(1, min(1 + math.ceil(2 * radius), num_in - 2))
    position = (np.arange(num_out) + 0.5) * scale - sample_centre
    # Cut towards zero, as C divides: this is what the first output misses a tap by.
    first = np.trunc(position - (num_taps - 2) / 2).astype(np.intp)
    indices = first[:, None] + np.arange(num_taps)
    weights = np.maximum(0.0, 1.0 - np.abs(indices - position[:, None]) / radius)
    weights /= weights.sum(axis=1, keepdims=True)
    return AxisTaps(num_in=num_in, indices=np.clip(indices, 0, num_in - 1), weights=weights)


class RowResize:
    """Resizes the rows of a picture on one device.

    A dense matrix would be zeros but for a band. Cut into blocks of 16 output rows, each reads one window of
    source rows, and as the windows start at equal steps they are one strided view: one batched product, no
    copies, an eighth of the arithmetic for 1080 -> 224.
    """

    def __init__(self, taps: AxisTaps, device: torch.device) -> None:
        starts = np.arange(0, taps.num_out, _ROWS_PER_BLOCK)
        lowest = np.minimum.reduceat(taps.indices.min(axis=1), starts)
        highest = np.maximum.reduceat(taps.indices.max(axis=1), starts)
        self._step, self._length = _plan_windows(lowest, highest, taps.num_in)
        blocks = np.zeros((len(starts), _ROWS_PER_BLOCK, self._length), np.float32)
        rows = np.arange(taps.num_out)[:, None]
        block, row_in_block = np.divmod(rows, _ROWS_PER_BLOCK)
        np.add.at(blocks, (block, row_in_block, taps.indices - block * self._step), taps.weights)
        self._blocks = torch.from_numpy(blocks).to(device)
        self._num_out = taps.num_out

    @property
    def num_products_per_column(self) -> int:
        """Multiplications that one column of the picture costs."""
        return self._blocks.numel()

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Contiguous float32 (num_in, N) -> contiguous float32 (num_out, N); one kernel."""
        width = rows.shape[1]
        windows = rows.as_strided(
            (self._blocks.shape[0], self._length, width),
            (self._step * width, width, 1),
        )
        return torch.bmm(self._blocks, windows).view(-1, width)[: self._num_out]


class ColumnResize:
    """Resizes the columns of pictures on one device: one dense product, small once the rows are resized."""

    def __init__(self, taps: AxisTaps, device: torch.device) -> None:
        matrix = np.zeros((taps.num_in, taps.num_out), np.float32)
        np.add.at(matrix, (taps.indices, np.arange(taps.num_out)[:, None]), taps.weights)
        self._matrix = torch.from_numpy(matrix).to(device)

    def __call__(self, pictures: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """float32 (C, H, num_in), rows contiguous -> `out`, float32 (C, H, num_out); one kernel."""
        return torch.bmm(pictures, self._matrix.expand(pictures.shape[0], -1, -1), out=out)


def _plan_windows(lowest: NDArray[np.intp], highest: NDArray[np.intp], num_in: int) -> tuple[int, int]:
    """(step, length) of windows [g * step, g * step + length) that hold [lowest[g], highest[g]], all inside."""
    number = np.arange(len(lowest))
    step = int(np.min(lowest[1:] // number[1:])) if len(number) > 1 else 0
    while True:
        length = int(np.max(highest + 1 - number * step))
        if (len(number) - 1) * step + length <= num_in:
            return step, length
        step -= 1  # at 0 every window is the whole axis
