"""Planes to stored pixels in torch: against swscale, and against the formulas where swscale is inexact."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from cache_builder.gpu.yuv_format import ChromaLocation, YuvFormat
from cache_builder.gpu.yuv_rgb import YuvToRgb
from cache_builder.video.picture.colour import find_colour_matrix
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry, place_frame
from tests.support.gpu.planar_reference import convert_planes, natural_yuv, saturated_yuv, smooth_yuv
from tests.support.videos.presentations import presentation
from tests.support.videos.yuv_reference import (
    MATRIX_BT601,
    MATRIX_BT709,
    MATRIX_BT2020,
    MATRIX_FCC,
    MATRIX_SMPTE240M,
    MATRIX_UNSPECIFIED,
    RANGE_FULL,
    RANGE_LIMITED,
    make_frame,
    random_yuv,
    through_filter,
    yuv_to_rgb,
)

MATRICES = (MATRIX_UNSPECIFIED, MATRIX_BT709, MATRIX_FCC, MATRIX_BT601, MATRIX_SMPTE240M, MATRIX_BT2020)
SOURCES = ("smooth", "natural", "noise", "saturated")
LIMITED_BT709 = YuvFormat(colour_matrix=MATRIX_BT709, is_full_range=False)
# Rounding, and the error of float32 sums.
ROUNDED = 0.5 + 1e-3


def draw(source: str, height: int, width: int, *, matrix: int = MATRIX_BT709, bits: int = 8):
    rng = np.random.default_rng(height * width)
    if source == "smooth":
        return smooth_yuv(height, width, bits=bits)
    if source == "natural":
        return natural_yuv(rng, height, width, bits=bits)
    if source == "saturated":
        colour = find_colour_matrix(matrix)
        return saturated_yuv(rng, height, width, kr=colour.kr, kb=colour.kb, bits=bits)
    return random_yuv(rng, height, width, bits=bits)


def as_tensors(planes, *, bits: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """NV12, or a format like P010, of Y, U and V; both planes in the CPU's memory."""
    y, u, v = planes if bits == 8 else [plane << (16 - bits) for plane in planes]
    return torch.from_numpy(y), torch.from_numpy(np.stack([u, v], -1))


def as_frame(planes, yuv_format: YuvFormat) -> av.VideoFrame:
    """The same samples in the format of the CPU's decoder."""
    frame = make_frame(
        {8: "yuv420p", 10: "yuv420p10le", 12: "yuv420p12le"}[yuv_format.bit_depth],
        planes,
        matrix=yuv_format.colour_matrix,
        color_range=RANGE_FULL if yuv_format.is_full_range else RANGE_LIMITED,
    )
    name = yuv_format.chroma_location.name.lower().replace("_", "")
    return through_filter(frame, "setparams", f"chroma_location={name}")


def make_converter(
    geometry: FrameGeometry,
    height: int,
    width: int,
    yuv_format: YuvFormat = LIMITED_BT709,
    *,
    device: str = "cpu",
    **shown,
) -> YuvToRgb:
    placement = place_frame(
        geometry, coded_width=width, coded_height=height, presentation=presentation(**shown)
    )
    return YuvToRgb(
        placement,
        frame_shape=(geometry.height, geometry.width, 3),
        coded_width=width,
        coded_height=height,
        yuv_format=yuv_format,
        device=device,
    )


def convert(planes, geometry: FrameGeometry, yuv_format: YuvFormat = LIMITED_BT709, **placing):
    convert_frame = make_converter(geometry, *planes[0].shape, yuv_format, **placing)
    out = torch.full((geometry.height, geometry.width, 3), 77, dtype=torch.uint8)
    assert convert_frame(*as_tensors(planes, bits=yuv_format.bit_depth), out) is out
    return out.numpy().astype(int)


def convert_by_swscale(planes, geometry: FrameGeometry, yuv_format: YuvFormat = LIMITED_BT709, **shown):
    converter = FrameConverter(geometry, presentation(**shown))
    return converter.convert(as_frame(planes, yuv_format)).astype(int)


def whole(height: int, width: int) -> FrameGeometry:
    return FrameGeometry(height=height, width=width, resize="stretch")


