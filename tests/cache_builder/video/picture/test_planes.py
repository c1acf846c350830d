"""Frames scaled as planes and packed afterwards have the bytes of one step of swscale into packed pixels."""

import av
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache_builder.video.picture.convert import _SCALED_AS_PLANES, ACCURATE_FLAGS, FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry
from tests.support.videos.presentations import presentation
from tests.support.videos.yuv_reference import (
    MATRIX_BT601,
    MATRIX_BT709,
    MATRIX_BT2020,
    RANGE_FULL,
    RANGE_LIMITED,
)


def noise(pixel_format: str, height: int, width: int) -> av.VideoFrame:
    frame, draw = av.VideoFrame(width, height, pixel_format), np.random.default_rng(31)
    bits = max(component.bits for component in frame.format.components)
    shift = 16 - bits if pixel_format.startswith("p0") else 0
    for plane in frame.planes:
        if bits == 8:
            plane.update(draw.bytes(plane.buffer_size))
        else:
            samples = draw.integers(0, 1 << bits, plane.buffer_size // 2, np.uint16) << shift
            plane.update(samples.astype("<u2").tobytes())
    return frame


@settings(max_examples=300, deadline=None)
@example(pixel_format="yuv420p", height=139, width=93, rows=1.0, columns=221, matrix=MATRIX_BT709, full=False)
@example(
    pixel_format="yuv420p", height=193, width=24, rows=0.995, columns=127, matrix=MATRIX_BT709, full=True
)
@given(
    pixel_format=st.sampled_from(sorted(_SCALED_AS_PLANES)),
    height=st.integers(18, 200),
    width=st.integers(8, 150),
    rows=st.floats(0.1, 1.3),
    columns=st.integers(16, 200),
    matrix=st.sampled_from([MATRIX_BT601, MATRIX_BT709, MATRIX_BT2020]),
    full=st.booleans(),
)
def test_pixels_are_those_of_one_step_into_packed_rgb(
    *, pixel_format, height, width, rows, columns, matrix, full
):
    frame, stored_height = noise(pixel_format, height, width), max(16, round(rows * height))
    frame.colorspace, frame.color_range = matrix, RANGE_FULL if full else RANGE_LIMITED
    geometry = FrameGeometry(height=stored_height, width=columns, resize="stretch")
    got = FrameConverter(geometry, presentation()).convert(frame)
    want = frame.reformat(
        columns,
        stored_height,
        "rgb24",
        src_colorspace=matrix,
        src_color_range="JPEG" if full else "MPEG",
        interpolation=ACCURATE_FLAGS,
        threads=1,
    )
    np.testing.assert_array_equal(got, want.to_ndarray())
