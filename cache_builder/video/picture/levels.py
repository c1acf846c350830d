"""Decoded gray frame -> upright 16-bit levels of the stored size, without swscale: every level is the decoder's own.

A level is a measured number, such as a distance, and not a brightness. So limited and full range do not matter, nothing
is scaled to 16 bits (gray12 gives 0 to 4095), and a smaller frame takes the nearest pixel of the larger one: a mean of
two distances at the edge of an object would be a distance where nothing is.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry, Presentation, place_frame, with_aspect
from frame_store.names import PixelName

Levels: TypeAlias = NDArray[np.uint8 | np.uint16]

_GRAY: Final = re.compile(r"gray(?:(?:9|10|12|14|16)(le|be))?")
_SAMPLE: Final[dict[str | None, np.dtype[np.uint8 | np.uint16]]] = {
    None: np.dtype("u1"),
    "le": np.dtype("<u2"),
    "be": np.dtype(">u2"),
}

_Place: TypeAlias = tuple[int, int, Presentation]


def why_no_levels(pixel_format: str) -> str | None:
    """Why frames of FFmpeg's pixel format are not stored as `gray16`; None if they are.

    >>> why_no_levels("gray12le"), why_no_levels("yuv420p")[:28]
    (None, 'its pixel format is yuv420p,')
    """
    if _GRAY.fullmatch(pixel_format):
        return None
    return (
        f"its pixel format is {pixel_format}, and pixel 'gray16' stores gray of 8 to 16 bits alone, such as gray16le "
        "or gray12le; pixel 'rgb8' stores colours"
    )


def levels_of(frame: av.VideoFrame) -> Levels:
    """The levels of a gray frame in memory, as they are: a view (H, W) of its plane, in the frame's byte order.

    Raises:
        ValueError: the frame has another pixel format.
    """
    problem = why_no_levels(frame.format.name)
    if problem is not None:
        raise ValueError(problem)
    match = _GRAY.fullmatch(frame.format.name)
    assert match is not None  # `why_no_levels` found none
    dtype = _SAMPLE[match[1]]
    (plane,) = frame.planes
    line_bytes = abs(plane.line_size)
    rows = np.frombuffer(memoryview(plane), np.uint8)[: line_bytes * frame.height].reshape(-1, line_bytes)
    # After the pixels of a row come undefined bytes of the decoder.
    levels: Levels = rows[:, : frame.width * dtype.itemsize].view(dtype)
    return levels if plane.line_size > 0 else levels[::-1]  # a negative size: rows from bottom to top


class LevelConverter:
    """`FrameConverter` for `gray16`: converts the frames of one video, one thread at a time.

    Args:
        geometry: What the stored frames look like.
        presentation: How the video's frames are to be shown.
    """

    def __init__(self, geometry: FrameGeometry, presentation: Presentation) -> None:
        self._geometry = geometry
        self._presentation = presentation
        self._prepared_for: _Place | None = None
        self._cut: Callable[[Levels], Levels]
        self._paste: tuple[int, int]

    def convert(
        self,
        frame: av.VideoFrame,
        out: NDArray[np.uint16] | None = None,
        *,
        sample_aspect_ratio: Fraction | None = None,
    ) -> NDArray[np.uint16]:
        """Convert one decoded frame.

        Args:
            frame: A gray frame in memory, of 8 to 16 bits in any byte order.
            out: C-contiguous uint16 (height, width, 1) to write into; None makes a new array.
            sample_aspect_ratio: The frame's own, where it is not the presentation's.

        Returns:
            `out`, or a new C-contiguous uint16 array (height, width, 1), upright; 0 beside the picture.

        Raises:
            ValueError: `out` has another shape, dtype or order, the frame is not gray, or the container's crop leaves
                nothing of the frame.
        """
        shape = (self._geometry.height, self._geometry.width, 1)
        if out is None:
            out = np.empty(shape, np.uint16)
        elif out.shape != shape or out.dtype != np.uint16 or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous uint16 {shape}, not {out.dtype} {out.shape}")
        levels = levels_of(frame)
        place = (frame.width, frame.height, with_aspect(self._presentation, sample_aspect_ratio))
        if place != self._prepared_for:
            self._prepare(*place)
        upright = self._cut(levels)
        height, width = upright.shape
        if (height, width) != shape[:2]:
            out[:] = 0
        top, left = self._paste
        out[top : top + height, left : left + width, 0] = upright
        return out

    def _prepare(self, width: int, height: int, presentation: Presentation) -> None:
        """Plan for frames of one size and presentation."""
        placed = place_frame(
            self._geometry, coded_width=width, coded_height=height, presentation=presentation
        )
        kept = (
            slice(placed.crop_top, placed.crop_top + placed.crop_height),
            slice(placed.crop_left, placed.crop_left + placed.crop_width),
        )
        orientation = placed.orientation
        # Rows and columns are chosen in the upright picture, so that a turned video gives what an upright one gives.
        sizes = [(placed.crop_height, placed.scaled_height), (placed.crop_width, placed.scaled_width)]
        rows, columns = reversed(sizes) if orientation.lies_on_its_side else sizes
        chosen = (
            None
            if rows[0] == rows[1] and columns[0] == columns[1]
            else np.ix_(nearest(*rows), nearest(*columns))
        )

        def cut(levels: Levels) -> Levels:
            upright = orientation.set_upright(levels[kept])
            return upright if chosen is None else upright[chosen]

        self._cut, self._paste = cut, (placed.paste_top, placed.paste_left)
        self._prepared_for = (width, height, presentation)


def converter_of(
    pixel: PixelName, geometry: FrameGeometry, presentation: Presentation
) -> FrameConverter | LevelConverter:
    """What converts the frames of a video, one thread at a time, to frames of this kind of pixel."""
    return (FrameConverter if pixel == "rgb8" else LevelConverter)(geometry, presentation)


def nearest(num_source: int, num_shown: int) -> NDArray[np.int64]:
    """For each of `num_shown` pixels in a row, the source pixel whose centre is nearest to its own: shape (num_shown,).

    Where two are as near, it is the later one.

    >>> nearest(8, 4).tolist(), nearest(3, 6).tolist(), nearest(3, 3).tolist()
    ([1, 3, 5, 7], [0, 0, 1, 1, 2, 2], [0, 1, 2])
    """
    places: NDArray[np.int64] = (2 * np.arange(num_shown) + 1) * num_source // (2 * num_shown)
    return places
