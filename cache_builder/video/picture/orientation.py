"""How a picture lies, by its display matrix: one of the eight ways to turn and mirror a rectangle.

The matrix (ISO/IEC 14496-12, section 6.2.2) maps a point of the coded picture (rows run downwards) to the display:

    x' = a x + c y + tx,  y' = b x + d y + ty      stored as (a, b, u, c, d, v, tx, ty, w)

Containers may have one, and so may SEI messages of H.264 and HEVC and the Exif of a JPEG picture. FFmpeg gives all of
them as side data of frames. `av.VideoFrame.rotation` is a whole number of degrees: it has no mirror, cuts 89.997 to 89,
and makes -2147483648 of a matrix of zeros.
"""

import math
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, cast

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type

DisplayMatrix: TypeAlias = tuple[int, ...]
"""The nine numbers of the matrix, in order: 16.16 fixed point, the third of each row 2.30."""

MAX_DEGREES_OFF: Final = 1.0
"""A picture that is turned by less is not turned, as in the command ffmpeg."""

_MIN_DETERMINANT: Final = math.sin(math.radians(MAX_DEGREES_OFF))
"""Of a matrix whose columns have length 1. With a smaller determinant both axes of a picture fall onto one line."""

_SIDE_DATA_END: Final = 64
"""FFmpeg's kinds of frame side data have smaller numbers."""


Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """The operations that set a coded picture upright: first the mirror, then the turn.

    Attributes:
        is_mirrored: Whether left and right are exchanged.
        num_quarter_turns: Counter-clockwise quarter turns, 0 to 3 (`numpy.rot90`'s k).

    Raises:
        ValueError: another number of turns.
    """

    is_mirrored: bool = False
    num_quarter_turns: int = 0

    def __post_init__(self) -> None:
        if self.num_quarter_turns not in range(4):
            raise ValueError(f"num_quarter_turns must be 0 to 3, not {self.num_quarter_turns}")

    @property
    def lies_on_its_side(self) -> bool:
        """Whether rows of the coded picture are columns of the upright one."""
        return self.num_quarter_turns % 2 == 1

    def set_upright(self, picture: npt.NDArray[Pixel]) -> npt.NDArray[Pixel]:
        """A view (H, W, ...) or (W, H, ...) of a coded picture (H, W, ...)."""
        return np.rot90(picture[:, ::-1] if self.is_mirrored else picture, self.num_quarter_turns)

    def __str__(self) -> str:
        """Such as `mirrored, turned by 90 degrees` (counter-clockwise) or `as stored`."""
        mirrored = ["mirrored"] if self.is_mirrored else []
        turned = [f"turned by {90 * self.num_quarter_turns} degrees"] if self.num_quarter_turns else []
        return ", ".join([*mirrored, *turned]) or "as stored"


AS_STORED: Final = Orientation()
"""The orientation of a picture that is coded upright."""


def find_orientation(matrix: DisplayMatrix) -> Orientation | None:
    """The orientation of a display matrix, whatever its scale; None where the matrix shows no picture at all.

    Such a matrix has only zeros, as some muxers write, or flattens the picture to a line.

    Raises:
        ValueError: the matrix turns the picture by other than quarter turns, or shears it; names the angle.
    """
    a, b, _, c, d = matrix[:5]
    column_lengths = math.hypot(a, c), math.hypot(b, d)
    if not all(column_lengths):
        return None
    # Directions of the coded picture's two axes, without their lengths: right, and down.
    right = a / column_lengths[0], b / column_lengths[1]
    down = c / column_lengths[0], d / column_lengths[1]
    determinant = right[0] * down[1] - right[1] * down[0]
    if abs(determinant) < _MIN_DETERMINANT:
        return None
    is_mirrored = determinant < 0
    if is_mirrored:
        right = -right[0], -right[1]
    # On a display, whose rows run downwards, this is clockwise.
    degrees_of_right = math.degrees(math.atan2(right[1], right[0]))
    degrees_of_down = math.degrees(math.atan2(-down[0], down[1]))
    num_clockwise = round(degrees_of_right / 90)
    if any(
        abs(_wrapped(degrees - 90 * num_clockwise)) >= MAX_DEGREES_OFF
        for degrees in (degrees_of_right, degrees_of_down)
    ):
        counter_clockwise = _wrapped(-degrees_of_right)
        is_sheared = abs(_wrapped(degrees_of_right - degrees_of_down)) >= MAX_DEGREES_OFF
        sheared = " and sheared" if is_sheared else ""
        raise ValueError(f"turned by {counter_clockwise:.1f} degrees{sheared}, not by a multiple of 90")
    return Orientation(is_mirrored=is_mirrored, num_quarter_turns=-num_clockwise % 4)


def read_display_matrix(frame: av.VideoFrame) -> DisplayMatrix | None:
    """The display matrix of a decoded frame, None where it has none."""
    try:
        matrix = _display_matrix_bytes(frame)
    except ValueError:
        # PyAV 18 gives no side data of a frame that has a kind without a name in PyAV (views of stereo HEVC, Exif).
        if frame.format.name == "cuda":
            return None  # no filter accepts such a frame
        matrix = _display_matrix_bytes(_without_unnamed_side_data(frame))
    return struct.unpack("=9i", matrix) if len(matrix) == 36 else None


def describe_matrix(matrix: DisplayMatrix | None) -> str:
    """How a display matrix shows a picture, in words. None, and a matrix that shows no picture, mean as stored."""
    try:
        orientation = None if matrix is None else find_orientation(matrix)
    except ValueError as error:
        return str(error)
    return str(orientation or AS_STORED)


def _display_matrix_bytes(frame: av.VideoFrame) -> bytes:
    # `frame.side_data` would stay with the frame. The two then form a cycle, which keeps the pixels in memory until the
    # garbage collector runs.
    side_data = cast(Any, SideDataContainer)(frame).get(Type.DISPLAYMATRIX)
    return b"" if side_data is None else bytes(side_data)


def _wrapped(degrees: float) -> float:
    """The same angle in [-180, 180)."""
    return (degrees + 180) % 360 - 180


def _without_unnamed_side_data(frame: av.VideoFrame) -> av.VideoFrame:
    graph = Graph()
    graph.threads = 1
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        *(graph.add("sidedata", f"mode=delete:type={number}") for number in _numbers_without_name()),
        graph.add("buffersink"),
    ).configure()
    graph.vpush(frame)
    return graph.vpull()


@cache
def _numbers_without_name() -> tuple[int, ...]:
    """Numbers of FFmpeg's AVFrameSideDataType for which PyAV has no name."""
    return tuple(sorted(set(range(_SIDE_DATA_END)) - {named.value for named in Type}))
