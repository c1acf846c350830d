"""Packets that give no frame, and are no damage: they hold no picture, or lead up to where a recording begins."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from cache_builder.video.packets.headers import PacketHeader, header_reader
from tests.support.videos.sample_streams import sample_stream, write_stream
from tests.support.videos.three_ways import build, look_up, one_pass, scan

ENDS_OF_STREAM = {"h264": (b"\x0a", b"\x0b"), "hevc": (b"\x48\x01", b"\x4a\x01")}
"""NAL units: H.264, table 7-1, types 10 and 11; H.265, table 7-1, types 36 and 37."""
ACCESS_UNIT_DELIMITER = {"h264": b"\x09\xf0", "hevc": b"\x46\x01\x50"}


def three_ways(path, *, num_frames, verdict="whole"):
    """Build, one pass and look-ups agree; the entry."""
    scanned = scan(path)
    built = build(path, scanned, min_packets=5)
    assert built.entry.verdict == verdict, built.entry.reason
    assert len(built.frames) == num_frames
    assert built.frames == one_pass(path, scanned)
    store, found = look_up(path, scanned, min_packets=5, seed=1, num=num_frames)
    assert len(store) == num_frames
    assert found == dict(enumerate(built.frames))
    return built.entry


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_packet_without_a_picture_gives_no_frame(tmp_path, codec, suffix):
    sample = sample_stream(codec)
    units = b"".join(len(unit).to_bytes(4, "big") + unit for unit in ENDS_OF_STREAM[codec])
    _, pts, dts, duration, _ = sample.packets[-1]
    end = (units, pts + 100 * duration, dts + 100 * duration, duration, False)
    path = tmp_path / f"ended.{suffix}"
    write_stream(replace(sample, packets=(*sample.packets, end)), path, [(0, 41)])
    assert "41 packets gave 40 frames: 1 without a picture" in three_ways(path, num_frames=40).notes


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_nor_does_what_a_parser_finds_after_the_last_picture(tmp_path, codec):
    path = tmp_path / f"ended.{codec}"
    write_stream(sample_stream(codec), path, [(0, 40)])
    path.write_bytes(path.read_bytes() + b"\0\0\0\1" + ACCESS_UNIT_DELIMITER[codec])
    assert "41 packets gave 40 frames: 1 without a picture" in three_ways(path, num_frames=40).notes


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_only_whole_units_are_proof_that_there_is_no_picture(codec):
    delimiter = ACCESS_UNIT_DELIMITER[codec]
    configuration = b"\1\0\0\0\3" if codec == "h264" else b"\1" + bytes(20) + b"\3"
    sized = header_reader(codec, configuration, is_intra_only=False)
    started = header_reader(codec, None, is_intra_only=False)
    length = len(delimiter).to_bytes(4, "big")
    holds_none = PacketHeader(holds_no_picture=True)
    assert sized(memoryview(length + delimiter)) == holds_none
    assert sized(memoryview(length + delimiter + length)) == PacketHeader()
    assert sized(memoryview(length + delimiter[:-1])) == PacketHeader()
    assert started(memoryview(b"\0\0\0\1" + delimiter)) == holds_none
    assert started(memoryview(b"\0\0\1" + delimiter)) == holds_none
    assert started(memoryview(delimiter + b"\0\0\1" + delimiter)) == PacketHeader()


@pytest.mark.parametrize("is_after_others", [False, True])
@pytest.mark.parametrize(
    ("name", "suffix"), [("h264-open", "h264"), ("h264-open", "avi"), ("hevc-open", "hevc"), ("mpeg2", "m2v")]
)
def test_a_recording_without_timestamps_may_begin_at_an_open_gop(tmp_path, name, suffix, is_after_others):
    """Without pts, nothing marks the leading pictures of its first keyframe."""
    sample = sample_stream(name)
    keyframe = np.flatnonzero([packet[4] for packet in sample.packets])[1]
    first = int(keyframe) - 2 * is_after_others
    path = tmp_path / f"late.{suffix}"
    write_stream(sample, path, [(first, 40)])
    if suffix == "h264":  # which repeats its parameter sets at IDR pictures alone
        whole = tmp_path / "whole.h264"
        write_stream(sample, whole, [(0, 40)])
        with av.open(str(whole)) as container:
            path.write_bytes(container.streams.video[0].codec_context.extradata + path.read_bytes())
    scanned = scan(path)
    expected = one_pass(path, scanned)
    assert 20 < len(expected) <= 40 - first
    entry = three_ways(path, num_frames=len(expected))
    if name != "mpeg2":
        (note,) = (note for note in entry.notes if "packets gave" in note)
        assert "before the first that can be decoded" in note or "leading up to a keyframe" in note


@pytest.mark.parametrize("suffix", ["hevc", "mkv"])
def test_a_picture_lost_right_after_the_first_keyframe_is_damage(tmp_path, suffix):
    """HEVC's decoder hands out nothing until the next keyframe; that leads up to nothing."""
    path = tmp_path / f"lost.{suffix}"
    write_stream(sample_stream("hevc"), path, [(0, 1), (3, 40)])
    scanned = scan(path)
    entry = build(path, scanned, min_packets=5).entry
    assert entry.verdict == "damaged"
    assert "a picture before it is missing" in entry.reason


