"""Which part of a coded frame is kept, how large it becomes and where it lies in the stored frame: pure arithmetic.

A coded frame may lie on its side, its pixels may not be square, and the container may cut off its margins. This module
decides everything for the frame as a viewer sees it (upright, square pixels) and gives the result in coded pixels. So
the converter can crop and scale first, and turn the small result.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal, get_args

import msgspec

from cache_builder.video.picture.orientation import AS_STORED, Orientation

Resize = Literal["crop", "stretch", "pad"]

NATIVE: Final = 0
"""Height and width that stand for the size of the video itself, until this is known; see `native_geometry`."""

MIN_SIZE = 8
MAX_SIZE = 8192
MAX_ASPECT_TERM = 10_000


class FrameGeometry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every stored frame looks like, for all videos.

    Attributes:
        height: Rows of the stored frame, 8 to 8192, or `NATIVE`.
        width: Columns of the stored frame, 8 to 8192; `NATIVE` where the height is.
        resize: `crop` cuts the centre with the output's aspect, then scales; `stretch` scales the whole frame,
            whatever its aspect; `pad` fits the whole frame inside and leaves black bars.
        crop_aspect: Display aspect (width, height), such as `(4, 3)`. Its centre is cut out before `resize` applies;
            None keeps the whole frame.

    Raises:
        ValueError: a value is outside its range; names both.
    """

    height: int = 224
    width: int = 224
    resize: Resize = "crop"
    crop_aspect: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if not self.is_native and not MIN_SIZE <= value <= MAX_SIZE:
                raise ValueError(f"size: {name} must be {MIN_SIZE} to {MAX_SIZE} pixels, not {value}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be one of {', '.join(get_args(Resize))}, not {self.resize!r}")
        if self.crop_aspect is not None and not all(0 < term <= MAX_ASPECT_TERM for term in self.crop_aspect):
            raise ValueError(
                f"crop_aspect must be two numbers from 1 to {MAX_ASPECT_TERM}, "
                f"not {':'.join(map(str, self.crop_aspect))}"
            )

    @property
    def is_native(self) -> bool:
        """Whether it stands for the size of the video itself. `native_geometry` gives a geometry to convert with."""
        return self.height == self.width == NATIVE


