"""Which part of a coded frame is kept, how large it becomes and where it lands: pure arithmetic.

A frame is coded lying as the encoder liked it, with pixels that need not be square. Everything here is
decided as a viewer sees the frame (upright, square pixels) and answered in coded pixels, so that the
converter can crop and scale before it turns the small result.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import msgspec

Resize = Literal["crop", "stretch", "pad"]

MIN_SIZE = 8
MAX_SIZE = 8192
MAX_ASPECT_TERM = 10_000


class FrameGeometry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every stored frame looks like, whatever the video.

    Attributes:
        height: Rows of the stored frame, 8 to 8192.
        width: Columns of the stored frame, 8 to 8192.
        resize: `crop` cuts the centre of the output's aspect, then scales; `stretch` scales all of it,
            aspect or not; `pad` fits all of it inside and leaves black bars.
        crop_aspect: Display aspect (width, height), such as `(4, 3)`, whose centre is cut out before
            `resize` applies to what is left; None keeps the whole frame.

    Raises:
        ValueError: On a value outside its range, naming both.
    """

    height: int = 224
    width: int = 224
    resize: Resize = "crop"
    crop_aspect: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if not MIN_SIZE <= value <= MAX_SIZE:
                raise ValueError(f"{name} must be {MIN_SIZE} to {MAX_SIZE} pixels, not {value}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be one of {', '.join(get_args(Resize))}, not {self.resize!r}")
        if self.crop_aspect is not None and not all(0 < term <= MAX_ASPECT_TERM for term in self.crop_aspect):
            raise ValueError(
                f"crop_aspect must be two numbers from 1 to {MAX_ASPECT_TERM}, "
                f"not {':'.join(map(str, self.crop_aspect))}"
            )


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
        num_quarter_turns: Counter-clockwise quarter turns that set it upright, 0 to 3 (`numpy.rot90`'s k).
        paste_left: Column of the stored frame where the upright part begins; the rest is black.
        paste_top: Row of the stored frame where the upright part begins.
    """

    crop_left: int
    crop_top: int
    crop_width: int
    crop_height: int
    scaled_width: int
    scaled_height: int
    num_quarter_turns: int
    paste_left: int
    paste_top: int


def count_quarter_turns(rotation_degrees: int) -> int:
    """Counter-clockwise quarter turns, 0 to 3, in a rotation such as `av.VideoFrame.rotation` gives (-90 is 3).

    Raises:
        ValueError: If the rotation is no multiple of 90 degrees.
    """
    if rotation_degrees % 90:
        raise ValueError(f"rotation must be a multiple of 90 degrees, not {rotation_degrees}")
    return rotation_degrees // 90 % 4


def place_frame(
    geometry: FrameGeometry,
    *,
    coded_width: int,
    coded_height: int,
    sample_aspect_ratio: Fraction | None,
    rotation_degrees: int,
) -> FramePlacement:
    """Work out crop, scale, turn and paste for one size of coded frame.

    Args:
        geometry: What the stored frame looks like.
        coded_width: Columns of the decoded frame, at least 1.
        coded_height: Rows of the decoded frame, at least 1.
        sample_aspect_ratio: Width over height of one coded pixel; None or 0 means unknown, taken as 1.
        rotation_degrees: Counter-clockwise turn that sets the frame upright, a multiple of 90.

    Raises:
        ValueError: If the coded frame is empty or the rotation is no multiple of 90 degrees.
    """
    if coded_width < 1 or coded_height < 1:
        raise ValueError(f"coded frame must be at least 1x1, not {coded_width}x{coded_height}")
    num_quarter_turns = count_quarter_turns(rotation_degrees)
    on_its_side = num_quarter_turns % 2 == 1
    pixel_aspect = sample_aspect_ratio or Fraction(1)
    width, height = coded_width, coded_height
    if on_its_side:
        pixel_aspect, width, height = 1 / pixel_aspect, height, width

    # Upright from here on: one pixel is `pixel_aspect` wide for 1 high.
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
        num_quarter_turns=num_quarter_turns,
    )
    return FramePlacement(
        crop_left=crop_left,
        crop_top=crop_top,
        crop_width=kept_height if on_its_side else kept_width,
        crop_height=kept_width if on_its_side else kept_height,
        scaled_width=scaled_height if on_its_side else scaled_width,
        scaled_height=scaled_width if on_its_side else scaled_height,
        num_quarter_turns=num_quarter_turns,
        paste_left=(geometry.width - scaled_width) // 2,
        paste_top=(geometry.height - scaled_height) // 2,
    )


def parse_size(text: str) -> tuple[int, int]:
    """Read `224` (a square) or `HxW` as (height, width).

    Raises:
        ValueError: If the text is neither; the range is `FrameGeometry`'s to check.

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
        ValueError: If the text is not of that form; the range is `FrameGeometry`'s to check.

    >>> parse_aspect("4:3")
    (4, 3)
    """
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, flags=re.ASCII)
    if match is None:
        raise ValueError(f"aspect must be WIDTH:HEIGHT, such as 4:3, not {text!r}")
    return int(match[1]), int(match[2])


def _largest_of_aspect(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Largest (width, height) of one aspect inside another, at least one pixel each way.

    Rounded as torchvision's RandomResizedCrop rounds its fallback crop, so that `crop_aspect` 4:3 is that crop.
    """
    if Fraction(width, height) > aspect:
        return max(1, round(height * aspect)), height
    return width, max(1, round(width / aspect))


def _to_coded_corner(
    *, left: int, top: int, right: int, bottom: int, num_quarter_turns: int
) -> tuple[int, int]:
    """Coded (left, top) of a rectangle, given its upright distances from the four edges of the frame."""
    return [(left, top), (bottom, left), (right, bottom), (top, right)][num_quarter_turns]
