"""Display matrices: which of the eight orientations each means, wherever in a file it stands."""

import gc
import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from cache_builder.video.decode.unit_decoder import VideoReader
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry
from cache_builder.video.picture.orientation import (
    AS_STORED,
    Orientation,
    describe_matrix,
    find_orientation,
    read_display_matrix,
)
from cache_builder.video.scan.video_scan import scan_video
from tests.support.videos.hand_made_mp4 import HandMadeMp4, jpeg_picture
from tests.support.videos.presentations import ONE, ORIENTATIONS, SYMMETRIES, matrix_of, show_by_matrix
from tests.support.videos.tiny_videos import tiny_video

PICTURE = np.arange(12).reshape(3, 4)

# Corners red, green, blue and white, large enough that JPEG does not mix them: 32 rows of 48.
CORNERS = np.zeros((32, 48, 3), np.uint8)
CORNERS[:16, :24], CORNERS[:16, 24:] = (230, 20, 20), (20, 230, 20)
CORNERS[16:, :24], CORNERS[16:, 24:] = (20, 20, 230), (230, 230, 230)

symmetries = pytest.mark.parametrize("symmetry", SYMMETRIES.values(), ids=SYMMETRIES)


def last_frame(path: Path, *, rows: int, columns: int) -> np.ndarray:
    """The last frame of a video, stored at one size."""
    scan = scan_video(path, path.name)
    converter = FrameConverter(
        FrameGeometry(height=rows, width=columns, resize="stretch"), scan.facts.presentation.plain
    )
    with VideoReader(path, scan) as reader:
        *_, decoded = reader.decode(0, len(scan.packets))
        return converter.convert(decoded.frame)