# Full size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("is_full_range", [False, True], ids=["limited", "full"])
def test_full_size_agrees_with_swscale_and_the_formulas(is_full_range, bits, source):
    for matrix in MATRICES:
        yuv_format = YuvFormat(colour_matrix=matrix, is_full_range=is_full_range, bit_depth=bits)
        for height, width in ((96, 128), (50, 50), (144, 82)):
            planes = draw(source, height, width, matrix=matrix, bits=bits)
            got = convert(planes, whole(height, width), yuv_format)
            color_range = RANGE_FULL if is_full_range else RANGE_LIMITED
            want = yuv_to_rgb(*planes, matrix=matrix, color_range=color_range, bits=bits)
            assert np.abs(got - want).max() < ROUNDED
            if bits == 8 or not is_full_range:  # swscale converts full-range 10-bit white to 255.75
                difference = np.abs(got - convert_by_swscale(planes, whole(height, width), yuv_format))
                assert difference.max() <= 1
                # Where colours are saturated, many values lie half way between two.
                assert difference.mean() < (0.1 if source == "saturated" else 0.05)


@pytest.mark.parametrize("location", ChromaLocation)
def test_chroma_is_taken_where_it_sits(location):
    yuv_format = YuvFormat(colour_matrix=MATRIX_BT709, is_full_range=False, chroma_location=location)
    planes = draw("noise", 90, 122)
    for geometry in (whole(90, 122), whole(40, 40), whole(200, 160)):
        difference = convert(planes, geometry, yuv_format) - convert_by_swscale(planes, geometry, yuv_format)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("size", [(95, 127), (95, 128), (96, 127)])
def test_odd_sizes_are_stretched_as_swscale_does(size):
    planes = draw("noise", *size)
    got = convert(planes, whole(*size))
    assert np.abs(got - convert_by_swscale(planes, whole(*size))).max() <= 1
    # In the standard chroma is at every second sample; swscale spreads the samples over the picture.
    want = yuv_to_rgb(*planes, matrix=MATRIX_BT709, color_range=RANGE_LIMITED, bits=8)
    assert np.abs(got - want).max() < 2


@pytest.mark.parametrize(("bits", "low_bits", "brighter"), [(10, 63, 0.6), (12, 15, 0.2)])
def test_low_bits_of_a_word_count_as_fractions(bits, low_bits, brighter):
    # These formats leave the low bits 0, and swscale ignores them.
    yuv_format = YuvFormat(colour_matrix=MATRIX_BT709, is_full_range=False, bit_depth=bits)
    planes = draw("natural", 64, 96, bits=bits)
    want = convert_by_swscale(planes, whole(64, 96), yuv_format)
    luma, chroma = as_tensors(planes, bits=bits)
    for dirt in (0, low_bits):
        out = torch.empty((64, 96, 3), dtype=torch.uint8)
        dirty = [torch.from_numpy(plane.numpy() | np.uint16(dirt)) for plane in (luma, chroma)]
        make_converter(whole(64, 96), 64, 96, yuv_format)(*dirty, out)
        difference = out.numpy() - want
        assert np.abs(difference).max() <= 1
        assert abs(difference.mean()) < (brighter if dirt else 0.02)


def test_p016_is_read_in_all_its_bits():
    planes = draw("noise", 32, 48, bits=16)
    got = convert(planes, whole(32, 48), YuvFormat(colour_matrix=9, is_full_range=True, bit_depth=16))
    want = yuv_to_rgb(*planes, matrix=MATRIX_BT2020, color_range=RANGE_FULL, bits=16)
    assert np.abs(got - want).max() < ROUNDED


# Crop, scale, turn, paste ------------------------------------------------------------------------------------

GEOMETRIES = {
    "crop": FrameGeometry(),
    "stretch": FrameGeometry(resize="stretch"),
    "pad": FrameGeometry(resize="pad"),
    "exercise": FrameGeometry(resize="stretch", crop_aspect=(4, 3)),
    "pad 4:3": FrameGeometry(resize="pad", crop_aspect=(4, 3)),
}


