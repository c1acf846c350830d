"""How the planes of a 4:2:0 frame are to be read: matrix, range, depth and siting of chroma."""

from dataclasses import dataclass
from enum import Enum

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from cache_builder.video.picture import ACCURATE_FLAGS, find_colour_matrix

_BIT_DEPTHS = (8, 10, 12, 16)


class ChromaLocation(Enum):
    """Where the chroma sample of 2 x 2 luma samples lies: its position across and down their common cell.

    0.25 is on the first luma sample, 0.5 between the two, 0.75 on the second.
    """

    LEFT = (0.25, 0.5)
    CENTER = (0.5, 0.5)
    TOP_LEFT = (0.25, 0.25)
    TOP = (0.5, 0.25)
    BOTTOM_LEFT = (0.25, 0.75)
    BOTTOM = (0.5, 0.75)

    @property
    def across(self) -> float:
        """Position across the cell."""
        return self.value[0]

    @property
    def down(self) -> float:
        """Position down the cell."""
        return self.value[1]


@dataclass(frozen=True, kw_only=True)
class YuvFormat:
    """What the samples of semi-planar 4:2:0 planes mean.

    Attributes:
        colour_matrix: MatrixCoefficients of ITU-T H.273, as `int(frame.colorspace)`; `find_colour_matrix` reads it.
        is_full_range: Whether black and white are 0 and 2^b - 1 rather than 16 and 235 times 2^(b-8).
        bit_depth: 8 for uint8 samples (NV12); 10, 12 or 16 for uint16 samples that have these bits as their high bits
            (P010, P012, P016).
        chroma_location: Siting of chroma; H.264 and HEVC mean `LEFT` unless they state another.

    Raises:
        ValueError: the matrix has no conversion, or the depth is another.
    """

    colour_matrix: int
    is_full_range: bool
    bit_depth: int = 8
    chroma_location: ChromaLocation = ChromaLocation.LEFT

    def __post_init__(self) -> None:
        find_colour_matrix(self.colour_matrix)
        if self.bit_depth not in _BIT_DEPTHS:
            raise ValueError(f"bit_depth must be 8, 10, 12 or 16, not {self.bit_depth}")


def read_yuv_format(frame: av.VideoFrame, *, bit_depth: int, chroma_location: ChromaLocation) -> YuvFormat:
    """How the planes of a frame are to be read: by the same tags that `FrameConverter` reads.

    Raises:
        ValueError: as `YuvFormat`.
    """
    return YuvFormat(
        colour_matrix=int(frame.colorspace),
        is_full_range=frame.color_range == ColorRange.JPEG,
        bit_depth=bit_depth,
        chroma_location=chroma_location,
    )


def find_chroma_location(frame: av.VideoFrame) -> ChromaLocation:
    """The siting of chroma that swscale assumes for a 4:2:0 frame; `CENTER` where the frame does not state it.

    PyAV has no `chroma_location`, but copies of the frame keep it. So a small copy is filled with chroma that rises
    along each axis, and converted to 4:4:4. The result shows the siting.

    Args:
        frame: A frame of any 4:2:0 format, in memory or on a GPU; it is not changed.
    """
    reformatter = VideoReformatter()
    # With the frame's own width PyAV would return the frame itself, and the ramps would be drawn on it.
    width, height = (32 if frame.width == 16 else 16), 16
    small = reformatter.reformat(frame, width=width, height=height, format="yuv420p", threads=1)
    for plane, rising_axis in zip(small.planes[1:], (1, 0), strict=True):
        samples = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]
        ramp = 64 + 8 * np.indices((plane.height, plane.width))[rising_axis]
        samples.reshape(plane.height, plane.line_size)[:, : plane.width] = ramp
    full = reformatter.reformat(small, format="yuv444p", interpolation=ACCURATE_FLAGS, threads=1).to_ndarray()
    # Luma sample 8 has its middle at 8.5 / 2 chroma cells; the ramp's value gives the chroma sample at that position.
    across, down = (8.5 / 2 - (float(plane[8, 8]) - 64) / 8 for plane in full[1:])
    return ChromaLocation((across, down))
