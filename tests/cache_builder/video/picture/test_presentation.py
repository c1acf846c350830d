"""What containers and pictures state about how to show them: cropping, shape of pixels, colours, encryption."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from cache_builder.video.decode.unit_decoder import VideoReader
from cache_builder.video.opening.encryption import why_packet_encrypted
from cache_builder.video.picture.container_side_data import (
    ContainerSideData,
    DolbyVision,
    parse_dump,
    parse_records,
    why_no_rgb,
)
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import ContainerCrop, FrameGeometry
from cache_builder.video.scan.video_scan import scan_video
from tests.support.videos.hand_made_mp4 import HandMadeMp4, box, full_box, jpeg_picture, numbers
from tests.support.videos.matroska_edit import (
    CONTENT_ENC_ALGO,
    CONTENT_ENC_KEY_ID,
    CONTENT_ENCODING,
    CONTENT_ENCODING_TYPE,
    CONTENT_ENCODINGS,
    CONTENT_ENCRYPTION,
    PIXEL_CROP_BOTTOM,
    PIXEL_CROP_LEFT,
    PIXEL_CROP_RIGHT,
    PIXEL_CROP_TOP,
    SEGMENT,
    TRACK_ENTRY,
    TRACKS,
    VIDEO,
    add_elements,
    element,
    matroska_of,
)
from tests.support.videos.presentations import SYMMETRIES, matrix_of, show_by_matrix
from tests.support.videos.sample_streams import sample_stream, write_stream

# Cropping by the container ----------------------------------------------------------------------------------

PICTURE = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


def stored(path: Path, geometry: FrameGeometry) -> np.ndarray:
    """The first frame as a cache stores it."""
    scan = scan_video(path, path.name)
    with VideoReader(path, scan) as reader:
        decoded = next(iter(reader.decode(0, len(scan.packets))))
    return FrameConverter(geometry, scan.facts.presentation.plain).convert(decoded.frame)


def clap(width: int, height: int, right: Fraction, down: Fraction) -> bytes:
    """A clean aperture of this size, its centre moved from the picture's (ISO/IEC 14496-12, section 12.1.4)."""
    terms = [width, 1, height, 1, right.numerator, right.denominator, down.numerator, down.denominator]
    return box(b"clap", struct.pack(">8i", *terms))


def mp4_of_picture(folder: Path, *, name: str = "video.mp4", **said) -> Path:
    path = folder / name
    made = HandMadeMp4(picture=jpeg_picture(PICTURE), width=64, height=48, **said)
    path.write_bytes(made.to_bytes())
    return path


def test_a_clean_aperture_is_all_that_is_stored(tmp_path):
    path = mp4_of_picture(tmp_path, entry_boxes=clap(40, 30, Fraction(-2), Fraction(5)))
    whole = stored(mp4_of_picture(tmp_path, name="whole.mp4"), FrameGeometry(height=48, width=64))
    # A centred crop would begin at column 12 and row 9.
    got = stored(path, FrameGeometry(height=30, width=40))
    np.testing.assert_array_equal(got, whole[14:44, 10:50])
    assert scan_video(path, "video.mp4").facts.notes == [
        "cropped by its container: 10 columns at the left, 14 columns at the right, 14 rows at the top, "
        "4 rows at the bottom"
    ]


def test_a_clean_aperture_is_cut_before_the_picture_is_turned(tmp_path):
    symmetry = SYMMETRIES["rows and columns exchanged"]
    path = mp4_of_picture(
        tmp_path, entry_boxes=clap(40, 30, Fraction(-2), Fraction(5)), display_matrix=matrix_of(*symmetry)
    )
    whole = stored(mp4_of_picture(tmp_path, name="whole.mp4"), FrameGeometry(height=48, width=64))
    got = stored(path, FrameGeometry(height=40, width=30))
    np.testing.assert_array_equal(got, show_by_matrix(whole[14:44, 10:50], *symmetry))


