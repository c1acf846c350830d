"""Decoded frame -> upright RGB of the stored size, by swscale.

Colour: matrix and range are those that the frame's tags name (unspecified means BT.601, limited), and chroma is sited
as the frame states. With the flags below, 8-bit and limited-range frames agree with the float formulas to 0.52 levels
at full size, which is rounding. PyAV's default flags darken a resized limited-range frame by 1.5 levels. swscale itself
is less exact in three cases. Full-range frames of more than 8 bits come out 0.3 too bright on average (1.5 at most).
The chroma of an odd width or height is stretched, by one source pixel at the far edge. A sum of 512 or more wraps to
black, which needs Y and chroma both above legal limited range.

Planes: where rows are made fewer, swscale makes planes of R, G and B, and then packs them. It has vector code for
planes and none for packed pixels, so a 1080p frame takes 1.03 ms in place of 1.73, and one of 640x480 0.31 in place of
0.71 (one core of an AMD EPYC, medians of five rounds). The bytes are the same. Where rows are as many or more, it mixes
two of them with fewer bits for packed pixels, and the bytes would differ by one level in places.

Cropping: libavfilter's `crop` moves pointers and copies nothing, and keeps chroma siting, matrix and range; swscale
then reads only the kept part. Ways to cut the centre 4:3 of 1080p H.264 and squeeze it to 224x224, medians of five
rounds on one core, all into packed pixels: this one 0.91 ms; crop and scale inside one filter graph 0.94, without
control of matrix and range; scale the whole frame and crop the small image 1.37, and the crop then falls between output
pixels (1920 columns become 298.67); copy the kept planes first 0.97, and the copy loses chroma siting. Scaling the
whole frame without a crop takes 0.98.
"""

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from cache_builder.video.picture.colour import find_colour_matrix
from cache_builder.video.picture.geometry import (
    FrameGeometry,
    FramePlacement,
    Presentation,
    place_frame,
    with_aspect,
)

ACCURATE_FLAGS = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)

# FFmpeg reads these formats wrongly. They are first converted, without loss, to a format that it reads rightly.
_TAKEN_INSTEAD = {
    # libavfilter's crop cannot point into these; it would convert them, with a matrix of its own choice.
    "yuyv422": "yuv422p",
    "yvyu422": "yuv422p",
    "uyvy422": "yuv422p",
    "uyyvyy411": "yuv411p",
    "y210le": "yuv422p10le",
    "y212le": "yuv422p12le",
    # swscale swaps their bytes where it need not scale, and the result is noise.
    "rgb555be": "rgb555le",
    "bgr555be": "bgr555le",
    "rgb565be": "rgb565le",
    "bgr565be": "bgr565le",
}

_SCALED_AS_PLANES = frozenset(
    {
        *("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "yuva420p"),
        *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "p010le"),
    }
)
"""Formats of which planes and packed pixels are known to have the same bytes."""
_MOST_ROWS_OF_PLANES = Fraction(9, 10)
"""Of the rows of the source. With more, a row may be made of only two."""

# swscale takes every gray format for full range, whatever the frame states. This table expands limited range, on 8
# bits.
_LIMITED_TO_FULL = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