@pytest.mark.parametrize(
    ("size", "bits"),
    [((1080, 1920), 8), ((720, 1280), 8), ((720, 1280), 10), ((480, 640), 8)],
    ids=["1080p", "720p", "720p 10 bits", "480p"],
)
def test_resized_frames_agree_with_swscale(size, bits):
    yuv_format = YuvFormat(colour_matrix=MATRIX_BT709, is_full_range=False, bit_depth=bits)
    for number, source in enumerate(SOURCES):
        planes = draw(source, *size, bits=bits)
        for name, geometry in GEOMETRIES.items():
            rotation = 90 * number
            got = convert(planes, geometry, yuv_format, rotation=rotation)
            want = convert_by_swscale(planes, geometry, yuv_format, rotation=rotation)
            difference = np.abs(got - want)
            assert difference.max() <= 1, (source, name)
            assert difference.mean() < 0.1, (source, name)
            assert abs((got - want).mean()) < 0.02, (source, name)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("is_mirrored", [False, True], ids=["plain", "mirrored"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("sar", [None, Fraction(4, 3), Fraction(16, 45)])
def test_small_frames_are_scaled_up_turned_and_widened(sar, rotation, is_mirrored, geometry):
    shown = {"rotation": rotation, "sar": sar, "is_mirrored": is_mirrored}
    for size in ((50, 64), (95, 127)):
        planes = draw("noise", *size)
        got = convert(planes, geometry, **shown)
        want = convert_by_swscale(planes, geometry, **shown)
        difference = np.abs(got - want)
        assert difference.max() <= (1 if size[0] % 2 == 0 else 2)
        assert difference.mean() < 0.15


@settings(max_examples=50)
@given(
    size=st.tuples(st.integers(2, 90), st.integers(2, 90)),
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    resize=st.sampled_from(["crop", "stretch", "pad"]),
    crop_aspect=st.sampled_from([None, (4, 3), (1, 2)]),
    rotation=st.sampled_from([0, 90, 180, -90]),
    is_mirrored=st.booleans(),
    sar=st.sampled_from([None, Fraction(2), Fraction(3, 4)]),
    location=st.sampled_from(ChromaLocation),
    matrix=st.sampled_from(MATRICES),
    is_full_range=st.booleans(),
    bits=st.sampled_from([8, 10, 12]),
)
def test_any_frame_comes_out_as_the_plain_definition_has_it(
    *, size, shape, resize, crop_aspect, rotation, is_mirrored, sar, location, matrix, is_full_range, bits
):
    geometry = FrameGeometry(height=shape[0], width=shape[1], resize=resize, crop_aspect=crop_aspect)
    yuv_format = YuvFormat(
        colour_matrix=matrix, is_full_range=is_full_range, bit_depth=bits, chroma_location=location
    )
    planes = draw("noise", *size, bits=bits)
    got = convert(planes, geometry, yuv_format, rotation=rotation, sar=sar, is_mirrored=is_mirrored)
    want = convert_planes(
        planes,
        place_frame(
            geometry,
            coded_width=size[1],
            coded_height=size[0],
            presentation=presentation(rotation, sar, is_mirrored=is_mirrored),
        ),
        (*shape, 3),
        matrix=matrix,
        color_range=RANGE_FULL if is_full_range else RANGE_LIMITED,
        bits=bits,
        siting=location.value,
    )
    assert np.abs(got - want).max() < ROUNDED


def test_cropping_at_an_odd_offset_begins_at_the_chroma_sample_before():
    planes = draw("noise", 98, 48)  # the centre 48 of 98 begin at 25
    y, u, v = planes
    got = convert(planes, FrameGeometry(height=48, width=48))
    np.testing.assert_array_equal(got, convert([y[24:72], u[12:36], v[12:36]], whole(48, 48)))


# Layouts of planes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pixel_format", "bits"), [("nv12", 8), ("p010le", 10)])
@pytest.mark.parametrize("size", [(96, 130), (95, 129)], ids=["even", "odd"])
def test_planes_through_dlpack_are_taken_as_they_are(size, pixel_format, bits):
    planes = draw("noise", *size, bits=bits)
    yuv_format = YuvFormat(colour_matrix=MATRIX_BT709, is_full_range=False, bit_depth=bits)
    # Interleaving planes and padding words changes no sample: the decoders differ in layout only.
    frame = as_frame(planes, yuv_format).reformat(format=pixel_format, threads=1)
    luma, chroma = (torch.from_dlpack(plane.__dlpack__()) for plane in frame.planes)
    assert luma.stride(0) > size[1]
    want_luma, want_chroma = as_tensors(planes, bits=bits)
    assert torch.equal(luma, want_luma)
    # PyAV leaves out the last chroma sample of an odd size; the one before is repeated.
    assert chroma.shape == (size[0] // 2, size[1] // 2, 2)
    assert torch.equal(chroma, want_chroma[: size[0] // 2, : size[1] // 2])
    if size[0] % 2:
        for plane in planes[1:]:
            plane[-1], plane[:, -1] = plane[-2], plane[:, -2]
    for geometry in (whole(*size), FrameGeometry(height=40, width=40)):
        out = torch.full((geometry.height, geometry.width, 3), 77, dtype=torch.uint8)
        make_converter(geometry, *size, yuv_format)(luma, chroma, out)
        np.testing.assert_array_equal(out.numpy(), convert(planes, geometry, yuv_format))


def test_padded_rows_and_a_slot_of_a_batch():
    planes = draw("natural", 90, 110)
    luma, chroma = as_tensors(planes)
    wide_luma = torch.full((90, 256), 200, dtype=torch.uint8)
    wide_chroma = torch.full((45, 256), 200, dtype=torch.uint8)
    wide_luma[:, :110] = luma
    wide_chroma[:, :110] = chroma.reshape(45, 110)
    batch = torch.full((3, 32, 48, 3), 77, dtype=torch.uint8)
    geometry = FrameGeometry(height=32, width=48, resize="pad")
    make_converter(geometry, 90, 110)(
        wide_luma[:, :110], wide_chroma.as_strided((45, 55, 2), (256, 2, 1)), batch[1]
    )
    np.testing.assert_array_equal(batch[1].numpy(), convert(planes, geometry))
    assert (batch[[0, 2]] == 77).all()


def test_threads_share_a_converter_and_their_number_changes_nothing():
    planes = as_tensors(draw("noise", 540, 960))
    convert_frame = make_converter(FrameGeometry(), 540, 960)

    def run(_) -> bytes:
        return convert_frame(*planes, torch.empty((224, 224, 3), dtype=torch.uint8)).numpy().tobytes()

    num_threads = torch.get_num_threads()
    results = set()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.add(run(None))
    finally:
        torch.set_num_threads(num_threads)
    with ThreadPoolExecutor(4) as threads:
        results.update(threads.map(run, range(12)))
    assert len(results) == 1


# Refusals ----------------------------------------------------------------------------------------------------


def test_tensors_of_another_kind_are_refused():
    convert_frame = make_converter(FrameGeometry(height=16, width=24), 48, 65)
    luma = torch.zeros((48, 65), dtype=torch.uint8)
    chroma = torch.zeros((24, 33, 2), dtype=torch.uint8)
    out = torch.zeros((16, 24, 3), dtype=torch.uint8)
    convert_frame(luma, chroma, out)
    for wrong, message in (
        ((luma[:, :64], chroma, out), r"luma must be torch.uint8 \(48, 65\) on cpu, not .* \(48, 64\)"),
        ((luma.to(torch.int16), chroma, out), r"luma must be torch.uint8 .* not torch.int16"),
        ((luma, chroma[:, :31], out), r"chroma must be torch.uint8 \(24, 33, 2\)"),
        ((luma, chroma.view(torch.int8), out), r"chroma must be torch.uint8"),
        ((luma, chroma, out[:8]), r"out must be torch.uint8 \(16, 24, 3\)"),
        ((luma, chroma, torch.zeros((3, 16, 24), dtype=torch.uint8).permute(1, 2, 0)), r"contiguous, not of"),
        ((luma.to("meta"), chroma, out), r"luma must be .* on cpu, not .* on meta"),
    ):
        with pytest.raises(ValueError, match=message):
            convert_frame(*wrong)


@pytest.mark.parametrize("coded", [(479, 640), (480, 639)])
def test_a_placement_of_another_frame_is_refused(coded):
    placement = place_frame(
        FrameGeometry(resize="stretch"),
        coded_width=640,
        coded_height=480,
        presentation=presentation(),
    )
    with pytest.raises(ValueError, match=rf"a frame of {coded[1]}x{coded[0]} does not hold"):
        YuvToRgb(
            placement,
            frame_shape=(224, 224, 3),
            coded_width=coded[1],
            coded_height=coded[0],
            yuv_format=LIMITED_BT709,
            device="cpu",
        )
    for shape in ((223, 224, 3), (224, 223, 3)):
        with pytest.raises(ValueError, match=r"a frame of shape \(22., 22., 3\) does not hold"):
            YuvToRgb(
                placement,
                frame_shape=shape,
                coded_width=640,
                coded_height=480,
                yuv_format=LIMITED_BT709,
                device="cpu",
            )


# On a GPU ----------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("bits", [8, 10])
def test_a_gpu_gives_what_the_cpu_gives(bits):
    yuv_format = YuvFormat(colour_matrix=MATRIX_BT709, is_full_range=False, bit_depth=bits)
    for size in ((1080, 1920), (95, 127)):
        planes = draw("natural", *size, bits=bits)
        for number, geometry in enumerate([*GEOMETRIES.values(), whole(*size)]):
            want = convert(planes, geometry, yuv_format, rotation=90 * number)
            convert_frame = make_converter(geometry, *size, yuv_format, rotation=90 * number, device="cuda")
            out = torch.full((geometry.height, geometry.width, 3), 77, dtype=torch.uint8, device="cuda")
            on_device = [plane.to("cuda") for plane in as_tensors(planes, bits=bits)]
            got = convert_frame(*on_device, out).cpu().numpy()
            assert np.abs(got - want).max() <= 1
            assert (got != want).mean() < 0.001  # sums in another order may round otherwise