@pytest.mark.parametrize("time_base_denominator", [1000, 90000])
def test_hidden_pictures_are_no_frames_to_the_clock(tmp_path, time_base_denominator):
    """Alternate reference pictures in packets of their own have timestamps of their own, between two frames."""
    sample = sample_stream("vp8")
    packets = []
    for number, (content, *_, is_keyframe) in enumerate(sample.packets):
        pts = round(Fraction(number * time_base_denominator * 1001, 24000))
        if number % 8 == 7:  # its picture first, unseen (RFC 6386, 9.1: show_frame)
            packets.append((bytes([content[0] & ~0x10]) + content[1:], pts - 1, pts - 1, 1, is_keyframe))
        packets.append((content, pts, pts, 1, is_keyframe))
    path = tmp_path / "hidden.mkv"
    retimed = replace(sample, packets=tuple(packets), time_base=Fraction(1, time_base_denominator))
    write_stream(retimed, path, [(0, len(packets))])
    scanned = scan(path)
    built = build(path, scanned, min_packets=5, fps=23.976)
    assert (scanned.facts.num_packets, len(built.frames)) == (45, 40)


def test_what_is_scrambled_of_a_transport_stream_is_damage(tmp_path):
    """FFmpeg passes over scrambled packets in silence, and the rest looks whole."""
    sample = sample_stream("h264")
    clear = tmp_path / "clear.ts"
    write_stream(sample, clear, [(0, len(sample.packets))])
    assert scan(clear).facts.scrambled_part is None
    packets = np.frombuffer(clear.read_bytes(), np.uint8).reshape(-1, 188).copy()
    with av.open(str(clear)) as container:
        pid = container.streams.video[0].id
    is_of_video = ((packets[:, 1] & 0x1F).astype(int) << 8 | packets[:, 2]) == pid
    is_scrambled = is_of_video & (np.arange(len(packets)) >= len(packets) // 2)
    for number in np.flatnonzero(is_scrambled):
        packet = packets[number]
        # The payload comes after an adaptation field, which stays clear.
        payload = 4 if not packet[3] & 0x20 else 5 + packet[4]
        packet[payload:] ^= 0x5A
    packets[is_scrambled, 3] |= 0x80
    half = tmp_path / "half.ts"
    half.write_bytes(packets.tobytes())
    part = scan(half).facts.scrambled_part
    assert part.num_transport_packets == is_scrambled.sum()
    assert part.byte_offset == is_scrambled.argmax() * 188
    built = build(half, scan(half), min_packets=150)
    assert built.entry.verdict == "damaged"
    assert "transport packets are encrypted, the first at byte" in built.entry.reason
    assert len(built.frames) < len(sample.packets)
    assert built.entry.findings.damaged_spans[-1].last_packet == scan(half).facts.num_packets - 1
