"""What containers and pictures say of how to show them: cropping, shape of pixels, colours, encryption."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from cache_builder.video.container_side_data import (
    ContainerSideData,
    DolbyVision,
    parse_dump,
    parse_records,
    why_no_rgb,
)
from cache_builder.video.convert import FrameConverter
from cache_builder.video.cuda_convert import FrameKind, YuvConverters
from cache_builder.video.decode import VideoReader
from cache_builder.video.encryption import why_packet_encrypted
from cache_builder.video.geometry import WHOLE_PICTURE, ContainerCrop, FrameGeometry, with_aspect
from cache_builder.video.scan import scan_video
from cache_builder.video.yuv_format import YuvFormat
from tests.support.hand_made_mp4 import HandMadeMp4, box, full_box, jpeg_picture, numbers
from tests.support.matroska_edit import (
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
from tests.support.presentations import SYMMETRIES, matrix_of, presentation, show_by_matrix
from tests.support.yuv_reference import make_frame, random_yuv, through_filter

# Frames ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    crop=st.tuples(*[st.integers(0, 9)] * 4),
    is_mirrored=st.booleans(),
    rotation=st.sampled_from([0, 90, 180, 270]),
    resize=st.sampled_from(["crop", "stretch", "pad"]),
    subsampling=st.sampled_from([(2, 2), (1, 1)]),
)
def test_what_the_container_cuts_off_is_as_if_it_had_never_been(
    *, crop, is_mirrored, rotation, resize, subsampling
):
    left, right, top, bottom = crop
    pixel_format = {(2, 2): "yuv420p", (1, 1): "yuv444p"}[subsampling]
    planes = random_yuv(np.random.default_rng(31), 48, 64, subsampling)
    geometry = FrameGeometry(height=20, width=28, resize=resize)
    container_crop = ContainerCrop(left=left, right=right, top=top, bottom=bottom)
    shown = presentation(rotation, is_mirrored=is_mirrored, crop=container_crop)
    got = FrameConverter(geometry, shown).convert(make_frame(pixel_format, planes))

    # FFmpeg's crop filter: offset and size go down to whole chroma samples, where it cuts at all.
    rows = cut(48, top, bottom, subsampling[0])
    columns = cut(64, left, right, subsampling[1])
    kept = [
        plane[rows.start // down : rows.stop // down, columns.start // across : columns.stop // across]
        for plane, (down, across) in zip(planes, ((1, 1), subsampling, subsampling), strict=True)
    ]
    whole = presentation(rotation, is_mirrored=is_mirrored)
    want = FrameConverter(geometry, whole).convert(make_frame(pixel_format, kept))
    np.testing.assert_array_equal(got, want)


def cut(size: int, before: int, behind: int, step: int) -> slice:
    if not before and not behind:
        return slice(0, size)
    first = before - before % step
    left = size - before - behind
    return slice(first, first + left - left % step)


def test_a_crop_that_leaves_nothing_is_refused():
    shown = presentation(crop=ContainerCrop(top=30, bottom=18))
    with pytest.raises(
        ValueError, match="30 rows at the top, 18 rows at the bottom off frames of 64x48: nothing"
    ):
        FrameConverter(FrameGeometry(), shown).convert(av.VideoFrame(64, 48, "yuv420p"))


def test_frames_whose_pixels_are_of_their_own_shape_are_scaled_by_it():
    frame = av.VideoFrame.from_ndarray(np.full((50, 50, 3), 200, np.uint8), "rgb24")
    converter = FrameConverter(FrameGeometry(height=64, width=64, resize="pad"), presentation())
    rows = [
        int(converter.convert(frame, sample_aspect_ratio=aspect).any(axis=(1, 2)).sum())
        for aspect in (None, Fraction(2), Fraction(1), Fraction(4), None)
    ]
    assert rows == [64, 32, 64, 16, 64]


@pytest.mark.parametrize("shown_as", ["mirrored", "cut", "wide"])
def test_planes_of_a_gpu_are_shown_as_frames_of_the_cpu(shown_as):
    crop = ContainerCrop(left=7, right=2, top=5, bottom=4) if shown_as == "cut" else WHOLE_PICTURE
    video = presentation(90, is_mirrored=shown_as == "mirrored", crop=crop)
    own_aspect = Fraction(2) if shown_as == "wide" else None
    y, u, v = random_yuv(np.random.default_rng(33), 48, 64)
    geometry = FrameGeometry(height=20, width=28, resize="pad")
    frame = through_filter(make_frame("yuv420p", [y, u, v]), "setparams", "chroma_location=left")
    want = FrameConverter(geometry, video).convert(frame, sample_aspect_ratio=own_aspect)
    device = torch.device("cpu")
    kind = FrameKind(
        width=64,
        height=48,
        presentation=with_aspect(video, own_aspect),
        yuv_format=YuvFormat(colour_matrix=2, is_full_range=False),
        device=device,
    )
    luma, chroma = torch.from_numpy(y), torch.from_numpy(np.stack([u, v], axis=2))
    got = YuvConverters(geometry).find(kind)(luma, chroma, torch.empty((20, 28, 3), dtype=torch.uint8))
    assert np.abs(got.numpy().astype(int) - want).max() <= 1


# Cropping that the container says ----------------------------------------------------------------------------

PICTURE = np.random.default_rng(5).integers(0, 256, (48, 64, 3), np.uint8)


def stored(path: Path, geometry: FrameGeometry) -> np.ndarray:
    """The first frame as a cache has it."""
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
    # Centred it would begin at column 12 and row 9.
    got = stored(path, FrameGeometry(height=30, width=40))
    np.testing.assert_array_equal(got, whole[14:44, 10:50])
    assert scan_video(path, "video.mp4").facts.notes == [
        "cropped, as its container says: 10 columns at the left, 14 columns at the right, 14 rows at the top, "
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


# What else a container says ----------------------------------------------------------------------------------


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
    """What stands in an encrypted sample entry (ISO/IEC 23001-7)."""
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
    """As much of a packet as `why_packet_encrypted` asks for."""

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
