"""How a video's frames are to be shown: what the container and the pictures state about it together."""

from fractions import Fraction
from typing import Final, Protocol

import msgspec
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.picture.container_side_data import codec_tag_of, read_container_side_data, why_no_rgb
from cache_builder.video.picture.geometry import ContainerCrop, FrameGeometry, Presentation, place_frame
from cache_builder.video.picture.orientation import (
    AS_STORED,
    Orientation,
    find_orientation,
    read_display_matrix,
)

_SILENT_ABOUT_ASPECT: Final = frozenset(
    {"av1", "flv", "h264", "hevc", "ivf", "m4v", "mjpeg", "mpeg", "mpegts", "mpegvideo", "obu", "rm"}
)
"""Demuxers of containers that have no field for the shape of pixels. There each picture states its own."""


class PresentationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How the frames of a video are to be shown. The table of videos contains this with the other facts."""

    container_crop: tuple[int, int, int, int]
    """Columns at the left and the right, rows at the top and the bottom that the container cuts off a coded picture."""
    is_mirrored: bool
    """Whether left and right of the remaining picture are to be exchanged, before it is turned."""
    num_quarter_turns: int
    """Counter-clockwise quarter turns, 0 to 3."""
    is_display_matrix_degenerate: bool
    """Whether there is a display matrix that would show no picture at all. Such a matrix is ignored."""
    sample_aspect_ratio: tuple[int, int] | None
    """Width over height of a coded pixel; of the first frame where it may change; None where it is not stated."""
    is_aspect_of_frames: bool
    """Whether each frame's own shape of pixels counts, because the container states none."""

    @property
    def plain(self) -> Presentation:
        """The same for converters."""
        left, right, top, bottom = self.container_crop
        return Presentation(
            crop=ContainerCrop(left=left, right=right, top=top, bottom=bottom),
            orientation=Orientation(is_mirrored=self.is_mirrored, num_quarter_turns=self.num_quarter_turns),
            sample_aspect_ratio=Fraction(*self.sample_aspect_ratio) if self.sample_aspect_ratio else None,
        )

    def aspect_of_frame(self, own: tuple[int, int] | None) -> Fraction | None:
        """The aspect for a converter, for a frame with its `own` aspect; None means that of `plain`."""
        if not self.is_aspect_of_frames:
            return None
        return Fraction(*own) if own is not None else Fraction(1)


def read_presentation(
    container: InputContainer, stream: VideoStream, frame: VideoFrame, relative_path: str
) -> PresentationFacts:
    """How frames like `frame` are to be shown. The stream's own decoder has just given `frame`.

    Raises:
        VideoError: they cannot be shown: turned by other than quarter turns, cropped to nothing, or in colours that
            have no RGB.
    """
    side_data = read_container_side_data(container, stream)
    no_rgb = why_no_rgb(side_data.dolby_vision, codec_tag_of(stream))
    if no_rgb is not None:
        raise VideoError(relative_path, no_rgb)
    matrix = read_display_matrix(frame)
    try:
        orientation = AS_STORED if matrix is None else find_orientation(matrix)
    except ValueError as error:
        raise VideoError(relative_path, f"its display matrix: {error}") from error
    try:
        shown = Presentation(crop=side_data.crop, orientation=orientation or AS_STORED)
        place_frame(FrameGeometry(), coded_width=frame.width, coded_height=frame.height, presentation=shown)
    except ValueError as error:
        raise VideoError(relative_path, str(error)) from error
    own = positive_ratio(stream.codec_context.sample_aspect_ratio)
    # Where the container states none, FFmpeg takes that of a picture that it decodes while it opens the file, if any.
    in_container = positive_ratio(stream.sample_aspect_ratio) or own
    is_aspect_of_frames = in_container is None or not _SILENT_ABOUT_ASPECT.isdisjoint(
        container.format.name.split(",")
    )
    return PresentationFacts(
        container_crop=(side_data.crop.left, side_data.crop.right, side_data.crop.top, side_data.crop.bottom),
        is_mirrored=shown.orientation.is_mirrored,
        num_quarter_turns=shown.orientation.num_quarter_turns,
        is_display_matrix_degenerate=orientation is None,
        sample_aspect_ratio=own if is_aspect_of_frames else in_container,
        is_aspect_of_frames=is_aspect_of_frames,
    )


class _Ratio(Protocol):
    """A Fraction in PyAV 18, an AVRational in PyAV 19."""

    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def positive_ratio(value: _Ratio | None) -> tuple[int, int] | None:
    """(Numerator, denominator); None where the ratio is not positive, which means unknown."""
    if value is None or value.numerator <= 0 or value.denominator <= 0:
        return None
    return value.numerator, value.denominator
