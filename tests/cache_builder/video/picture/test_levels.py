"""Gray frames as levels: the decoder's own integers, whatever the format, the range and the size."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.reformatter import ColorRange
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.video.picture import hash_of_rows, luma_rows, picture_hash
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import ContainerCrop, FrameGeometry, Presentation
from cache_builder.video.picture.levels import LevelConverter, converter_of, nearest, why_no_levels
from cache_builder.video.picture.orientation import Orientation
from tests.support.depth.level_videos import level_frame, num_levels, ramps

FORMATS = ["gray", *(f"gray{bits}{order}" for bits in (9, 10, 12, 14, 16) for order in ("le", "be"))]
ORIENTATIONS = [
    Orientation(is_mirrored=mirrored, num_quarter_turns=turns)
    for mirrored in (False, True)
    for turns in range(4)
]


def converted(levels, geometry, *, pixel_format="gray16le", **shown):
    return LevelConverter(geometry, Presentation(**shown)).convert(level_frame(levels, pixel_format))


@pytest.mark.parametrize("color_range", [ColorRange.UNSPECIFIED, ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_level_of_every_format_is_kept_whatever_the_range(pixel_format, color_range):
    (levels,) = ramps(pixel_format, num_frames=1)
    assert len(np.unique(levels)) == num_levels(pixel_format)
    frame = level_frame(levels, pixel_format)
    frame.color_range = color_range
    found = LevelConverter(FrameGeometry(height=256, width=256), Presentation()).convert(frame)
    np.testing.assert_array_equal(found, levels, strict=True)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_what_lies_beyond_a_row_is_no_level(pixel_format):
    (levels,) = ramps(pixel_format, num_frames=1, height=35, width=97)
    found = converted(levels, FrameGeometry(height=35, width=97), pixel_format=pixel_format)
    np.testing.assert_array_equal(found, levels, strict=True)


@pytest.mark.parametrize("pixel_format", ["gray", "gray12le", "gray16be"])
def test_rows_from_bottom_to_top_are_set_right(pixel_format):
    (levels,) = ramps(pixel_format, num_frames=1, height=32, width=40)
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=40, height=32, format=av.VideoFormat(pixel_format, 40, 32), time_base=Fraction(1, 25)
        ),
        graph.add("vflip"),
        graph.add("buffersink"),
    ).configure()
    frame = level_frame(levels, pixel_format)
    frame.pts = 0
    graph.vpush(frame)
    flipped = graph.vpull()
    assert flipped.planes[0].line_size < 0
    found = LevelConverter(FrameGeometry(height=32, width=40), Presentation()).convert(flipped)
    np.testing.assert_array_equal(found, levels[::-1])


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv420p10le", "rgb24", "ya8", "ya16le", "monob", "pal8", "gbrp16le", "grayf32le"],
)
def test_other_formats_are_refused_by_name(pixel_format):
    frame = av.VideoFrame(16, 16, pixel_format)
    converter = LevelConverter(FrameGeometry(height=16, width=16), Presentation())
    with pytest.raises(ValueError, match=rf"pixel format is {pixel_format}, .*pixel 'rgb8' stores colours"):
        converter.convert(frame)
    assert why_no_levels(pixel_format) is not None


def test_the_kind_of_pixel_decides_the_converter():
    geometry = FrameGeometry()
    assert type(converter_of("rgb8", geometry, Presentation())) is FrameConverter
    assert type(converter_of("gray16", geometry, Presentation())) is LevelConverter


@given(num_source=st.integers(1, 300), num_shown=st.integers(1, 300))
def test_the_nearest_pixel_is_taken(num_source, num_shown):
    found = nearest(num_source, num_shown)
    for shown, source in enumerate(found.tolist()):
        centre = Fraction(2 * shown + 1, 2 * num_shown) * num_source
        distances = [abs(Fraction(2 * other + 1, 2) - centre) for other in range(num_source)]
        assert distances[source] == min(distances)
    if num_source == num_shown:
        assert found.tolist() == list(range(num_source))


@pytest.mark.parametrize("size", [(24, 40), (128, 97), (60, 61), (16, 200)])
def test_a_stretched_frame_is_that_of_torch(size):
    torch = pytest.importorskip("torch")
    (levels,) = ramps(num_frames=1, height=90, width=120)
    source = torch.from_numpy(levels[..., 0].astype(np.float64))[None, None]
    expected = torch.nn.functional.interpolate(source, size=size, mode="nearest-exact")[0, 0].numpy()
    found = converted(levels, FrameGeometry(height=size[0], width=size[1], resize="stretch"))
    np.testing.assert_array_equal(found[..., 0], expected)


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_a_turned_video_gives_what_an_upright_one_gives(orientation, resize):
    (levels,) = ramps(num_frames=1, height=46, width=90)
    geometry = FrameGeometry(height=24, width=32, resize=resize)
    # The inverse of mirroring, then turning: the coded picture that is shown as `levels`.
    coded = np.rot90(levels[..., 0], -orientation.num_quarter_turns)
    coded = coded[:, ::-1] if orientation.is_mirrored else coded
    np.testing.assert_array_equal(orientation.set_upright(coded), levels[..., 0])
    np.testing.assert_array_equal(
        converted(coded, geometry, orientation=orientation), converted(levels, geometry)
    )


def test_the_part_that_is_kept_is_that_of_colour():
    """A picture whose quarters have levels of their own, cut, cropped and padded as the colour path does it."""
    quarters = np.kron([[10, 60], [120, 250]], np.ones((48, 64))).astype(np.uint16)
    crop = ContainerCrop(left=8, right=4, top=6, bottom=2)
    for resize in ("crop", "pad"):
        geometry = FrameGeometry(height=32, width=64, resize=resize, crop_aspect=(1, 1))
        shown = Presentation(crop=crop, sample_aspect_ratio=Fraction(4, 3))
        frame = level_frame(quarters, "gray")
        frame.color_range = ColorRange.JPEG
        levels = LevelConverter(geometry, shown).convert(frame)[..., 0]
        colour = FrameConverter(geometry, shown).convert(frame)[..., 0]
        off = np.abs(levels.astype(int) - colour) > 1
        assert off.mean() < 0.12  # only where the colour path mixes two quarters
        assert set(np.unique(levels)) <= {0, 10, 60, 120, 250}
    assert (levels == 0).any() and not levels[:, 0].any()  # 0 beside the picture


def test_a_frames_own_shape_of_pixels_counts():
    (levels,) = ramps(num_frames=1, height=40, width=40)
    converter = LevelConverter(FrameGeometry(height=40, width=40, resize="pad"), Presentation())
    frame = level_frame(levels, "gray16le")
    wide = converter.convert(frame, sample_aspect_ratio=Fraction(2))
    assert not wide[:10].any() and not wide[30:].any()
    assert wide[10:30].any(axis=(1, 2)).all()
    np.testing.assert_array_equal(converter.convert(frame), levels)


def test_the_callers_memory_is_used_or_refused():
    (levels,) = ramps(num_frames=1, height=16, width=24)
    converter = LevelConverter(FrameGeometry(height=16, width=24), Presentation())
    out = np.full((16, 24, 1), 7, np.uint16)
    assert converter.convert(level_frame(levels, "gray16le"), out) is out
    np.testing.assert_array_equal(out, levels)
    for wrong in (out[:8], out.astype(np.uint8), out.astype(np.int16), out[:, ::-1]):
        with pytest.raises(ValueError, match=r"out must be C-contiguous uint16 \(16, 24, 1\)"):
            converter.convert(level_frame(levels, "gray16le"), wrong)


@pytest.mark.parametrize("bit", [0, 7, 8, 11])
@pytest.mark.parametrize("pixel_format", ["gray12le", "gray16le", "gray16be"])
def test_hashes_see_both_bytes(pixel_format, bit):
    (levels,) = ramps(pixel_format, num_frames=1, height=32, width=34)
    other = levels.copy()
    other[4, 33] ^= 1 << bit
    for hashed in (lambda frame: hash_of_rows(luma_rows(frame)), picture_hash):
        first, same, changed = (
            hashed(level_frame(one, pixel_format)) for one in (levels, levels.copy(), other)
        )
        assert first == same != changed
