"""Pixel formats that FFmpeg's filters, or its scaler, read wrongly without special handling."""

import av
import numpy as np
import pytest

from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry, Presentation


def convert(frame: av.VideoFrame, geometry: FrameGeometry) -> np.ndarray:
    return FrameConverter(geometry, Presentation()).convert(frame)


MOSAICS = [
    f"bayer_{first_four}{depth}"
    for first_four in ("rggb", "bggr", "grbg", "gbrg")
    for depth in ("8", "16le", "16be")
]


@pytest.mark.parametrize("across", [True, False], ids=["columns", "rows"])
@pytest.mark.parametrize("pixel_format", MOSAICS)
def test_a_colour_mosaic_keeps_its_colours_wherever_it_is_cut(pixel_format, across):
    for length in (82, 84):  # the centre 48 begin at 17 and at 18
        rgb = np.zeros((48, length, 3), np.uint8)
        rgb[:, : length // 2], rgb[:, length // 2 :] = (200, 20, 20), (20, 20, 200)
        upright = rgb if across else rgb.transpose(1, 0, 2)
        got = convert(mosaic(upright, pixel_format), FrameGeometry(height=48, width=48))
        got = got if across else got.transpose(1, 0, 2)
        for column, colour in ((4, (200, 20, 20)), (-5, (20, 20, 200))):
            np.testing.assert_array_equal(got[4:-4, column], np.broadcast_to(colour, (40, 3)))


def mosaic(rgb: np.ndarray, pixel_format: str) -> av.VideoFrame:
    """The samples of a sensor with a colour filter: for each pixel the one colour that the pattern names."""
    height, width, _ = rgb.shape
    frame = av.VideoFrame(width, height, pixel_format)
    (plane,) = frame.planes
    rows, columns = np.indices((height, width)) % 2
    pattern = np.array(["rgb".index(letter) for letter in pixel_format[6:10]])
    samples = np.take_along_axis(rgb, pattern[rows * 2 + columns][..., None], axis=2)[..., 0]
    if not pixel_format.endswith("8"):
        samples = (samples.astype(np.uint16) * 257).astype("<u2" if pixel_format.endswith("le") else ">u2")
    there = np.frombuffer(memoryview(plane), samples.dtype).reshape(height, -1)
    there[:, :width] = samples
    return frame


PACKED_RGB = [f"{order}{bits}" for order in ("rgb", "bgr") for bits in ("444", "555", "565")]


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (64, 48)], ids=["whole", "scaled", "cropped"])
@pytest.mark.parametrize("pixel_format", PACKED_RGB)
def test_packed_rgb_is_read_in_either_order_of_its_bytes(pixel_format, size):
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, :32], rgb[:, 32:] = (200, 40, 120), (16, 180, 240)
    height, width = size
    for byte_order in ("be", "le"):
        frame = packed_rgb(rgb, pixel_format, byte_order)
        got = convert(frame, FrameGeometry(height=height, width=width)).astype(int)
        for column, colour in ((4, (200, 40, 120)), (-5, (16, 180, 240))):
            assert np.abs(got[:, column] - colour).max() <= 16, byte_order  # 4 bits


def packed_rgb(rgb: np.ndarray, pixel_format: str, byte_order: str) -> av.VideoFrame:
    """Pixels of 16 bits, in the layout of libavutil/pixdesc.c."""
    bits = [int(digit) for digit in pixel_format[3:]]
    values = [rgb[..., channel].astype(int) >> (8 - bits[channel]) for channel in range(3)]
    first, middle, last = values if pixel_format.startswith("rgb") else values[::-1]
    frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], pixel_format + byte_order)
    (plane,) = frame.planes
    samples = np.frombuffer(memoryview(plane), "<u2" if byte_order == "le" else ">u2")
    there = samples.reshape(rgb.shape[0], -1)
    there[:, : rgb.shape[1]] = first << (bits[1] + bits[2]) | middle << bits[2] | last
    return frame
