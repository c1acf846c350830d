"""Plain, slow float64 versions of `cache_builder.gpu.yuv_rgb`, and pictures to try it on."""

from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from cache_builder.video.picture.geometry import FramePlacement
from tests.support.videos.yuv_reference import yuv_to_rgb


def resize_axis(num_in: int, num_out: int, centre: Fraction) -> NDArray[np.float64]:
    """Weights (num_out, num_in) of swscale's bilinear filter, tap by tap, in exact positions.

    Source sample j lies at j + centre, output sample i at (i + 1/2) * num_in / num_out; samples beyond an edge are
    those at the edge.
    """
    scale = Fraction(num_in, num_out)
    radius = max(Fraction(1), scale)
    num_taps = max(1, min(1 + ceil(2 * radius), num_in - 2))
    matrix = np.zeros((num_out, num_in))
    for i in range(num_out):
        position = (i + Fraction(1, 2)) * scale - centre
        first = int(position - Fraction(num_taps - 2, 2))  # int() truncates towards zero
        for j in range(first, first + num_taps):
            matrix[i, min(max(j, 0), num_in - 1)] += max(0, 1 - abs(j - position) / radius)
    return matrix / matrix.sum(axis=1, keepdims=True)


def convert_planes(
    planes: list[NDArray],
    placement: FramePlacement,
    frame_shape: tuple[int, int, int],
    *,
    matrix: int,
    color_range: int,
    bits: int = 8,
    siting: tuple[float, float] = (0.25, 0.5),
) -> NDArray[np.float64]:
    """The stored frame (height, width, 3), not rounded, of Y, U and V of 4:2:0; `siting` is (across, down)."""
    top, left = placement.crop_top - placement.crop_top % 2, placement.crop_left - placement.crop_left % 2
    rows, columns = placement.crop_height, placement.crop_width
    centre = Fraction(1, 2)
    small = []
    for plane, step in zip(planes, (1, 2, 2), strict=True):
        kept = plane.astype(np.float64)[top // step :, left // step :]
        kept = kept[: -(-rows // step), : -(-columns // step)]
        across, down = (centre, centre) if step == 1 else map(Fraction, siting)
        by_row = resize_axis(kept.shape[0], placement.scaled_height, down)
        by_column = resize_axis(kept.shape[1], placement.scaled_width, across)
        small.append(by_row @ kept @ by_column.T)
    rgb = yuv_to_rgb(*small, matrix=matrix, color_range=color_range, bits=bits)
    upright = placement.orientation.set_upright(rgb)
    frame = np.zeros(frame_shape)
    frame[placement.paste_top :, placement.paste_left :][: upright.shape[0], : upright.shape[1]] = upright
    return frame


def smooth_yuv(height: int, width: int, *, bits: int = 8) -> list[NDArray]:
    """Y, U and V that change slowly over the picture, over most of legal limited range."""
    down, across = np.mgrid[:height, :width] / max(height, width)
    luma = 0.5 + 0.45 * np.sin(9 * down + 5 * across)
    blue, red = 0.5 + 0.3 * np.cos(7 * across), 0.5 + 0.3 * np.sin(6 * down + 2 * across)
    return _quantise(luma, blue, red, bits)


def natural_yuv(rng: np.random.Generator, height: int, width: int, *, bits: int = 8) -> list[NDArray]:
    """Y, U and V with detail at every scale, and less of it at finer scales, as in natural pictures."""

    def draw() -> NDArray[np.float64]:
        picture = np.zeros((height, width))
        for cell in (1, 2, 4, 8, 16, 32, 64):
            coarse = rng.normal(size=(-(-height // cell), -(-width // cell)))
            picture += np.kron(coarse, np.ones((cell, cell)))[:height, :width] * cell**0.7
        return 0.5 + (picture - picture.mean()) / (6 * picture.std())

    return _quantise(draw(), 0.25 + draw() / 2, 0.25 + draw() / 2, bits)


def saturated_yuv(
    rng: np.random.Generator, height: int, width: int, *, kr: float, kb: float, bits: int = 8
) -> list[NDArray]:
    """Blocks of 8 x 8 of black, white and the six colours between, in limited range."""
    coarse = rng.integers(0, 2, (-(-height // 8), -(-width // 8), 3))
    red, green, blue = np.moveaxis(np.kron(coarse, np.ones((8, 8, 1)))[:height, :width], -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    return _quantise(luma, 0.5 + (blue - luma) / (2 - 2 * kb), 0.5 + (red - luma) / (2 - 2 * kr), bits)


def _quantise(luma: NDArray, blue: NDArray, red: NDArray, bits: int) -> list[NDArray]:
    """Y, U and V in [0, 1] at full size to limited range; chroma keeps every second row and column."""
    step, dtype = 2 ** (bits - 8), np.uint8 if bits == 8 else np.uint16
    planes = (16 + 219 * luma, 16 + 224 * blue[::2, ::2], 16 + 224 * red[::2, ::2])
    tops = (235, 240, 240)
    return [
        np.clip(np.rint(plane * step), 16 * step, top * step).astype(dtype)
        for plane, top in zip(planes, tops, strict=True)
    ]
