"""How planes are to be read: a frame's tags, and the siting that PyAV does not give."""

from fractions import Fraction

import av
import numpy as np
import pytest

from cache_builder.gpu.yuv_format import ChromaLocation, YuvFormat, find_chroma_location, read_yuv_format
from cache_builder.video.picture.colour import find_colour_matrix
from tests.support.videos.yuv_reference import (
    RANGE_FULL,
    RANGE_LIMITED,
    make_frame,
    random_yuv,
    through_filter,
)

LOCATIONS = {
    "left": ChromaLocation.LEFT,
    "center": ChromaLocation.CENTER,
    "topleft": ChromaLocation.TOP_LEFT,
    "top": ChromaLocation.TOP,
    "bottomleft": ChromaLocation.BOTTOM_LEFT,
    "bottom": ChromaLocation.BOTTOM,
    "unspecified": ChromaLocation.CENTER,  # as swscale reads it
}


def make_semi_planar(height: int, width: int, pixel_format: str = "nv12", **tags) -> av.VideoFrame:
    y, u, v = random_yuv(np.random.default_rng(1), height, width, bits=8 if pixel_format == "nv12" else 16)
    return make_frame(pixel_format, [y, np.stack([u, v], -1)], **tags)


@pytest.mark.parametrize("interlaced", [False, True], ids=["progressive", "interlaced"])
@pytest.mark.parametrize("size", [(48, 64), (16, 16), (63, 35)])
@pytest.mark.parametrize("name", LOCATIONS)
def test_chroma_is_found_where_the_frame_has_it(name, size, interlaced):
    frame = through_filter(
        make_semi_planar(*size, interlaced=interlaced), "setparams", f"chroma_location={name}"
    )
    assert frame.interlaced_frame == interlaced
    before = [bytes(plane) for plane in frame.planes]
    assert find_chroma_location(frame) is LOCATIONS[name]
    assert [bytes(plane) for plane in frame.planes] == before


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "p010le", "p016le"])
def test_chroma_is_found_in_every_420_format(pixel_format):
    for size in ((32, 48), (16, 16), (16, 32)):
        frame = through_filter(make_semi_planar(*size), "setparams", "chroma_location=topleft")
        frame = frame.reformat(format=pixel_format, threads=1)
        before = [bytes(plane) for plane in frame.planes]
        assert find_chroma_location(frame) is ChromaLocation.TOP_LEFT
        assert [bytes(plane) for plane in frame.planes] == before


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_decoders_say_left_where_the_stream_says_nothing(codec):
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuv420p", Fraction(1, 25)
    encoder.options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    packets = encoder.encode(make_frame("yuv420p", random_yuv(np.random.default_rng(2), 48, 64)))
    packets += encoder.encode(None)
    decoder = av.CodecContext.create(codec.replace("libx265", "hevc").replace("libx264", "h264"), "r")
    (frame,) = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    assert find_chroma_location(frame) is ChromaLocation.LEFT


@pytest.mark.parametrize(
    ("pixel_format", "bits"), [("nv12", 8), ("p010le", 10), ("p012le", 12), ("p016le", 16)]
)
def test_a_frame_tells_how_to_read_it(pixel_format, bits):
    frame = make_semi_planar(32, 48, pixel_format, matrix=9, color_range=RANGE_FULL, left_sited=True)
    location = find_chroma_location(frame)
    assert read_yuv_format(frame, bit_depth=bits, chroma_location=location) == YuvFormat(
        colour_matrix=9, is_full_range=True, bit_depth=bits, chroma_location=ChromaLocation.LEFT
    )
    for color_range in (0, RANGE_LIMITED):
        frame.color_range = color_range
        assert not read_yuv_format(frame, bit_depth=bits, chroma_location=location).is_full_range


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match="bit_depth must be 8, 10, 12 or 16, not 9"):
        YuvFormat(colour_matrix=1, is_full_range=False, bit_depth=9)


@pytest.mark.parametrize("matrix", [8, 11, 12, 13, 14, 15, 16, 17])
def test_a_matrix_without_a_conversion_is_refused_by_name(matrix):
    for make in (find_colour_matrix, lambda tag: YuvFormat(colour_matrix=tag, is_full_range=False)):
        with pytest.raises(ValueError, match=rf"colour matrix {matrix} \(.+\) has no conversion to RGB"):
            make(matrix)
