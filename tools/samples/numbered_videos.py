"""Videos in which every frame shows its video number and its frame number, for demos and tests.

A frame is a moving, saturated texture with a square panel of 8x8 cells in its centre. Bright cells are
ones and dark cells are zeros: 16 bits of video number, 20 bits of frame number and a 24-bit checksum, with
orientation marks in the four corners. The panel lies inside the central square and inside the central 4:3
of every frame, so it survives each crop and resize of the cache. Bright and dark differ in luma, so the
panel survives 4:2:0, low quality, and mistakes of range and matrix. A panel that cannot be read with
certainty is refused.
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from frame_cache_tools.samples.scheduling import scheduling_kept

RGBFrame = npt.NDArray[np.uint8]

VIDEO_NUMBER_BITS: Final = 16
FRAME_NUMBER_BITS: Final = 20
CHECKSUM_BITS: Final = 24
_CELLS: Final = 8
# A rotation of the panel moves the only dark corner, and a mirrored panel fails the checksum.
_CORNERS: Final = {(0, 0): 1, (0, 7): 1, (7, 0): 1, (7, 7): 0}
_BRIGHT: Final = np.array([(255, 255, 255), (255, 255, 0), (128, 255, 255)], np.uint8)
_DARK: Final = np.array([(0, 0, 0), (0, 0, 176), (128, 0, 0)], np.uint8)
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
_PANEL_OF_SHORTER_SIDE: Final = 0.75
_TEXTURE_DRIFT: Final = 32  # pixels of travel of the background before it turns back


@dataclass(frozen=True, kw_only=True)
class NumberedVideo:
    """The specification of one video. `width` and `height` are those of the upright picture, in pixels."""

    path: Path
    """The file to write. The suffix selects the container."""
    video_number: int = 0
    num_frames: int = 30
    width: int = 160
    height: int = 96
    codec: str = "h264"
    """One of `ENCODERS`."""
    gop_size: int = 12
    """Frames from one keyframe to the next."""
    num_b_frames: int = 0
    """B-frames in a row."""
    open_gop: bool = False
    """Whether frames shown before a keyframe may need frames that are decoded before the keyframe."""
    intra_refresh: bool = False
    """H.264 only: a column of intra blocks moves over the picture, and there are no keyframes."""
    pixel_format: str = "yuv420p"
    full_range: bool = False
    color_matrix: Literal["unspecified", "bt601", "bt709", "bt2020"] = "unspecified"
    """The matrix that makes the pixels, and its tag; "unspecified" is BT.601 without a tag."""
    rotation_degrees: Literal[0, 90, 180, 270] = 0
    """Counter-clockwise turn that the player must apply (mp4 and mov only)."""
    variable_rate: bool = False
    """Whether frames last 1, 2, 3 or 5 ticks of 1/fps seconds."""
    fps: Fraction = Fraction(25)
    sample_aspect_ratio: Fraction = Fraction(1)
    """Width by height of a stored pixel."""
    encoder_options: tuple[tuple[str, str], ...] = ()
    """Further options of the encoder, as (name, value)."""

    def __post_init__(self) -> None:
        if self.codec not in ENCODERS:
            raise ValueError(f"codec is {self.codec!r}, expected one of {', '.join(ENCODERS)}")
        if self.path.suffix not in _MUXERS:
            raise ValueError(f"suffix of {self.path} is not one of {', '.join(_MUXERS)}")
        if self.rotation_degrees and self.path.suffix not in (".mp4", ".mov"):
            raise ValueError(f"{self.path.suffix} cannot store a rotation: use .mp4 or .mov")
        if self.variable_rate and self.path.suffix in _FIXED_RATE:
            raise ValueError(f"{self.path.suffix} cannot store a variable rate")
        if self.intra_refresh and self.codec != "h264":
            raise ValueError(f"intra refresh needs h264, found {self.codec}")
        if self.open_gop and (self.gop_size - 1) % (self.num_b_frames + 1) == 0:
            raise ValueError(
                f"no B-frame precedes the keyframes of {self.num_b_frames} B-frames in GOPs of {self.gop_size}: "
                "such GOPs are not open"
            )
        if self.num_frames < 1:
            raise ValueError(f"num_frames is {self.num_frames}, expected at least 1")
        _panel_bits(self.video_number, self.num_frames - 1)

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) of the picture before the player turns it."""
        turned = self.rotation_degrees in (90, 270)
        return (self.height, self.width) if turned else (self.width, self.height)

    @property
    def upright_aspect_ratio(self) -> Fraction:
        """Sample aspect ratio of the picture after the turn."""
        return (
            1 / self.sample_aspect_ratio if self.rotation_degrees in (90, 270) else self.sample_aspect_ratio
        )

    @property
    def display_size(self) -> tuple[float, float]:
        """(width, height) of the upright picture in square pixels, the source size of `read_frame`."""
        return float(self.width * self.upright_aspect_ratio), float(self.height)