def test_matroskas_pixel_crop_is_cut_off(tmp_path):
    crop = element(PIXEL_CROP_LEFT, 3) + element(PIXEL_CROP_RIGHT, 7)
    crop += element(PIXEL_CROP_TOP, 5) + element(PIXEL_CROP_BOTTOM, 11)
    path = tmp_path / "video.mkv"
    path.write_bytes(add_elements(matroska_of([PICTURE]), (SEGMENT, TRACKS, TRACK_ENTRY, VIDEO), crop))
    got = stored(path, FrameGeometry(height=32, width=54, resize="stretch"))
    np.testing.assert_array_equal(got, PICTURE[5:-11, 3:-7])
    assert scan_video(path, path.name).facts.presentation.container_crop == (3, 7, 5, 11)


# Other fields of a container --------------------------------------------------------------------------------


@given(
    crop=st.tuples(*[st.integers(0, 2**32 - 1)] * 4),
    profile=st.integers(0, 127),
    compatibility=st.integers(0, 15),
)
def test_the_record_and_the_text_of_it_say_the_same(crop, profile, compatibility):
    left, right, top, bottom = crop
    record = bytes([1, 0, profile, 6, 1, 0, 1, compatibility, 0])
    by_kind = {"frame_cropping": struct.pack("<4I", top, bottom, left, right), "dovi_conf": record}
    text = (
        "Input #0, mov, from '':\n  Stream #0:0: Audio: aac\n    Side data:\n      Frame Cropping: 1/2/3/4\n"
        "  Stream #0:1[0x1](und): Video: hevc\n    Metadata:\n      title           : Frame Cropping: 9/9/9/9\n"
        f"    Side data:\n      DOVI configuration record: version: 1.0, profile: {profile}, level: 6, rpu flag: 1, "
        f"el flag: 0, bl flag: 1, compatibility id: {compatibility}, compression: 0\n"
        f"      Frame Cropping: {left}/{right}/{top}/{bottom}\n  Stream #0:10: Data\n"
    )
    said = parse_dump(text, stream_index=1)
    assert said == parse_records(by_kind)
    assert said.crop == ContainerCrop(left=left, right=right, top=top, bottom=bottom)
    assert said.dolby_vision == DolbyVision(profile=profile, compatibility_id=compatibility)
    assert parse_dump(text, stream_index=10) == parse_records({}) == ContainerSideData()


def dolby_vision_box(profile: int, compatibility: int) -> bytes:
    """A configuration record (Dolby Vision Streams within the ISO Base Media File Format, section 3.2)."""
    bits = profile << 25 | 6 << 19 | 0b101 << 16 | compatibility << 12
    return box(b"dvcC" if profile <= 7 else b"dvvC", bytes([1, 0]), struct.pack(">I", bits)[:3], bytes(19))


@pytest.mark.parametrize(
    ("profile", "compatibility", "named"), [(5, 0, "5"), (10, 0, "10.0"), (20, 0, "20.0")]
)
def test_dolby_visions_own_colours_are_refused(profile, compatibility, named, tmp_path):
    path = mp4_of_picture(tmp_path, entry_boxes=dolby_vision_box(profile, compatibility))
    with pytest.raises(VideoError, match=rf"Dolby Vision profile {named}: its colours \(IPT-PQ-C2\) have no"):
        scan_video(path, "video.mp4")


@pytest.mark.parametrize(("profile", "compatibility"), [(8, 1), (8, 4), (7, 6), (4, 2), (10, 1), (10, 4)])
def test_dolby_vision_over_a_picture_for_other_displays_is_read(profile, compatibility, tmp_path):
    path = mp4_of_picture(tmp_path, entry_boxes=dolby_vision_box(profile, compatibility))
    assert scan_video(path, "video.mp4").facts.notes == []


def test_dolby_vision_by_its_tag_alone_is_refused():
    for tag in ("dvh1", "dvhe", "dav1"):
        assert f"by its tag {tag}" in why_no_rgb(None, tag)
        assert why_no_rgb(DolbyVision(profile=8, compatibility_id=1), tag) is None
    assert why_no_rgb(None, "hvc1") is None


# Encryption --------------------------------------------------------------------------------------------------


def protection(*, original: bytes | None, scheme: bytes = b"cenc") -> bytes:
    """The content of an encrypted sample entry (ISO/IEC 23001-7)."""
    key_id, iv_size = bytes(range(16)), 8
    tenc = full_box(b"tenc", bytes([0, 0, 1, iv_size]), key_id)
    frma = b"" if original is None else box(b"frma", original)
    return box(b"sinf", frma, full_box(b"schm", scheme, numbers(1 << 16)), box(b"schi", tenc))


