"""Coordinates of frames along the axes by which the frames of a sample differ most."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.content_order.bisection import COORDINATE_BITS
from frame_store.content_order.thumbnails import Thumbnails
from frame_store.content_order.whole_axes import Reals, as_whole, leading_axes

MAX_SAMPLE: Final = 16_384
"""Frames that find the axes. Sums of squares of their 16-bit levels stay below 2^53."""

NUM_AXES: Final = 12
"""Of the clips that this was chosen by, 4 axes leave 0.075 of the variance of a batch of 128, 8 axes 0.068, 12 axes
0.067 and 24 axes 0.067 (`python -m tests.campaigns.bench_content_order CACHE`)."""

_AXIS_BITS: Final = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentAxes:
    """Where thumbnails lie along some axes. `axes_of_sample` makes it."""

    centre: npt.NDArray[np.int64]
    """Shape (D,)."""
    axes: Reals
    """Whole numbers of up to 12 bits, shape (D, P): the axes are columns, the widest first."""
    unit: int
    """What a step of the coordinates is worth: the sample fits into their range."""

    @property
    def num_axes(self) -> int:
        """P."""
        return int(self.axes.shape[1])

    def of(self, thumbnails: Thumbnails) -> npt.NDArray[np.int16]:
        """Coordinates in [-2^11, 2^11), shape (B, P). What lies farther out is put at the edge."""
        exact = _along(thumbnails, self.centre, self.axes)
        edge = 1 << COORDINATE_BITS
        return (exact // self.unit).clip(-edge, edge - 1).astype(np.int16)


def axes_of_sample(thumbnails: Thumbnails) -> ContentAxes:
    """The axes along which the thumbnails of at most 16,384 frames vary most, 12 or as many as a thumbnail has numbers.

    They are the principal components, found in whole numbers (`whole_axes`), so that they are the same everywhere.

    Args:
        thumbnails: shape (n, D), n from 1 to 16,384.
    """
    assert 0 < len(thumbnails) <= MAX_SAMPLE
    centre = thumbnails.sum(axis=0, dtype=np.int64) // len(thumbnails)
    centred = (thumbnails - centre).astype(np.float64)
    found = leading_axes(as_whole(centred.T @ centred), min(NUM_AXES, thumbnails.shape[1]))
    # Of one length each: a step is the same distance along every axis.
    lengths = np.sqrt((found * found).sum(axis=0))
    axes = np.rint(found / np.maximum(lengths, 1.0) * float(1 << _AXIS_BITS))
    farthest = int(np.abs(_along(thumbnails, centre, axes)).max())
    return ContentAxes(centre=centre, axes=axes, unit=farthest // ((1 << COORDINATE_BITS) - 1) + 1)


def _along(thumbnails: Thumbnails, centre: npt.NDArray[np.int64], axes: Reals) -> npt.NDArray[np.int64]:
    """Exact products: 17 and 12 bits, summed over at most 256 numbers."""
    return as_whole((thumbnails - centre).astype(np.float64) @ axes)
