"""Crop, scale, turn and paste as arithmetic."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.video.picture.geometry import (
    FrameGeometry,
    FramePlacement,
    Presentation,
    parse_aspect,
    parse_size,
    place_frame,
)
from cache_builder.video.picture.orientation import AS_STORED, Orientation
from tests.support.videos.presentations import ORIENTATIONS

coded_sizes = st.integers(1, 5000)
output_sizes = st.integers(8, 1000)
aspect_terms = st.integers(1, 40)
pixel_aspects = st.sampled_from(
    [None, Fraction(0), Fraction(1), Fraction(2), Fraction(1, 2), Fraction(64, 45)]
)
geometries = st.builds(
    FrameGeometry,
    height=output_sizes,
    width=output_sizes,
    resize=st.sampled_from(["crop", "stretch", "pad"]),
    crop_aspect=st.none() | st.tuples(aspect_terms, aspect_terms),
)


def place(geometry: FrameGeometry, width: int, height: int, *, sar=None, shown=AS_STORED) -> FramePlacement:
    presentation = Presentation(orientation=shown, sample_aspect_ratio=sar)
    return place_frame(geometry, coded_width=width, coded_height=height, presentation=presentation)


def torchvision_fallback_crop(width: int, height: int, ratio: float) -> tuple[int, int, int, int]:
    """The fallback of RandomResizedCrop.get_params, (top, left, height, width): its code, for one ratio."""
    crop_width, crop_height = width, height
    if width / height < ratio:
        crop_height = round(width / ratio)
    elif width / height > ratio:
        crop_width = round(height * ratio)
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def test_the_exercise_chain_squeezes_the_centre_1440x1080():
    placement = place(FrameGeometry(resize="stretch", crop_aspect=(4, 3)), 1920, 1080)
    assert placement == FramePlacement(
        crop_left=240,
        crop_top=0,
        crop_width=1440,
        crop_height=1080,
        scaled_width=224,
        scaled_height=224,
        orientation=AS_STORED,
        paste_left=0,
        paste_top=0,
    )


@given(width=st.integers(16, 5000), height=st.integers(16, 5000), aspect=st.sampled_from([(4, 3), (3, 4)]))
def test_crop_aspect_is_torchvisions_fallback_crop(width, height, aspect):
    placement = place(FrameGeometry(resize="stretch", crop_aspect=aspect), width, height)
    got = (placement.crop_top, placement.crop_left, placement.crop_height, placement.crop_width)
    assert got == torchvision_fallback_crop(width, height, aspect[0] / aspect[1])


@given(
    geometry=geometries,
    width=coded_sizes,
    height=coded_sizes,
    sar=pixel_aspects,
    shown=st.sampled_from(ORIENTATIONS),
)
def test_every_placement_lies_inside_and_fills_what_it_should(geometry, width, height, sar, shown):
    placement = place(geometry, width, height, sar=sar, shown=shown)
    assert placement.crop_width >= 1
    assert placement.crop_height >= 1
    assert 0 <= placement.crop_left <= width - placement.crop_width
    assert 0 <= placement.crop_top <= height - placement.crop_height
    # Two cuts, each half a pixel off at most.
    assert abs(2 * placement.crop_left + placement.crop_width - width) <= 2
    assert abs(2 * placement.crop_top + placement.crop_height - height) <= 2

    upright = (placement.scaled_height, placement.scaled_width)[:: -1 if shown.lies_on_its_side else 1]
    if geometry.resize == "pad":
        assert geometry.height in upright[:1] or geometry.width in upright[1:]
        assert abs(2 * placement.paste_left + upright[1] - geometry.width) <= 1
        assert abs(2 * placement.paste_top + upright[0] - geometry.height) <= 1
        assert placement.paste_left >= 0
        assert placement.paste_top >= 0
    else:
        assert upright == (geometry.height, geometry.width)
        assert (placement.paste_left, placement.paste_top) == (0, 0)


@given(
    width=coded_sizes,
    height=coded_sizes,
    sar=pixel_aspects,
    shown=st.sampled_from(ORIENTATIONS),
    geometry=geometries,
)
def test_a_cut_has_the_wanted_display_aspect_and_cannot_be_larger(width, height, sar, shown, geometry):
    geometry = msgspec.structs.replace(geometry, resize="crop", crop_aspect=None)
    placement = place(geometry, width, height, sar=sar, shown=shown)
    coded_aspect = Fraction(geometry.width, geometry.height)
    if shown.lies_on_its_side:
        coded_aspect = 1 / coded_aspect
    coded_aspect /= sar or 1
    assert placement.crop_width == width or placement.crop_height == height
    best_width, best_height = placement.crop_height * coded_aspect, placement.crop_width / coded_aspect
    assert abs(placement.crop_width - max(1, best_width)) <= Fraction(1, 2) or abs(
        placement.crop_height - max(1, best_height)
    ) <= Fraction(1, 2)


@given(
    width=coded_sizes,
    height=coded_sizes,
    sar=pixel_aspects,
    shown=st.sampled_from(ORIENTATIONS),
    geometry=geometries,
)
def test_pad_keeps_the_display_aspect_within_a_pixel(width, height, sar, shown, geometry):
    geometry = msgspec.structs.replace(geometry, resize="pad", crop_aspect=None)
    placement = place(geometry, width, height, sar=sar, shown=shown)
    assert (placement.crop_width, placement.crop_height) == (width, height)
    coded_aspect = Fraction(width, height) * (sar or 1)
    assert abs(placement.scaled_width - max(1, placement.scaled_height * coded_aspect)) <= Fraction(
        1, 2
    ) or abs(placement.scaled_height - max(1, placement.scaled_width / coded_aspect)) <= Fraction(1, 2)


@given(
    geometry=geometries,
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    sar=pixel_aspects,
    shown=st.sampled_from(ORIENTATIONS),
)
def test_cropping_then_turning_is_turning_then_cropping(geometry, width, height, sar, shown):
    coded = np.arange(width * height).reshape(height, width)
    placement = place(geometry, width, height, sar=sar, shown=shown)
    cropped = coded[placement.crop_top :, placement.crop_left :][
        : placement.crop_height, : placement.crop_width
    ]

    turned = shown.set_upright(coded)
    turned_sar = 1 / sar if sar and shown.lies_on_its_side else sar
    upright = place(geometry, turned.shape[1], turned.shape[0], sar=turned_sar)
    want = turned[upright.crop_top :, upright.crop_left :][: upright.crop_height, : upright.crop_width]
    np.testing.assert_array_equal(placement.orientation.set_upright(cropped), want)
    assert (placement.paste_left, placement.paste_top) == (upright.paste_left, upright.paste_top)


def test_pixels_twice_as_wide_as_high_count_double():
    squeezed = place(FrameGeometry(resize="pad"), 360, 360, sar=Fraction(2))
    assert (squeezed.scaled_width, squeezed.scaled_height, squeezed.paste_top) == (224, 112, 56)
    cropped = place(FrameGeometry(resize="crop"), 360, 360, sar=Fraction(2))
    assert (cropped.crop_left, cropped.crop_width, cropped.crop_height) == (90, 180, 360)
    # Upright, after a quarter turn, they are twice as high as wide.
    turned = place(
        FrameGeometry(resize="pad"), 360, 360, sar=Fraction(2), shown=Orientation(num_quarter_turns=1)
    )
    assert (turned.scaled_width, turned.scaled_height, turned.paste_left) == (224, 112, 56)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0), (-1, 10)])
def test_an_empty_frame_is_refused(width, height):
    with pytest.raises(ValueError, match=f"at least 1x1, not {width}x{height}"):
        place(FrameGeometry(), width, height)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"height": 7}, "height must be 8 to 8192 pixels, not 7"),
        ({"width": 8193}, "width must be 8 to 8192 pixels, not 8193"),
        ({"resize": "squash"}, "resize must be one of crop, stretch, pad, not 'squash'"),
        ({"crop_aspect": (0, 3)}, "crop_aspect must be two numbers from 1 to 10000, not 0:3"),
        ({"crop_aspect": (4, 10_001)}, "crop_aspect must be two numbers from 1 to 10000, not 4:10001"),
    ],
)
def test_wrong_geometry_is_refused_by_value_and_range(fields, message):
    with pytest.raises(ValueError, match=message):
        FrameGeometry(**fields)


@pytest.mark.parametrize("size", [8, 8192])
def test_the_ends_of_the_range_are_legal(size):
    geometry = FrameGeometry(height=size, width=size)
    assert msgspec.json.decode(msgspec.json.encode(geometry), type=FrameGeometry) == geometry


@pytest.mark.parametrize(
    "text", ["", "224x", "x224", "-1", "2.5", "224 ", "224X224", "1x2x3", "9" * 10, "٣٠٠"]
)
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="size must be one number of pixels or HEIGHTxWIDTH"):
        parse_size(text)


def test_a_size_is_height_then_width():
    assert parse_size("224") == (224, 224)
    assert parse_size("240x320") == (240, 320)


@pytest.mark.parametrize("text", ["", "4", "4:", ":3", "4/3", "4:3:2", "1.33:1", "-4:3"])
def test_an_aspect_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="crop_aspect must be WIDTH:HEIGHT"):
        parse_aspect(text)


def test_an_aspect_is_width_then_height():
    assert parse_aspect("16:9") == (16, 9)
