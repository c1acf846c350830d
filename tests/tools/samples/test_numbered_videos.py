"""Numbered frames are read back after every change that a cache makes, and refused if they are uncertain."""

import os
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from av.video.reformatter import Interpolation
from frame_cache_tools.samples import numbered_videos, scheduling_kept
from frame_cache_tools.samples.numbered_videos import (
    NumberedVideo,
    draw_frame,
    pts_in_ticks,
    read_frame,
    write_numbered_video,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.videos.tiny_videos import TINY_SPECS, decode_upright, tiny_video

video_numbers = st.integers(0, 2**16 - 1)
frame_numbers = st.integers(0, 2**20 - 1)
sides = st.integers(64, 400)


def resized(rgb, width, height):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return frame.reformat(width, height, "rgb24", interpolation=Interpolation.AREA).to_ndarray()


def centre(rgb, width, height):
    """The middle of a picture, by whole pixels."""
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    return rgb[top : top + height, left : left + width]


def through_jpeg(rgb):
    return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(rgb, quality=95, colorsubsampling="420"))


@given(video_numbers, frame_numbers, sides, sides)
def test_a_drawn_frame_shows_its_numbers(video_number, frame_number, width, height):
    frame = draw_frame(video_number, frame_number, width, height)
    assert frame.shape == (height, width, 3)
    assert frame.dtype == np.uint8
    assert read_frame(frame) == (video_number, frame_number)


@given(video_numbers, frame_numbers, sides, sides)
def test_it_is_read_after_a_square_crop_and_jpeg(video_number, frame_number, width, height):
    frame = draw_frame(video_number, frame_number, width, height)
    side = min(width, height)
    cached = through_jpeg(resized(centre(frame, side, side), 224, 224))
    assert read_frame(cached) == (video_number, frame_number)


@given(video_numbers, frame_numbers, sides, sides)
def test_it_is_read_after_stretching_and_padding(video_number, frame_number, width, height):
    frame = draw_frame(video_number, frame_number, width, height)
    stretched = resized(frame, 224, 192)
    assert read_frame(stretched, source_size=(width, height), resize="stretch") == (
        video_number,
        frame_number,
    )
    scale = min(224 / width, 192 / height)
    small = resized(frame, round(width * scale), round(height * scale))
    padded = np.zeros((192, 224, 3), np.uint8)
    centre(padded, small.shape[1], small.shape[0])[:] = small
    if min(small.shape[:2]) >= 64:
        assert read_frame(padded, source_size=(width, height), resize="pad") == (video_number, frame_number)


@given(video_numbers, frame_numbers, sides, sides)
def test_it_is_read_after_the_centre_4_by_3_is_stretched(video_number, frame_number, width, height):
    frame = draw_frame(video_number, frame_number, width, height)
    seen = centre(frame, round(min(width, height * 4 / 3)), round(min(height, width * 3 / 4)))
    cached = through_jpeg(resized(seen, 224, 224))
    numbers = read_frame(cached, source_size=(width, height), resize="stretch", crop_aspect=Fraction(4, 3))
    assert numbers == (video_number, frame_number)


def test_it_is_read_after_a_crop_to_another_aspect():
    wide = resized(centre(draw_frame(3, 70, 320, 180), 320, 160), 256, 128)
    assert read_frame(wide, source_size=(320, 180)) == (3, 70)


def test_a_panel_outside_the_crop_is_refused():
    banner = centre(draw_frame(3, 70, 180, 320), 180, 90)
    with pytest.raises(ValueError, match="not inside this picture"):
        read_frame(banner, source_size=(180, 320))


@pytest.mark.parametrize("sample_aspect_ratio", [Fraction(4, 3), Fraction(10, 11), Fraction(2, 1)])
def test_the_panel_is_square_once_pixels_are(sample_aspect_ratio):
    stored = draw_frame(9, 8, 160, 120, sample_aspect_ratio)
    shown = resized(stored, round(160 * sample_aspect_ratio), 120)
    assert read_frame(shown) == (9, 8)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_turned_frame_is_refused(quarter_turns):
    turned = np.rot90(draw_frame(1, 2, 128, 128), quarter_turns)
    with pytest.raises(ValueError, match="the picture is turned"):
        read_frame(turned)


@pytest.mark.parametrize("video_number", [0, 1, 77])
def test_a_mirrored_frame_is_refused(video_number):
    # Transposition is the only mirror image that keeps the corner marks in their places.
    transposed = draw_frame(video_number, 2, 128, 128).transpose(1, 0, 2)
    with pytest.raises(ValueError, match="mirrored"):
        read_frame(transposed)