def assert_same_corners(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    for row, column in ((4, 4), (4, -5), (-5, 4), (-5, -5)):
        assert np.abs(found[row, column].astype(int) - expected[row, column]).max() < 40, (row, column)


# Arithmetic --------------------------------------------------------------------------------------------------


def test_the_eight_symmetries_are_eight_orientations():
    assert {find_orientation(matrix_of(*numbers)) for numbers in SYMMETRIES.values()} == set(ORIENTATIONS)


@symmetries
def test_a_picture_is_set_upright_as_iso_puts_its_pixels(symmetry):
    orientation = find_orientation(matrix_of(*symmetry))
    np.testing.assert_array_equal(orientation.set_upright(PICTURE), show_by_matrix(PICTURE, *symmetry))
    assert orientation.lies_on_its_side == (orientation.set_upright(PICTURE).shape == (4, 3))


@given(
    symmetry=st.sampled_from(list(SYMMETRIES.values())),
    degrees=st.floats(-0.9, 0.9),
    stretch=st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
)
def test_rounding_noise_and_scale_change_nothing(symmetry, degrees, stretch):
    a, b, c, d = turned(symmetry, degrees)
    noisy = (a * stretch[0], b * stretch[1], c * stretch[0], d * stretch[1])
    assert find_orientation(matrix_of(*map(round, noisy))) == find_orientation(matrix_of(*symmetry))


@given(symmetry=st.sampled_from(list(SYMMETRIES.values())), degrees=st.floats(1.1, 88.9))
def test_any_other_angle_is_refused_and_named(symmetry, degrees):
    with pytest.raises(ValueError, match=r"turned by (-?[\d.]+) degrees, not by a multiple of 90") as refused:
        find_orientation(matrix_of(*map(round, turned(symmetry, degrees))))
    named = float(str(refused.value).split()[2])
    assert abs((named + degrees + 45) % 90 - 45) < 0.06  # clockwise on a display is negative


def test_a_sheared_picture_is_refused():
    with pytest.raises(ValueError, match=r"turned by 0.0 degrees and sheared, not by a multiple of 90"):
        find_orientation(matrix_of(ONE, 0, ONE // 2, ONE))


@pytest.mark.parametrize(
    "flat",
    [
        (0, 0, 0, 0),
        (ONE, 0, 0, 0),
        (0, 0, 0, ONE),
        (ONE, ONE, 0, 0),
        (ONE, ONE, ONE, ONE),
        (ONE, ONE, ONE, ONE + 9),
    ],
)
def test_a_matrix_that_shows_no_picture_stands_for_none(flat):
    assert find_orientation(matrix_of(*flat)) is None
    assert describe_matrix(matrix_of(*flat)) == describe_matrix(None) == "as stored"


def test_numbers_beyond_16_16_are_taken_for_what_they_are():
    assert find_orientation((1, 0, 0, 0, 1, 0, 0, 0, 0)) == AS_STORED  # whole numbers, as some muxers write
    assert find_orientation((-(2**31), 0, 0, 0, 2**31 - 1, 0, 0, 0, 0)) == Orientation(is_mirrored=True)
    with pytest.raises(ValueError, match="0 to 3, not 4"):
        Orientation(num_quarter_turns=4)


def test_an_orientation_says_what_it_is():
    assert str(AS_STORED) == "as stored"
    assert str(Orientation(is_mirrored=True, num_quarter_turns=1)) == "mirrored, turned by 90 degrees"


def turned(symmetry: tuple[int, int, int, int], degrees: float) -> tuple[float, float, float, float]:
    """The matrix of a picture that is turned clockwise by that many more degrees."""
    a, b, c, d = symmetry
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return a * cos - b * sin, a * sin + b * cos, c * cos - d * sin, c * sin + d * cos


# In files ----------------------------------------------------------------------------------------------------


def mp4_of_matrix(folder: Path, matrix: tuple[int, ...]) -> Path:
    path = folder / "video.mp4"
    rows, columns, _ = CORNERS.shape
    made = HandMadeMp4(picture=jpeg_picture(CORNERS), width=columns, height=rows, display_matrix=matrix)
    path.write_bytes(made.to_bytes())
    return path


@symmetries
def test_an_mp4_is_shown_as_its_display_matrix_says(symmetry, tmp_path):
    path = mp4_of_matrix(tmp_path, matrix_of(*symmetry))
    expected = show_by_matrix(CORNERS, *symmetry)
    assert_same_corners(last_frame(path, rows=expected.shape[0], columns=expected.shape[1]), expected)


def test_a_matrix_of_zeros_turns_nothing_and_is_told(tmp_path):
    path = mp4_of_matrix(tmp_path, (0,) * 9)
    facts = scan_video(path, "video.mp4").facts
    assert facts.notes == ["its display matrix would show no picture (zeros, or flat): stored unturned"]
    assert_same_corners(last_frame(path, rows=32, columns=48), CORNERS)


def test_a_video_turned_by_45_degrees_is_refused(tmp_path):
    half = round(ONE * math.sqrt(0.5))
    path = mp4_of_matrix(tmp_path, matrix_of(half, half, -half, half))
    with pytest.raises(
        VideoError, match=r"its display matrix: turned by -45.0 degrees, not by a multiple of 90"
    ):
        scan_video(path, "video.mp4")


def test_exif_counts_beside_side_data_that_pyav_has_no_name_for(tmp_path):
    rows, columns, _ = CORNERS.shape
    tag = struct.pack("<HHHIII", 1, 0x112, 3, 1, 6, 0)  # Orientation: rows 0 and columns 0 are right and top
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + tag
    jpeg = jpeg_picture(CORNERS)
    picture = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + jpeg[2:]
    made = HandMadeMp4(picture=picture, width=columns, height=rows)
    (tmp_path / "video.mp4").write_bytes(made.to_bytes())
    expected = show_by_matrix(CORNERS, *SYMMETRIES["quarter turn clockwise"])
    assert_same_corners(last_frame(tmp_path / "video.mp4", rows=48, columns=32), expected)


@pytest.mark.parametrize(
    ("says", "symmetry"),
    [
        ("rotate=90", SYMMETRIES["quarter turn counter-clockwise"]),
        ("flip=horizontal", SYMMETRIES["left and right exchanged"]),
    ],
)
def test_an_sei_message_counts(says, symmetry, tmp_path):
    (tmp_path / "video.h264").write_bytes(h264_of_corners(f"display_orientation=insert:{says}"))
    expected = show_by_matrix(CORNERS, *symmetry)
    assert_same_corners(
        last_frame(tmp_path / "video.h264", rows=expected.shape[0], columns=expected.shape[1]), expected
    )


def h264_of_corners(metadata: str = "", *, num_frames: int = 5) -> bytes:
    """A bare stream of a keyframe and pictures predicted from it."""
    packets = []
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, _ = CORNERS.shape
    encoder.pix_fmt, encoder.time_base, encoder.options = (
        "yuv420p",
        Fraction(1, 25),
        {"g": "250", "bf": "0", "crf": "10"},
    )
    for number in range(num_frames):
        frame = av.VideoFrame.from_ndarray(CORNERS, "rgb24").reformat(format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode()
    if metadata:
        added = BitStreamFilterContext(f"h264_metadata={metadata}", "h264")
        packets = [changed for packet in packets for changed in added.filter(packet)]
    return b"".join(map(bytes, packets))


def test_frames_without_a_matrix_have_none(tmp_path):
    (tmp_path / "video.h264").write_bytes(h264_of_corners())
    with av.open(str(tmp_path / "video.h264")) as container:
        assert {read_display_matrix(frame) for frame in container.decode(video=0)} == {None}


def test_a_frame_is_gone_when_nobody_holds_it(tmp_path):
    """Frames that wait for the garbage collector keep their pixels, and the decoder allocates memory for each."""
    path = tiny_video(tmp_path, path=Path("v.mp4"), num_frames=30, rotation_degrees=90).path
    gc.collect()
    gc.disable()
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                assert read_display_matrix(frame) is not None
            del frame
        assert not [one for one in gc.get_objects() if type(one) is av.VideoFrame]
    finally:
        gc.enable()