@pytest.mark.parametrize(
    ("entry", "inside", "reason"),
    [
        (b"encv", protection(original=b"jpeg"), "it is encrypted (Common Encryption, scheme 'cenc')"),
        (
            b"encv",
            protection(original=b"jpeg", scheme=b"cens"),
            "it is encrypted (Common Encryption, scheme 'cens')",
        ),
        (b"encv", protection(original=None), "it is encrypted (Common Encryption, encv)"),
        (b"encv", b"", "it is encrypted (Common Encryption, encv)"),
        (b"drmi", b"", "it is encrypted (FairPlay, drmi)"),
        (b"zzzz", b"", "its codec has no decoder in this build of FFmpeg"),
    ],
)
def test_an_encrypted_mp4_is_refused_as_such(entry, inside, reason, tmp_path):
    path = mp4_of_picture(tmp_path, sample_entry=entry, entry_boxes=inside)
    with pytest.raises(VideoError) as refused:
        scan_video(path, "video.mp4")
    assert refused.value.reason == reason


def test_an_encrypted_matroska_file_is_refused_as_such(tmp_path):
    encryption = element(
        CONTENT_ENCRYPTION, element(CONTENT_ENC_ALGO, 5), element(CONTENT_ENC_KEY_ID, b"0123456789abcdef")
    )
    encodings = element(
        CONTENT_ENCODINGS, element(CONTENT_ENCODING, element(CONTENT_ENCODING_TYPE, 1), encryption)
    )
    path = tmp_path / "video.mkv"
    path.write_bytes(add_elements(matroska_of([PICTURE]), (SEGMENT, TRACKS, TRACK_ENTRY), encodings))
    with pytest.raises(VideoError, match=r"it is encrypted \(Matroska ContentEncryption\)"):
        scan_video(path, path.name)


class FakePacket:
    """The part of a packet that `why_packet_encrypted` uses."""

    def __init__(self, info: bytes | None) -> None:
        self._info = info

    def has_sidedata(self, kind: str) -> bool:
        return kind == "encryption_info" and self._info is not None

    def get_sidedata(self, kind: str) -> bytes:
        assert kind == "encryption_info"
        return self._info


def encryption_info(*subsamples: tuple[int, int]) -> bytes:
    header = struct.pack(">4s5I", b"cbcs", 1, 9, 16, 8, len(subsamples))
    return header + bytes(24) + b"".join(struct.pack(">2I", *pair) for pair in subsamples)


def test_packets_in_the_clear_are_not_encrypted():
    assert why_packet_encrypted(FakePacket(None), 3) is None
    assert why_packet_encrypted(FakePacket(encryption_info((500, 0), (7, 0))), 3) is None
    expected = "it is encrypted from packet 3 on (Common Encryption, scheme 'cbcs')"
    for info in (encryption_info(), encryption_info((500, 0), (7, 16))):
        assert why_packet_encrypted(FakePacket(info), 3) == expected


@pytest.mark.parametrize(("num_bytes", "num_before"), [(188, 0), (192, 4)])
@pytest.mark.parametrize("scrambling", [2, 3])
def test_a_scrambled_transport_stream_is_refused_as_such(tmp_path, scrambling, num_bytes, num_before):
    path = tmp_path / ("scrambled.ts" if num_bytes == 188 else "scrambled.m2ts")
    write_stream(sample_stream("h264"), path, [(0, 40)])
    clear = path.read_bytes()
    packets = [bytearray(clear[n : n + num_bytes]) for n in range(0, len(clear), num_bytes)]
    for packet in packets:
        header = packet[num_before : num_before + 4]
        if 0x100 <= (header[1] & 0x1F) << 8 | header[2] < 0x1FFF and header[3] & 0x10:
            packet[num_before + 3] |= scrambling << 6
            start = num_before + 4 + (1 + packet[num_before + 4] if header[3] & 0x20 else 0)
            packet[start:] = bytes(byte ^ 0x5A for byte in packet[start:])
    path.write_bytes(b"".join(packets))
    with pytest.raises(VideoError, match=r"it is encrypted \(transport stream: \d+ of its first \d+ packets"):
        scan_video(path, path.name)