@given(video_numbers, frame_numbers, st.integers(0, 63))
def test_any_wrong_cell_is_refused(video_number, frame_number, cell):
    frame = draw_frame(video_number, frame_number, 128, 128)
    row, column = 16 + cell // 8 * 12, 16 + cell % 8 * 12  # the panel is 96 of 128 pixels, a cell 12
    bright = frame[row + 6, column + 6] @ [0.299, 0.587, 0.114] > 127
    frame[row : row + 12, column : column + 12] = 0 if bright else 255
    with pytest.raises(ValueError, match=r"checksum|corner"):
        read_frame(frame)


def test_a_cell_between_bright_and_dark_is_refused():
    frame = draw_frame(5, 6, 128, 128)
    frame[16 + 36 : 16 + 48, 16 + 36 : 16 + 48] = 127
    with pytest.raises(ValueError, match="neither bright nor dark"):
        read_frame(frame)


def test_a_mean_of_two_frames_is_refused():
    pair = [draw_frame(5, frame_number, 128, 128).astype(int) for frame_number in (6, 9)]
    with pytest.raises(ValueError, match="neither bright nor dark"):
        read_frame((sum(pair) // 2).astype(np.uint8))


@given(st.integers(0, 2**32 - 1))
def test_noise_is_refused(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(ValueError):
        read_frame(noise)


def test_a_plain_picture_is_refused():
    with pytest.raises(ValueError, match="shows no panel"):
        read_frame(np.full((224, 224, 3), 90, np.uint8))


def test_another_geometry_is_refused():
    with pytest.raises(ValueError, match="geometry"):
        read_frame(resized(draw_frame(5, 6, 320, 180), 224, 224))


@pytest.mark.parametrize(
    ("numbers", "size", "message"),
    [
        ((-1, 0), (128, 128), "video number is -1"),
        ((2**16, 0), (128, 128), "video number is 65536"),
        ((0, 2**20), (128, 128), "frame number is 1048576"),
        ((0, 0), (200, 40), "200x40 is too small"),
    ],
)
def test_what_cannot_be_drawn_is_refused(numbers, size, message):
    with pytest.raises(ValueError, match=message):
        draw_frame(*numbers, *size)


def test_neighbouring_frames_differ_outside_the_panel_too():
    first, second = draw_frame(4, 10, 160, 96), draw_frame(4, 11, 160, 96)
    assert np.mean(np.any(first != second, axis=2)[:, :40]) > 0.9


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"codec": "h265"}, "codec is 'h265', expected one of h264, hevc"),
        ({"path": Path("a.txt")}, "suffix of a.txt"),
        ({"path": Path("a.mkv"), "rotation_degrees": 90}, ".mkv cannot store a rotation"),
        ({"path": Path("a.avi"), "variable_rate": True}, ".avi cannot store a variable rate"),
        ({"codec": "hevc", "intra_refresh": True}, "needs h264, found hevc"),
        ({"open_gop": True, "num_b_frames": 3, "gop_size": 5}, "not open"),
        ({"open_gop": True}, "not open"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"video_number": 70000}, "video number is 70000"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(traits, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        NumberedVideo(**{"path": Path("a.mp4"), **traits})


@pytest.mark.parametrize("number", range(len(TINY_SPECS)), ids=lambda number: TINY_SPECS[number].path.name)
def test_every_frame_of_a_video_shows_its_numbers(sample_folder, number):
    spec = sample_folder.specs[number]
    expected = [(number, frame_number) for frame_number in range(spec.num_frames)]
    frames = decode_upright(spec.path)
    assert {frame.shape for frame in frames} == {(spec.height, spec.width, 3)}
    assert [read_frame(f, source_size=spec.display_size, resize="stretch") for f in frames] == expected

    width, height = spec.width, spec.height
    ratio = spec.upright_aspect_ratio
    side = min(width * ratio, height)
    squares = [resized(centre(frame, round(side / ratio), round(side)), 224, 224) for frame in frames]
    assert [read_frame(through_jpeg(square)) for square in squares] == expected


def packets_and_frames(path):
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return packets, frames


@pytest.mark.parametrize(
    "spec_number", range(len(TINY_SPECS)), ids=lambda number: TINY_SPECS[number].path.name
)
def test_a_video_has_the_traits_it_was_asked_for(sample_folder, spec_number):
    spec = sample_folder.specs[spec_number]
    with av.open(str(spec.path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.codec.canonical_name == spec.codec
        assert (context.width, context.height) == spec.stored_size
        tags = {"unspecified": (2, 5), "bt601": (5, 6), "bt709": (1,), "bt2020": (9,)}  # 5: mjpeg is BT.601
        assert context.colorspace in tags[spec.color_matrix]
        assert (context.color_range == 2) == spec.full_range
        # FFmpeg has names of its own for full range.
        assert context.pix_fmt.replace("yuvj", "yuv") == spec.pixel_format.replace("yuvj", "yuv")
        assert (stream.sample_aspect_ratio or 1) == spec.sample_aspect_ratio
    packets, frames = packets_and_frames(spec.path)
    assert {frame.rotation % 360 for frame in frames} == {spec.rotation_degrees}
    types = [av.video.frame.PictureType(frame.pict_type).name for frame in frames]
    assert ("B" in types) == (spec.num_b_frames > 0)
    # MJPEG has keyframes only; FFmpeg shortens the closed GOPs of its own encoders to end in a P-frame.
    if spec.codec != "mjpeg" and not (
        spec.codec.startswith("mpeg") and spec.num_b_frames and not spec.open_gop
    ):
        keys = [number for number, frame in enumerate(frames) if frame.key_frame]
        expected_keys = [0] if spec.intra_refresh else list(range(0, spec.num_frames, spec.gop_size))
        assert keys == expected_keys
    if all(packet.pts is not None for packet in packets) and spec.path.suffix != ".avi":
        key_pts, num_leading = None, 0
        for packet in packets:
            key_pts = packet.pts if packet.is_keyframe else key_pts
            num_leading += packet.pts < key_pts
        assert (num_leading > 0) == spec.open_gop
    if spec.variable_rate:
        ticks = [round((frame.pts - frames[0].pts) * frame.time_base * spec.fps) for frame in frames]
        assert ticks == pts_in_ticks(spec)
        assert set(np.diff(ticks)) == {1, 2, 3, 5}


def accurate_rgb(frame):
    flags = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    rgb = frame.reformat(format="rgb24", interpolation=flags | Interpolation.FULL_CHR_H_INP).to_ndarray()
    return np.rot90(rgb, frame.rotation // 90)


@pytest.mark.parametrize("number", range(len(TINY_SPECS)), ids=lambda number: TINY_SPECS[number].path.name)
def test_colours_come_back(sample_folder, number):
    spec = sample_folder.specs[number]
    _, frames = packets_and_frames(spec.path)
    for frame_number, frame in enumerate(frames):
        drawn = draw_frame(number, frame_number, spec.width, spec.height, spec.upright_aspect_ratio)
        # A wrong matrix or range moves most pixels by more than the encoders do.
        assert np.median(np.abs(accurate_rgb(frame).astype(int) - drawn)) <= 6


def test_the_display_size_is_that_of_the_turned_picture():
    spec = NumberedVideo(
        path=Path("a.mp4"), width=180, height=320, sample_aspect_ratio=Fraction(4, 3), rotation_degrees=90
    )
    # Stored as 320x180 pixels of 4:3, which fill 426.7x180 square pixels; turned, 180x426.7.
    width, height = spec.display_size
    assert height / width == pytest.approx(320 * 4 / 3 / 180)


def test_closed_gops_are_closed(tmp_path):
    spec = tiny_video(tmp_path, path=Path("a.mpg"), codec="mpeg2video", num_b_frames=2)
    packets, _ = packets_and_frames(spec.path)
    pts = [packet.pts for packet in packets]
    keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    assert len(keys) == 3
    assert all(min(pts[key:]) == pts[key] for key in keys)


def test_raw_streams_hold_no_pts(sample_folder):
    spec = next(spec for spec in sample_folder.specs if spec.path.suffix == ".h264")
    _, frames = packets_and_frames(spec.path)
    assert {frame.pts for frame in frames} == {None}


@pytest.mark.parametrize(
    "traits", [{"codec": "av1", "path": Path("a.mkv")}, {"codec": "hevc"}, {"codec": "vp9"}]
)
def test_the_same_spec_makes_the_same_bytes(tmp_path, traits):
    first, second = (tiny_video(tmp_path / name, num_frames=40, **traits) for name in ("a", "b"))
    assert first.path.read_bytes() == second.path.read_bytes()


def test_a_video_that_fails_leaves_nothing(tmp_path):
    spec = NumberedVideo(path=tmp_path / "odd.mp4", width=161, height=97)  # libx264 takes no odd 4:2:0
    with pytest.raises(av.FFmpegError):
        write_numbered_video(spec)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_video_leaves_nothing(tmp_path, monkeypatch):
    def interrupted_frames(spec):
        yield from list(real_frames(spec))[:20]
        raise KeyboardInterrupt

    real_frames = numbered_videos._frames_to_encode
    monkeypatch.setattr(numbered_videos, "_frames_to_encode", interrupted_frames)
    with pytest.raises(KeyboardInterrupt):
        tiny_video(tmp_path, codec="mpeg4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler"), reason="only Linux tells how a process is scheduled"
)
def test_an_encoder_leaves_the_scheduling_of_the_process_alone(tmp_path):
    """SVT-AV1 makes a process of root a real-time process, which keeps others from the CPU."""
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    with scheduling_kept():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    write_numbered_video(NumberedVideo(path=tmp_path / "one.mp4", video_number=1, num_frames=2, codec="av1"))
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
