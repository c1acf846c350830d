"""Frames with known planes, and float64 YUV -> RGB by the formulas of ITU-T H.273: an oracle for swscale."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray

MATRIX_UNSPECIFIED, MATRIX_BT709, MATRIX_FCC, MATRIX_BT601, MATRIX_SMPTE240M, MATRIX_BT2020 = 2, 1, 4, 5, 7, 9
RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2

_KR_KB = {
    MATRIX_BT709: (0.2126, 0.0722),
    MATRIX_FCC: (0.30, 0.11),
    MATRIX_SMPTE240M: (0.212, 0.087),
    MATRIX_BT2020: (0.2627, 0.0593),
}
_BT601_KR_KB = (0.299, 0.114)


def make_frame(
    pixel_format: str,
    planes: list[NDArray],
    *,
    matrix: int = MATRIX_UNSPECIFIED,
    color_range: int = RANGE_UNSPECIFIED,
    left_sited: bool = False,
    interlaced: bool = False,
) -> av.VideoFrame:
    """A frame with these arrays as planes; samples are interleaved along the rows if the format requires it."""
    height = planes[0].shape[0]
    width = planes[0].shape[1]
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8)
        rows = rows[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        packed = np.ascontiguousarray(samples).reshape(samples.shape[0], -1).view(np.uint8)
        rows[:, : packed.shape[1]] = packed
    frame.colorspace, frame.color_range = matrix, color_range
    if left_sited:
        frame = through_filter(frame, "setparams", "chroma_location=left")
    if interlaced:
        frame = through_filter(frame, "setfield", "mode=tff")
    return frame


def random_yuv(
    rng: np.random.Generator, height: int, width: int, steps: tuple[int, int] = (2, 2), *, bits: int = 8
) -> list[NDArray]:
    """Y, U and V noise of legal limited range (far beyond this range swscale's sums wrap around)."""
    unit, dtype = 2 ** (bits - 8), np.uint8 if bits == 8 else np.uint16
    chroma_size = (-(-height // steps[0]), -(-width // steps[1]))
    return [
        rng.integers(16 * unit, top * unit, size, dtype, endpoint=True)
        for top, size in ((235, (height, width)), (240, chroma_size), (240, chroma_size))
    ]


def random_blocks(rng: np.random.Generator, height: int, width: int) -> list[NDArray]:
    """Y, U and V of 4:2:0 in flat blocks of 16 x 16, all within RGB, so that no order of clipping matters."""

    def draw(rows: int, columns: int, low: int, high: int, cell: int) -> NDArray:
        coarse = rng.integers(low, high, (-(-rows // cell), -(-columns // cell)), np.uint8)
        return np.kron(coarse, np.ones((cell, cell), np.uint8))[:rows, :columns]

    half = (-(-height // 2), -(-width // 2))
    return [draw(height, width, 80, 170, 16), draw(*half, 100, 156, 8), draw(*half, 100, 156, 8)]


def random_rgb(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def through_filter(frame: av.VideoFrame, name: str, arguments: str) -> av.VideoFrame:
    """One frame through one filter of libavfilter. The colour tags are kept."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(1, 25)
    )
    graph.link_nodes(source, graph.add(name, arguments), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def yuv_to_rgb(
    y: NDArray, u: NDArray, v: NDArray, *, matrix: int, color_range: int, bits: int, left_sited: bool = True
) -> NDArray[np.float64]:
    """RGB in [0, 255], shape (H, W, 3); chroma of fewer samples is interpolated linearly.

    Full range only where flagged, BT.601 where the matrix is none of the others.
    """
    kr, kb = _KR_KB.get(matrix, _BT601_KR_KB)
    kg = 1 - kr - kb
    step = 2 ** (bits - 8)
    if color_range == RANGE_FULL:
        black, luma_span, chroma_span = 0, 2**bits - 1, 2**bits - 1
    else:
        black, luma_span, chroma_span = 16 * step, 219 * step, 224 * step
    luma = (y.astype(np.float64) - black) * 255 / luma_span
    cb, cr = (
        (_upsample(plane.astype(np.float64), y.shape, left_sited) - 128 * step) * 255 / chroma_span
        for plane in (u, v)
    )
    red = luma + 2 * (1 - kr) * cr
    blue = luma + 2 * (1 - kb) * cb
    green = luma - 2 * kb * (1 - kb) / kg * cb - 2 * kr * (1 - kr) / kg * cr
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255)


def _upsample(plane: NDArray[np.float64], shape: tuple[int, int], left_sited: bool) -> NDArray[np.float64]:
    for axis, length in enumerate(shape):
        factor = length / plane.shape[axis]
        # Position of the luma sample among the chroma samples; left-sited: even columns coincide.
        shift = 0.0 if axis == 1 and left_sited else (factor - 1) / 2
        position = np.clip((np.arange(length) - shift) / factor, 0, plane.shape[axis] - 1)
        below = np.floor(position).astype(int)
        above = np.minimum(below + 1, plane.shape[axis] - 1)
        weight = (position - below).reshape([-1, 1] if axis == 0 else [1, -1])
        plane = np.take(plane, below, axis) * (1 - weight) + np.take(plane, above, axis) * weight
    return plane


def resize_with_torch(rgb: NDArray, height: int, width: int) -> NDArray[np.float64]:
    """The antialiased bilinear resize of PyTorch on (H, W, 3), in float64. Without torch it skips the test."""
    torch = pytest.importorskip("torch")
    batch = torch.from_numpy(rgb.astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(batch, size=(height, width), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()
