"""Opening for a scan: what FFmpeg need not decode to tell the same facts."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from frame_cache_tools.samples import scheduling_kept
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from cache_builder.video.ffmpeg_log import demuxer_log
from cache_builder.video.opening import DEFAULT_LIMITS
from cache_builder.video.packets import nal_length_bytes, nal_unit_types, without_picture_data
from cache_builder.video.scan import opening, packet_pass, scan_video
from tests.support.videos.sample_streams import sample_stream, write_stream

H264_KINDS = ("h264", "h264-b", "h264-open", "h264-refresh", "h264-late-b")


def written(folder, kind_name, suffix="mp4", **options):
    sample = sample_stream(kind_name)
    path = folder / f"{kind_name}.{suffix}"
    write_stream(sample, path, [(0, len(sample.packets))], **options)
    return path


def write_noise(path, *, encoder="libx264", size=(64, 48), num_frames=8, options=None, aspect=Fraction(1)):
    """A video whose packets are large."""
    draw = np.random.default_rng(3)
    with scheduling_kept(), av.open(str(path), "w") as target:
        stream = target.add_stream(encoder, rate=25, options={"preset": "ultrafast"} | (options or {}))
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.sample_aspect_ratio = aspect
        for number in range(num_frames):
            pixels = draw.integers(0, 256, (size[1], size[0], 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def is_opened_undecoded(path):
    with demuxer_log() as log:
        opened, _, is_undecoded = opening.open_to_scan(path, path.name, limits=DEFAULT_LIMITS, log=log)
        opened.close()
    return is_undecoded


def facts_both_ways(path, monkeypatch):
    quick = scan_video(path, "v")
    monkeypatch.setattr(opening, "_may_be_avc_in_mp4", lambda path: False)
    assert not is_opened_undecoded(path)
    full = scan_video(path, "v")
    columns = [getattr(full.packets, name).tobytes() for name in full.packets.__dataclass_fields__]
    assert [getattr(quick.packets, name).tobytes() for name in full.packets.__dataclass_fields__] == columns
    return quick.facts, full.facts


@pytest.mark.parametrize("kind_name", H264_KINDS)
def test_h264_in_mp4_has_the_same_facts_though_opening_decodes_nothing(tmp_path, monkeypatch, kind_name):
    path = written(tmp_path, kind_name)
    assert is_opened_undecoded(path)
    quick, full = facts_both_ways(path, monkeypatch)
    assert quick == full


@pytest.mark.parametrize("flags", ["+ildct+ilme", "+ildct"])
def test_interlaced_h264_has_the_same_facts(tmp_path, monkeypatch, flags):
    path = write_noise(tmp_path / "i.mp4", options={"flags": flags, "x264-params": "interlaced=1"})
    quick, full = facts_both_ways(path, monkeypatch)
    assert full.uncounted_reason == "interlaced"
    assert quick == full


@pytest.mark.parametrize("aspect", [Fraction(0), Fraction(4, 3)])
@pytest.mark.parametrize("has_pasp", [True, False])
def test_the_shape_of_pixels_is_the_same(tmp_path, monkeypatch, aspect, has_pasp):
    path = write_noise(tmp_path / "a.mp4", aspect=aspect)
    if not has_pasp:
        content = path.read_bytes()
        assert content.count(b"pasp") == bool(aspect)
        path.write_bytes(content.replace(b"pasp", b"free"))
    assert is_opened_undecoded(path)
    quick, full = facts_both_ways(path, monkeypatch)
    assert full.presentation.sample_aspect_ratio == ((4, 3) if aspect else None)
    assert quick == full


def test_other_files_are_decoded_while_they_are_opened(tmp_path):
    h264 = written(tmp_path, "h264")
    two_streams = tmp_path / "two.mp4"
    with av.open(str(h264)) as source, av.open(str(two_streams), "w") as target:
        streams = [target.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for packet in source.demux(video=0):
            if packet.size:
                for stream in streams:
                    copy = av.Packet(bytes(packet))
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                    target.mux(copy)
    others = [written(tmp_path, "h264", "mkv"), written(tmp_path, "hevc"), written(tmp_path, "mpeg4")]
    assert [is_opened_undecoded(path) for path in [h264, two_streams, *others]] == [True] + 4 * [False]


def test_a_file_about_which_the_demuxer_complains_is_opened_as_ever(tmp_path, monkeypatch):
    path = written(tmp_path, "h264")
    content = bytearray(path.read_bytes())
    place = content.index(b"mdhd") + 16
    content[place : place + 4] = bytes(4)  # no time scale
    path.write_bytes(content)
    assert not is_opened_undecoded(path)
    quick, full = facts_both_ways(path, monkeypatch)
    assert quick == full


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert not opening._may_be_avc_in_mp4(tmp_path / "pipe.mp4")


@given(st.data())
def test_packets_without_their_picture_data_are_the_same_units(data):
    num_length_bytes = data.draw(st.sampled_from([2, 4]))
    kinds = data.draw(st.lists(st.sampled_from([1, 5, 6, 7, 9]), min_size=1, max_size=5))
    sizes = [data.draw(st.sampled_from([1, 100, 4096, 4097, 9000])) for _ in kinds]
    units = [bytes([kind]) + b"\x55" * (size - 1) for kind, size in zip(kinds, sizes, strict=True)]
    packet = b"".join(len(unit).to_bytes(num_length_bytes, "big") + unit for unit in units)
    cut = without_picture_data(memoryview(packet), "h264", num_length_bytes)
    assert [*nal_unit_types(memoryview(cut), "h264", num_length_bytes)] == kinds
    whole = [unit[:4096] if unit[0] in {1, 5} else unit for unit in units]
    assert cut == b"".join(len(unit).to_bytes(num_length_bytes, "big") + unit for unit in whole)
    longer = packet + b"\0"  # a byte that is of no unit
    assert without_picture_data(memoryview(longer), "h264", num_length_bytes) == longer
    assert without_picture_data(memoryview(packet), "h264", 0) == packet


def breaks_rules(stream, name, content):
    try:
        BitStreamFilterContext(name, stream).filter(av.Packet(content))
    except av.FFmpegError:
        return True
    return False


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_large_packets_break_the_rules_with_and_without_picture_data(tmp_path, codec):
    encoder, options = {
        "h264": ("libx264", {}),
        "hevc": ("libx265", {"x265-params": "log-level=none:pools=none"}),
    }[codec]
    path = write_noise(tmp_path / "v.mp4", encoder=encoder, size=(320, 240), num_frames=3, options=options)
    verdicts = []
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        num_length_bytes = nal_length_bytes(codec, stream.codec_context.extradata)
        packets = [bytes(packet) for packet in source.demux(stream) if packet.size]
        assert min(map(len, packets)) > packet_pass._BYTES_TO_CUT
        for packet in packets:
            end = max(0, packet.find(b"x26") + 2000)  # behind the encoder's own description
            for place in [*range(4, 24), *range(end, end + 20)]:
                spoilt = bytearray(packet)
                spoilt[place] ^= 0x7F
                cut = without_picture_data(memoryview(spoilt), codec, num_length_bytes)
                verdicts.append(
                    [breaks_rules(stream, f"{codec}_metadata", bytes(one)) for one in (spoilt, cut)]
                )
    assert {whole for whole, _ in verdicts} == {True, False}
    assert all(whole == cut for whole, cut in verdicts)


LARGE_PICTURES = {
    "cabac": ("libx264", {"preset": "medium"}),
    "cavlc": ("libx264", {"x264-params": "cabac=0:bframes=3"}),
    "slices": ("libx264", {"x264-params": "slices=4"}),
    "interlaced": ("libx264", {"x264-params": "interlaced=1"}),
    "hevc": ("libx265", {"x265-params": "log-level=none:pools=none"}),
}


def outcome(path):
    try:
        return scan_video(path, "v").facts
    except VideoError as error:
        return str(error)


def outcome_of_whole_packets(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(packet_pass, "_BYTES_TO_CUT", 1 << 40)
        return outcome(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", LARGE_PICTURES)
def test_the_headers_of_a_large_first_picture_tell_its_facts(tmp_path, monkeypatch, kind, suffix):
    encoder, options = LARGE_PICTURES[kind]
    path = tmp_path / f"v.{suffix}"
    write_noise(path, encoder=encoder, size=(320, 240), options=options, aspect=Fraction(4, 3))
    sizes = []
    real = packet_pass.without_picture_data
    monkeypatch.setattr(
        packet_pass, "without_picture_data", lambda *args: sizes.append(len(args[0])) or real(*args)
    )
    facts = outcome(path)
    assert sizes[0] > packet_pass._BYTES_TO_CUT
    assert (facts.width, facts.height, facts.presentation.sample_aspect_ratio) == (320, 240, (4, 3))
    assert facts == outcome_of_whole_packets(path, monkeypatch)


@pytest.mark.parametrize("kind", ["cabac", "hevc"])
def test_a_damaged_large_first_picture_has_the_same_facts(tmp_path, monkeypatch, kind):
    encoder, options = LARGE_PICTURES[kind]
    path = write_noise(tmp_path / "v.mp4", encoder=encoder, size=(320, 240), num_frames=3, options=options)
    content = path.read_bytes()
    with av.open(str(path)) as source:
        first = next(source.demux(video=0))
        begin, packet = first.pos, bytes(first)
    end = begin + max(0, packet.find(b"x26") + 2000)  # behind the encoder's own description
    for place in [*range(begin, begin + 30), *range(end, end + 60, 3), begin + len(packet) - 9]:
        spoilt = bytearray(content)
        spoilt[place] ^= 0x7F
        path.write_bytes(spoilt)
        found, expected = outcome(path), outcome_of_whole_packets(path, monkeypatch)
        assert found == expected, place - begin
