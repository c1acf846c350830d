"""Bilinear resize of one axis as matrix products: the filter of swscale, built once in float64.

The source samples of each output sample, and their weights, depend on sizes and siting alone. So they are computed once
a video, and a frame costs one product for its rows and one for its columns.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Output rows of one block. The size with the fewest products is chosen.
_BLOCK_SIZES = range(8, 33)


@dataclass(frozen=True, kw_only=True)
class AxisTaps:
    """The source samples of every output sample along one axis, and their weights.

    Attributes:
        num_in: Source samples.
        indices: intp (num_out, num_taps): source samples, each in [0, num_in), repeated at the edges;
            rising along each row and down each column.
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
        """Whether the output equals the source."""
        if self.num_in != self.num_out:
            return False
        weight_of_itself = (self.weights * (self.indices == np.arange(self.num_out)[:, None])).sum(1)
        return bool(np.all(weight_of_itself == 1.0))


def bilinear_taps(num_in: int, num_out: int, *, sample_centre: float = 0.5) -> AxisTaps:
    """The triangle filter that libswscale's SWS_BILINEAR uses (initFilter in libswscale/utils.c), unrounded.

    Output i lies at source position `(i + 1/2) * num_in / num_out - sample_centre`. The triangle is as wide
    as two source samples when scaling up and as two output samples when scaling down; a tap beyond an edge
    takes the sample at the edge. Two habits of swscale are kept, because edges would else differ by up to 14 levels:
    the first output misses the tap furthest outside, and an axis of n samples gets n - 2 taps at most.

    Args:
        num_in: Source samples, at least 1.
        num_out: Output samples, at least 1.
        sample_centre: Position of a source sample in its own cell: 0.5 in the middle; 0.25 for chroma that
            coincides with the first of its two luma samples, 0.75 with the second. A multiple of 0.25.

    Raises:
        ValueError: there are no samples.

    >>> bilinear_taps(8, 4).weights[1].tolist()
    [0.125, 0.375, 0.375, 0.125, 0.0]
    """
    if num_in < 1 or num_out < 1:
        raise ValueError(f"an axis needs at least 1 sample to resize from and to, not {num_in} and {num_out}")
    radius = max(1.0, num_in / num_out)
    num_taps = max(1, min(1 + math.ceil(2 * radius), num_in - 2))
    # Positions are whole numbers of 1 / (4 * num_out), so that rounding cannot change which taps there are.
    unit = 4 * num_out
    position = (4 * np.arange(num_out) + 2) * num_in - round(4 * sample_centre) * num_out
    first_tap = position - 2 * (num_taps - 2) * num_out
    # Truncated towards zero, as in C. This makes the first output miss a tap.
    first = np.sign(first_tap) * (np.abs(first_tap) // unit)
    indices = first[:, None] + np.arange(num_taps)
    weights = np.maximum(0.0, 1.0 - np.abs(indices - position[:, None] / unit) / radius)
    weights /= weights.sum(axis=1, keepdims=True)
    return AxisTaps(num_in=num_in, indices=np.clip(indices, 0, num_in - 1), weights=weights)


class RowResize:
    """Resizes the rows of a picture on one device.

    A dense matrix would be zero outside a band. So the output rows are cut into blocks, and each block reads one window
    of source rows. The windows start at equal steps, so they form one strided view: one batched product, no copies, and
    a ninth of the arithmetic for 1080 -> 224.
    """

    def __init__(self, taps: AxisTaps, device: torch.device) -> None:
        plans = [_plan_blocks(taps, block_size) for block_size in _BLOCK_SIZES]
        plan = min(plans, key=lambda plan: plan.num_blocks * plan.block_size * plan.window_length)
        blocks = np.zeros((plan.num_blocks, plan.block_size, plan.window_length), np.float32)
        block, row_in_block = np.divmod(np.arange(taps.num_out)[:, None], plan.block_size)
        np.add.at(blocks, (block, row_in_block, taps.indices - block * plan.window_step), taps.weights)
        self._blocks = torch.from_numpy(blocks).to(device)
        self._window_step = plan.window_step
        self._num_out = taps.num_out

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Contiguous float32 (num_in, N) -> contiguous float32 (num_out, N); one kernel."""
        width = rows.shape[1]
        windows = rows.as_strided(
            (self._blocks.shape[0], self._blocks.shape[2], width),
            (self._window_step * width, width, 1),
        )
        return torch.bmm(self._blocks, windows).view(-1, width)[: self._num_out]


class ColumnResize:
    """Resizes the columns of pictures on one device: one dense product. It is small, because rows are resized first."""

    def __init__(self, taps: AxisTaps, device: torch.device) -> None:
        matrix = np.zeros((taps.num_in, taps.num_out), np.float32)
        np.add.at(matrix, (taps.indices, np.arange(taps.num_out)[:, None]), taps.weights)
        self._matrix = torch.from_numpy(matrix).to(device)

    def __call__(self, pictures: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """float32 (C, H, num_in), rows contiguous -> `out`, float32 (C, H, num_out); one kernel."""
        return torch.bmm(pictures, self._matrix.expand(pictures.shape[0], -1, -1), out=out)


@dataclass(frozen=True, kw_only=True)
class _BlockPlan:
    """Block g consists of `block_size` output rows and reads source rows from g * `window_step` on."""

    num_blocks: int
    block_size: int
    window_step: int
    window_length: int


def _plan_blocks(taps: AxisTaps, block_size: int) -> _BlockPlan:
    """Plan with the largest step: windows start before their block's rows, and the last ends inside the source."""
    starts = np.arange(0, taps.num_out, block_size)
    lowest = taps.indices[starts, 0]
    highest = taps.indices[np.minimum(starts + block_size, taps.num_out) - 1, -1]
    before = np.arange(len(starts))
    after = before[::-1]
    step = 0
    if len(starts) > 1:
        # All windows are as long as the longest. The windows after that one still need room for their steps.
        by_start = lowest[1:] // before[1:]
        by_end = (taps.num_in - 1 - highest[:-1]) // after[:-1]
        step = int(min(by_start.min(), by_end.min()))
    return _BlockPlan(
        num_blocks=len(starts),
        block_size=block_size,
        window_step=step,
        window_length=int(np.max(highest + 1 - before * step)),
    )