ENCODERS: Final = {
    "h264": "libx264",
    "hevc": "libx265",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "mpeg4": "mpeg4",
    "mpeg2video": "mpeg2video",
    "mpeg1video": "mpeg1video",
    "mjpeg": "mjpeg",
}
_MUXERS: Final = {
    ".mp4": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".mpg": "mpeg",
    ".flv": "flv",
    ".h264": "h264",
    ".h265": "hevc",
}
_FIXED_RATE: Final = (".avi", ".mpg", ".h264", ".h265")
_COLORSPACES: Final = {
    # name: (matrix swscale converts with, tag of ISO/IEC 23091-2 in the stream)
    "unspecified": (Colorspace.ITU601, 2),
    "bt601": (Colorspace.ITU601, 6),
    "bt709": (Colorspace.ITU709, 1),
    "bt2020": (9, 9),
}


def draw_frame(
    video_number: int,
    frame_number: int,
    width: int,
    height: int,
    sample_aspect_ratio: Fraction = Fraction(1),
) -> RGBFrame:
    """A picture that shows its two numbers: uint8 RGB, shape (height, width, 3).

    Raises:
        ValueError: A number does not fit its bits, or the picture is too small for the panel.
    """
    bits = _panel_bits(video_number, frame_number)
    left, top, panel_width, panel_height = _panel_box(float(width * sample_aspect_ratio), float(height))
    left, panel_width = left / float(sample_aspect_ratio), panel_width / float(sample_aspect_ratio)
    if min(panel_width, panel_height) < 4 * _CELLS:
        raise ValueError(f"{width}x{height} is too small for the panel: a cell would be under 4 pixels")
    texture = _texture(video_number, width, height)
    drift = abs(frame_number % (2 * _TEXTURE_DRIFT) - _TEXTURE_DRIFT)
    frame = texture[drift // 2 : drift // 2 + height, drift : drift + width].copy()
    rows = np.arange(round(top), round(top + panel_height))
    columns = np.arange(round(left), round(left + panel_width))
    cell_of_row = np.clip((rows + 0.5 - top) * _CELLS / panel_height, 0, _CELLS - 1).astype(np.intp)
    cell_of_column = np.clip((columns + 0.5 - left) * _CELLS / panel_width, 0, _CELLS - 1).astype(np.intp)
    hues = (np.arange(_CELLS * _CELLS).reshape(_CELLS, _CELLS) * 7 + video_number) % len(_BRIGHT)
    cells = np.where(bits[..., None], _BRIGHT[hues], _DARK[hues])
    frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = cells[cell_of_row[:, None], cell_of_column]
    return frame


def read_frame(
    rgb: RGBFrame,
    *,
    source_size: tuple[float, float] | None = None,
    resize: Literal["crop", "stretch", "pad"] = "crop",
    crop_aspect: Fraction | None = None,
) -> tuple[int, int]:
    """(video number, frame number) in a picture, uint8 RGB of shape (H, W, 3).

    Without arguments it reads pictures of the original size, and pictures cropped to a square. For others it
    needs `source_size`, the (width, height) of the source in square pixels, and the steps that were applied:
    first the centre of aspect `crop_aspect` was cut out, then `resize` fitted the result.

    >>> read_frame(draw_frame(12, 345, 320, 180))
    (12, 345)

    Raises:
        ValueError: The picture is turned, of another geometry, too damaged, or shows no panel.
    """
    out_height, out_width = rgb.shape[:2]
    source_width, source_height = source_size or (out_width, out_height)
    left, top, panel_width, panel_height = _panel_box(source_width, source_height)
    seen_width, seen_height = float(source_width), float(source_height)
    if crop_aspect is not None:
        seen_width, seen_height = _centre_of_aspect(seen_width, seen_height, float(crop_aspect))
    if resize == "crop":
        seen_width, seen_height = _centre_of_aspect(seen_width, seen_height, out_width / out_height)
    elif resize == "pad":
        seen_width = max(seen_width, seen_height * out_width / out_height)
        seen_height = max(seen_height, seen_width * out_height / out_width)
    scale_x, scale_y = out_width / seen_width, out_height / seen_height
    left = (left - (source_width - seen_width) / 2) * scale_x
    top = (top - (source_height - seen_height) / 2) * scale_y
    # The middle half of each cell, which neighbouring cells do not affect.
    inside = (np.arange(_CELLS)[:, None] + np.linspace(0.25, 0.75, 5)).ravel() / _CELLS
    rows = np.floor(top + inside * panel_height * scale_y).astype(np.intp)
    columns = np.floor(left + inside * panel_width * scale_x).astype(np.intp)
    if (
        rows[-1] >= out_height or columns[-1] >= out_width
    ):  # the panel is centred, so its other edges are outside as well
        raise ValueError(f"the panel of a {source_width}x{source_height} source is not inside this picture")
    luma = (rgb[rows[:, None], columns] @ _LUMA).reshape(_CELLS, 5, _CELLS, 5).mean(axis=(1, 3))
    return _numbers_of_panel(luma)


def write_numbered_video(spec: NumberedVideo) -> None:
    """Encode a video. The same libraries always give the same bytes. Missing folders are created.

    The file gets its name only when it is complete.
    """
    spec.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = spec.path.with_name(spec.path.name + ".unfinished")
    try:
        with scheduling_kept():
            _encode(spec, unfinished)
        unfinished.replace(spec.path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(spec: NumberedVideo, path: Path) -> None:
    # SVT-AV1 prints its banner without FFmpeg's log. Level 1 prints errors only.
    os.environ.setdefault("SVT_LOG", "1")
    # bitexact: Matroska gets no random ids.
    with av.open(
        str(path), "w", format=_MUXERS[spec.path.suffix], options={"fflags": "+bitexact"}
    ) as container:
        stream = container.add_stream(ENCODERS[spec.codec], rate=spec.fps, options=_encoder_options(spec))
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        stream.width, stream.height = spec.stored_size
        stream.pix_fmt = spec.pixel_format
        stream.sample_aspect_ratio = spec.sample_aspect_ratio
        context.time_base = 1 / spec.fps
        context.gop_size = spec.gop_size
        context.max_b_frames = spec.num_b_frames
        context.thread_count = 1  # the bytes must not depend on the number of cores
        if not spec.open_gop and spec.codec.startswith("mpeg"):
            context.flags |= Flags.closed_gop
        context.color_range = ColorRange.JPEG if spec.full_range else ColorRange.MPEG
        context.colorspace = _COLORSPACES[spec.color_matrix][1]
        if spec.rotation_degrees:
            stream.set_display_rotation(spec.rotation_degrees)
        for frame in _frames_to_encode(spec):
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def pts_in_ticks(spec: NumberedVideo) -> list[int]:
    """Presentation time of each frame in ticks of 1/fps seconds, as written (a container may add an offset)."""
    if not spec.variable_rate:
        return list(range(spec.num_frames))
    gaps = np.array([1, 2, 1, 3, 1, 1, 5])[np.arange(spec.num_frames) * 3 % 7]
    return [int(pts) for pts in np.cumsum(gaps) - gaps[0]]


def _frames_to_encode(spec: NumberedVideo) -> Iterator[av.VideoFrame]:
    """Frames in display order, turned by minus `rotation_degrees`, in the pixel format of the stream."""
    matrix, _ = _COLORSPACES[spec.color_matrix]
    for frame_number, pts in enumerate(pts_in_ticks(spec)):
        upright = draw_frame(
            spec.video_number, frame_number, spec.width, spec.height, spec.upright_aspect_ratio
        )
        stored = np.ascontiguousarray(np.rot90(upright, -spec.rotation_degrees // 90))
        frame = av.VideoFrame.from_ndarray(stored, format="rgb24").reformat(
            format=spec.pixel_format,
            dst_colorspace=matrix,
            dst_color_range=ColorRange.JPEG if spec.full_range else ColorRange.MPEG,
        )
        frame.pts, frame.time_base = pts, 1 / spec.fps
        yield frame


def _encoder_options(spec: NumberedVideo) -> dict[str, str]:
    """Settings that make each encoder fast, quiet and single-threaded (so repeatable), and those of the spec."""
    gop = f"keyint={spec.gop_size}:min-keyint={spec.gop_size}:scenecut=0:bframes={spec.num_b_frames}"
    if spec.codec == "h264":
        refresh = int(spec.intra_refresh)
        params = f"{gop}:b-adapt=0:open-gop={int(spec.open_gop)}:intra-refresh={refresh}:threads=1"
        options = {"preset": "ultrafast", "crf": "26", "x264-params": params}
    elif spec.codec == "hevc":
        params = f"{gop}:b-adapt=0:open-gop={int(spec.open_gop)}:pools=none:frame-threads=1:log-level=none"
        options = {"preset": "ultrafast", "crf": "28", "x265-params": params}
    elif spec.codec in ("vp8", "vp9"):
        options = {"deadline": "realtime", "cpu-used": "8", "crf": "34", "b": "1M"}
    elif spec.codec == "av1":
        # Faster presets keep whole blocks of earlier frames in the picture.
        options = {"preset": "8", "crf": "36", "svtav1-params": "lp=1"}
    else:
        # FFmpeg's own encoders close GOPs only if they do not search for scene cuts.
        options = {"qmin": "4", "qmax": "8", "sc_threshold": "1000000000"}
    return options | dict(spec.encoder_options)


def _panel_box(source_width: float, source_height: float) -> tuple[float, float, float, float]:
    """(left, top, width, height) of the panel in the upright picture of square pixels.

    Three quarters of the shorter side: inside the central square, and as high as the central 4:3 of a
    portrait picture.
    """
    side = _PANEL_OF_SHORTER_SIDE * min(source_width, source_height)
    return (source_width - side) / 2, (source_height - side) / 2, side, side


def _centre_of_aspect(width: float, height: float, aspect: float) -> tuple[float, float]:
    """Largest (width, height) of an aspect inside a picture."""
    return min(width, height * aspect), min(height, width / aspect)


def _panel_bits(video_number: int, frame_number: int) -> npt.NDArray[np.bool_]:
    """Cells of the panel, bool (8, 8): corner marks, then numbers and checksum row by row."""
    if not 0 <= video_number < 1 << VIDEO_NUMBER_BITS:
        raise ValueError(f"video number is {video_number}, expected 0 to {(1 << VIDEO_NUMBER_BITS) - 1}")
    if not 0 <= frame_number < 1 << FRAME_NUMBER_BITS:
        raise ValueError(f"frame number is {frame_number}, expected 0 to {(1 << FRAME_NUMBER_BITS) - 1}")
    numbers = video_number << FRAME_NUMBER_BITS | frame_number
    word = numbers << CHECKSUM_BITS | _checksum(numbers)
    # Whitening: without it, small numbers would leave most of the panel dark.
    word ^= _WHITENING
    num_bits = VIDEO_NUMBER_BITS + FRAME_NUMBER_BITS + CHECKSUM_BITS
    cells = np.zeros((_CELLS, _CELLS), np.bool_)
    cells[_DATA_ROWS, _DATA_COLUMNS] = [word >> (num_bits - 1 - i) & 1 for i in range(num_bits)]
    for corner, mark in _CORNERS.items():
        cells[corner] = mark
    return cells


def _numbers_of_panel(luma: npt.NDArray[np.floating[Any]]) -> tuple[int, int]:
    """Numbers in a panel of mean lumas, float (8, 8). Raises ValueError if they are uncertain."""
    corners = {corner: float(luma[corner]) for corner in _CORNERS}
    darkest = min(corners, key=lambda corner: corners[corner])
    bright = min(value for corner, value in corners.items() if corner != darkest)
    if bright - corners[darkest] < 50:
        raise ValueError("no corner marks: this picture shows no panel, or has another geometry")
    if _CORNERS[darkest]:
        raise ValueError(f"the dark corner mark is at {darkest} and not at (7, 7): the picture is turned")
    # The corners give the levels of dark and bright. The middle tenth between them is undecided.
    middle, slack = (bright + corners[darkest]) / 2, 0.05 * (bright - corners[darkest])
    if np.any(np.abs(luma - middle) < slack):
        raise ValueError("a cell is neither bright nor dark: the picture is damaged, or has another geometry")
    word = 0
    for bit in (luma > middle)[_DATA_ROWS, _DATA_COLUMNS]:
        word = word << 1 | int(bit)
    word ^= _WHITENING
    numbers, checksum = word >> CHECKSUM_BITS, word & (1 << CHECKSUM_BITS) - 1
    if checksum != _checksum(numbers):
        raise ValueError("the checksum does not fit: the picture is damaged, mirrored or of another geometry")
    return numbers >> FRAME_NUMBER_BITS, numbers & (1 << FRAME_NUMBER_BITS) - 1


def _checksum(numbers: int) -> int:
    """Low 24 bits of the CRC-32 of the 36 bits."""
    return zlib.crc32(numbers.to_bytes(5, "big")) & (1 << CHECKSUM_BITS) - 1


_WHITENING: Final = 0xA5C3_96E1_5A3C_69B
_DATA_CELLS: Final = [
    (row, column) for row in range(_CELLS) for column in range(_CELLS) if (row, column) not in _CORNERS
]
_DATA_ROWS: Final = np.array([row for row, _ in _DATA_CELLS])
_DATA_COLUMNS: Final = np.array([column for _, column in _DATA_CELLS])


@lru_cache(maxsize=4)
def _texture(video_number: int, width: int, height: int) -> RGBFrame:
    """Saturated waves, larger than the picture by the drift, and different for each video."""
    y, x = np.mgrid[: height + _TEXTURE_DRIFT // 2 + 1, : width + _TEXTURE_DRIFT + 1].astype(np.float32)
    phase = video_number * 2.4  # the golden angle: videos with neighbouring numbers differ in colour
    waves = [
        np.sin(x / (7 + video_number % 5) + phase),
        np.sin(y / (9 + video_number % 3) + 2 * phase),
        np.sin((x + y) / 13 + 3 * phase),
    ]
    return np.stack([128 + 120 * wave for wave in waves], axis=-1).astype(np.uint8)