@dataclass(frozen=True, kw_only=True)
class ContainerCrop:
    """Coded pixels that the container cuts off each side of a decoded frame, before it is turned."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def __str__(self) -> str:
        """Such as `16 rows at the top and 16 at the bottom`."""
        sides = {"columns at the left": self.left, "columns at the right": self.right}
        sides |= {"rows at the top": self.top, "rows at the bottom": self.bottom}
        return ", ".join(f"{number} {side}" for side, number in sides.items() if number) or "nothing"


WHOLE_PICTURE: Final = ContainerCrop()
"""The crop of a container that cuts off nothing."""


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """How a video's frames are to be shown, in this order: cut, turned, and widened to square pixels.

    Attributes:
        crop: What the container cuts off.
        orientation: The mirror and turn that set the frames upright.
        sample_aspect_ratio: Width over height of one coded pixel; None or 0 means unknown and counts as 1.
    """

    crop: ContainerCrop = WHOLE_PICTURE
    orientation: Orientation = AS_STORED
    sample_aspect_ratio: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class FramePlacement:
    """How one size of coded frame becomes one stored frame: crop, scale, turn, paste.

    Attributes:
        crop_left: First column kept, in coded pixels.
        crop_top: First row kept, in coded pixels.
        crop_width: Columns kept, in coded pixels.
        crop_height: Rows kept, in coded pixels.
        scaled_width: Columns of the kept part after scaling, not yet turned.
        scaled_height: Rows of the kept part after scaling, not yet turned.
        orientation: The mirror and turn that set it upright.
        paste_left: Column of the stored frame where the upright part begins; the rest is black.
        paste_top: Row of the stored frame where the upright part begins.
    """

    crop_left: int
    crop_top: int
    crop_width: int
    crop_height: int
    scaled_width: int
    scaled_height: int
    orientation: Orientation
    paste_left: int
    paste_top: int


def place_frame(
    geometry: FrameGeometry,
    *,
    coded_width: int,
    coded_height: int,
    presentation: Presentation,
    pattern: tuple[int, int] = (1, 1),
) -> FramePlacement:
    """Work out crop, scale, turn and paste for one size of coded frame.

    Args:
        geometry: What the stored frame looks like.
        coded_width: Columns of the decoded frame, at least 1.
        coded_height: Rows of the decoded frame, at least 1.
        presentation: How the frame is to be shown.
        pattern: Columns and rows after which the meaning of samples repeats, such as (2, 2) for 4:2:0 chroma. The part
            that the container leaves begins at a multiple of the pattern and consists of whole patterns, as in FFmpeg.

    Raises:
        ValueError: the coded frame is empty, or the container's crop leaves nothing of it.
    """
    if coded_width < 1 or coded_height < 1:
        raise ValueError(f"coded frame must be at least 1x1, not {coded_width}x{coded_height}")
    crop = presentation.crop
    first_column, shown_columns = _cut(coded_width, crop.left, crop.right, pattern[0])
    first_row, shown_rows = _cut(coded_height, crop.top, crop.bottom, pattern[1])
    if shown_columns < 1 or shown_rows < 1:
        raise ValueError(
            f"its container cuts {crop} off frames of {coded_width}x{coded_height}: nothing is left"
        )
    orientation = presentation.orientation
    on_its_side = orientation.lies_on_its_side
    pixel_aspect = presentation.sample_aspect_ratio or Fraction(1)
    width, height = shown_columns, shown_rows
    if on_its_side:
        pixel_aspect, width, height = 1 / pixel_aspect, height, width

    # The sizes below are of the upright picture: one pixel is `pixel_aspect` wide for 1 high.
    left, top, kept_width, kept_height = 0, 0, width, height
    cuts = [Fraction(*geometry.crop_aspect)] if geometry.crop_aspect else []
    if geometry.resize == "crop":
        cuts.append(Fraction(geometry.width, geometry.height))
    for aspect in cuts:
        cut_width, cut_height = _largest_of_aspect(kept_width, kept_height, aspect / pixel_aspect)
        left += (kept_width - cut_width) // 2
        top += (kept_height - cut_height) // 2
        kept_width, kept_height = cut_width, cut_height

    scaled_width, scaled_height = geometry.width, geometry.height
    if geometry.resize == "pad":
        shown_aspect = kept_width * pixel_aspect / kept_height
        scaled_width, scaled_height = _largest_of_aspect(geometry.width, geometry.height, shown_aspect)

    crop_left, crop_top = _to_coded_corner(
        left=left,
        top=top,
        right=width - left - kept_width,
        bottom=height - top - kept_height,
        orientation=orientation,
    )
    return FramePlacement(
        crop_left=first_column + crop_left,
        crop_top=first_row + crop_top,
        crop_width=kept_height if on_its_side else kept_width,
        crop_height=kept_width if on_its_side else kept_height,
        scaled_width=scaled_height if on_its_side else scaled_width,
        scaled_height=scaled_width if on_its_side else scaled_height,
        orientation=orientation,
        paste_left=(geometry.width - scaled_width) // 2,
        paste_top=(geometry.height - scaled_height) // 2,
    )


def native_geometry(
    geometry: FrameGeometry,
    *,
    coded_width: int,
    coded_height: int,
    presentation: Presentation,
    pattern: tuple[int, int] = (1, 1),
) -> FrameGeometry:
    """The geometry that keeps the frames of a video as large as they are: cut, turned, and never scaled.

    Of `geometry`, only `crop_aspect` counts. Pixels that are not square stay so, since nothing is scaled.

    Raises:
        ValueError: as `place_frame`, or a size that is not 8 to 8192.
    """
    whole = msgspec.structs.replace(geometry, height=MIN_SIZE, width=MIN_SIZE, resize="stretch")
    placed = place_frame(
        whole,
        coded_width=coded_width,
        coded_height=coded_height,
        presentation=presentation,
        pattern=pattern,
    )
    height, width = placed.crop_height, placed.crop_width
    if placed.orientation.lies_on_its_side:
        height, width = width, height
    return msgspec.structs.replace(whole, height=height, width=width)


def with_aspect(presentation: Presentation, sample_aspect_ratio: Fraction | None) -> Presentation:
    """The same presentation for a frame with its own shape of pixels; None means the shape in `presentation`."""
    if sample_aspect_ratio is None or sample_aspect_ratio == presentation.sample_aspect_ratio:
        return presentation
    return replace(presentation, sample_aspect_ratio=sample_aspect_ratio)


def parse_size(text: str) -> tuple[int, int]:
    """Read `224` (a square) or `HxW` as (height, width).

    Raises:
        ValueError: the text has neither form. `FrameGeometry` checks the range.

    >>> parse_size("224"), parse_size("240x320")
    ((224, 224), (240, 320))
    """
    match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text, flags=re.ASCII)
    if match is None:
        raise ValueError(
            f"size must be one number of pixels or HEIGHTxWIDTH, such as 224 or 240x320, not {text!r}"
        )
    return int(match[1]), int(match[2] or match[1])


def parse_aspect(text: str) -> tuple[int, int]:
    """Read `W:H` as (width, height) of a display aspect.

    Raises:
        ValueError: the text does not have this form. `FrameGeometry` checks the range.

    >>> parse_aspect("4:3")
    (4, 3)
    """
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, flags=re.ASCII)
    if match is None:
        raise ValueError(f"crop_aspect must be WIDTH:HEIGHT, such as 4:3, not {text!r}")
    return int(match[1]), int(match[2])


def _largest_of_aspect(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Largest (width, height) of an aspect inside another, at least one pixel each way.

    Rounded like the fallback crop of torchvision's RandomResizedCrop, so that `crop_aspect` 4:3 is that crop.
    """
    if Fraction(width, height) > aspect:
        return max(1, round(height * aspect)), height
    return width, max(1, round(width / aspect))


def _cut(size: int, before: int, after: int, period: int) -> tuple[int, int]:
    """(First sample, number of samples) that a container leaves of a row or column; in whole patterns where it cuts."""
    if not before and not after:
        return 0, size
    left = size - before - after
    return before - before % period, left - left % period


def _to_coded_corner(
    *, left: int, top: int, right: int, bottom: int, orientation: Orientation
) -> tuple[int, int]:
    """Coded (left, top) of a rectangle, given its upright distances from the four edges of the frame."""
    edges = [left, top, right, bottom]
    # A turn moves the left edge to the bottom, the bottom edge to the right...
    turned_left, turned_top, turned_right, _ = [
        edges[(edge - orientation.num_quarter_turns) % 4] for edge in range(4)
    ]
    return turned_right if orientation.is_mirrored else turned_left, turned_top