class FrameConverter:
    """Converts the frames of one video, one thread at a time.

    Frames may change size, pixel format and shape of pixels within the video; the stored size is always the same.

    Args:
        geometry: What the stored frames look like.
        presentation: How the video's frames are to be shown.
    """

    def __init__(self, geometry: FrameGeometry, presentation: Presentation) -> None:
        self._geometry = geometry
        self._presentation = presentation
        self._reformatter, self._packer = VideoReformatter(), VideoReformatter()
        self._source: tuple[int, int, str, Presentation] | None = None
        self._placement: FramePlacement
        self._scales_as_planes: bool
        self._crop_graph: Graph

    def convert(
        self,
        frame: av.VideoFrame,
        out: NDArray[np.uint8] | None = None,
        *,
        sample_aspect_ratio: Fraction | None = None,
    ) -> NDArray[np.uint8]:
        """Convert one decoded frame; the same frame gives the same bytes in any thread and process.

        Args:
            frame: A frame in memory, of any pixel format swscale reads.
            out: C-contiguous uint8 (height, width, 3) to write into; None makes a new array.
            sample_aspect_ratio: The frame's own, where it is not the presentation's.

        Returns:
            `out`, or a new C-contiguous uint8 array (height, width, 3), RGB, upright.

        Raises:
            ValueError: `out` has another shape, dtype or order, swscale cannot convert the frame's colour matrix, or
                the container's crop leaves nothing of the frame.
            av.FFmpegError: FFmpeg cannot convert the frame.
        """
        shape = (self._geometry.height, self._geometry.width, 3)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous uint8 {shape}, not {out.dtype} {out.shape}")
        colorspace = find_colour_matrix(int(frame.colorspace)).swscale_table
        is_full_range = frame.color_range == ColorRange.JPEG
        is_limited_gray = frame.color_range == ColorRange.MPEG and frame.format.name.startswith(
            ("gray", "ya")
        )
        if format_taken_instead := _TAKEN_INSTEAD.get(frame.format.name):
            frame = self._reformatter.reformat(
                frame,
                format=format_taken_instead,
                src_colorspace=colorspace,
                dst_colorspace=colorspace,
                interpolation=ACCURATE_FLAGS,
                threads=1,
            )

        presentation = with_aspect(self._presentation, sample_aspect_ratio)
        source = (frame.width, frame.height, frame.format.name, presentation)
        if source != self._source:
            self._prepare(*source)
        placement = self._placement
        self._crop_graph.vpush(frame)
        small = self._reformatter.reformat(
            self._crop_graph.vpull(),
            width=placement.scaled_width,
            height=placement.scaled_height,
            format="gbrp" if self._scales_as_planes else "rgb24",
            src_colorspace=colorspace,
            src_color_range=ColorRange.JPEG if is_full_range else ColorRange.MPEG,
            interpolation=ACCURATE_FLAGS,
            threads=1,
        )
        if self._scales_as_planes:
            small = self._packer.reformat(small, format="rgb24", threads=1)
        upright = placement.orientation.set_upright(_view_rgb(small))
        if is_limited_gray:
            upright = _LIMITED_TO_FULL[upright]
        height, width, _ = upright.shape
        if (height, width) != shape[:2]:
            out[:] = 0
        out[placement.paste_top :, placement.paste_left :][:height, :width] = upright
        return out

    def _prepare(self, width: int, height: int, format_name: str, presentation: Presentation) -> None:
        """Plan for frames of one size, format and presentation."""
        pattern = pattern_of(format_name)
        self._placement = placement = place_frame(
            self._geometry,
            coded_width=width,
            coded_height=height,
            presentation=presentation,
            pattern=pattern,
        )
        self._scales_as_planes = (
            format_name in _SCALED_AS_PLANES
            and placement.scaled_height <= _MOST_ROWS_OF_PLANES * placement.crop_height
        )
        self._crop_graph = _build_crop_graph(width, height, format_name, placement, pattern)
        self._source = (width, height, format_name, presentation)


def pattern_of(format_name: str) -> tuple[int, int]:
    """Columns and rows after which the meaning of samples repeats, by chroma subsampling or a colour mosaic."""
    pixel_format = av.VideoFormat(format_name)
    if pixel_format.is_bayer:
        return (2, 2)
    return 8 // pixel_format.chroma_width(8), 8 // pixel_format.chroma_height(8)


def _build_crop_graph(
    width: int, height: int, format_name: str, placement: FramePlacement, pattern: tuple[int, int]
) -> Graph:
    # A crop cannot begin inside a pattern: with 4:2:0 an odd offset moves back to the even one before it, at most one
    # source pixel off centre. The size stays as planned.
    pixel_format = av.VideoFormat(format_name, width, height)
    left = placement.crop_left - placement.crop_left % pattern[0]
    top = placement.crop_top - placement.crop_top % pattern[1]
    graph = Graph()
    graph.threads = 1
    graph.link_nodes(
        graph.add_buffer(width=width, height=height, format=pixel_format, time_base=Fraction(1, 1000)),
        # swscale would scale the two fields of an interlaced frame separately: combs at 224 rows.
        graph.add("setfield", "mode=prog"),
        graph.add("crop", f"w={placement.crop_width}:h={placement.crop_height}:x={left}:y={top}:exact=1"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _view_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """View the pixels (H, W, 3) of an rgb24 frame, whose rows are padded."""
    (plane,) = frame.planes
    rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.line_size * frame.height].reshape(
        frame.height, plane.line_size
    )
    return rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
