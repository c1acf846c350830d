import random
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from cache_builder.errors import UnitNotIndependentError, VideoError
from cache_builder.video.decode import packet_reader
from cache_builder.video.decode.unit_decoder import DecodedFrame, VideoReader
from cache_builder.video.decode.units import gop_units, merge_with_previous
from cache_builder.video.opening.open_video import open_container
from cache_builder.video.scan.video_scan import scan_video
from tests.support.videos.plain_decode import PlainFrame, decode_plainly, plane_md5
from tests.support.videos.tiny_videos import TINY_SPECS, damage_file, tiny_video, truncate_file


def as_plain(frame: DecodedFrame) -> PlainFrame:
    return PlainFrame(md5=plane_md5(frame.frame), pts=frame.pts, is_corrupt=frame.is_corrupt)


def independent_units(reader: VideoReader, min_frames: int) -> list[tuple[int, int]]:
    units = gop_units(reader.scan.packets, min_packets=min_frames)
    while True:
        try:
            for first, end in units:
                for _ in reader.decode(first, end):
                    pass
        except UnitNotIndependentError as error:
            units = merge_with_previous(units, error.first_packet)
        else:
            return units


def assert_units_equal_plain_decode(path: Path, min_frames: int, *, num_units: int | None = None) -> None:
    expected, num_errors = decode_plainly(path)
    with VideoReader(path, scan_video(path, path.name)) as reader:
        units = independent_units(reader, min_frames)
        assert num_units is None or len(units) == num_units
        order = list(range(len(units)))
        random.Random(0).shuffle(order)
        decoded, errors, following = {}, 0, {}
        for number in order:
            decoder = reader.decode(*units[number])
            decoded[number] = [as_plain(frame) for frame in decoder]
            errors += len(decoder.errors)
            following[number] = decoder.following_pts
    joined = [frame for number in range(len(units)) for frame in decoded[number]]
    assert joined == expected
    assert errors == num_errors
    for number in range(len(units) - 1):
        assert following[number] == decoded[number + 1][0].pts
    assert following[len(units) - 1] is None


@pytest.mark.parametrize("spec", TINY_SPECS, ids=lambda spec: spec.path.name)
@pytest.mark.parametrize("min_frames", [1, 10])
def test_units_equal_the_plain_decode(sample_folder, spec, min_frames):
    num_units = 1 if spec.intra_refresh or spec.path.name.startswith("08") else None
    assert_units_equal_plain_decode(sample_folder.path / spec.path, min_frames, num_units=num_units)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".mpg", ".flv", ".h264"])
def test_open_gops_of_h264_in_every_container(tmp_path, suffix):
    spec = tiny_video(
        tmp_path, path=Path(f"v{suffix}"), num_frames=50, gop_size=8, num_b_frames=2, open_gop=True
    )
    assert_units_equal_plain_decode(spec.path, 1, num_units=7)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".flv", ".h264"])
def test_a_seek_reads_little_more_than_the_unit(tmp_path, suffix, monkeypatch):
    codec = "vp9" if suffix == ".webm" else "h264"
    spec = tiny_video(tmp_path, path=Path(f"v{suffix}"), codec=codec, num_frames=120, gop_size=10)
    num_read = 0

    def count_packets(container, stream):
        nonlocal num_read
        for packet in read_packets(container, stream):
            num_read += 1
            yield packet

    read_packets = packet_reader.read_packets
    scan = scan_video(spec.path, "v")
    first = int(np.flatnonzero(scan.packets.can_start_unit)[-2])
    end = int(np.flatnonzero(scan.packets.can_start_unit)[-1])
    monkeypatch.setattr(packet_reader, "read_packets", count_packets)
    with VideoReader(spec.path, scan) as reader:
        frames = list(reader.decode(first, end))
    assert [frame.packet for frame in frames] == list(range(first, end))
    assert num_read < 40


def test_ordinals_and_timestamps_of_frames(sample_folder):
    path = sample_folder.path / "00_open.mkv"
    scan = scan_video(path, "00_open.mkv")
    with VideoReader(path, scan) as reader:
        frames = list(reader.decode(0, len(scan.packets)))
    assert sorted(frame.packet for frame in frames) == list(range(40))
    assert [frame.packet for frame in frames] != list(range(40))
    for frame in frames:
        assert frame.pts == scan.packets.pts[frame.packet]
        assert frame.pts_seconds == float(frame.pts * scan.time_base)


def test_a_stream_without_timestamps(sample_folder):
    path = sample_folder.path / "05_raw.h264"
    with VideoReader(path, scan_video(path, "raw")) as reader:
        frames = list(reader.decode(0, 24))
    assert all(frame.pts is None and np.isnan(frame.pts_seconds) for frame in frames)


def test_stopping_early_and_starting_again(sample_folder):
    path = sample_folder.path / "00_open.mkv"
    expected, _ = decode_plainly(path)
    scan = scan_video(path, "v")
    with VideoReader(path, scan) as reader:
        for _ in range(3):
            decoder = iter(reader.decode(0, len(scan.packets)))
            assert [as_plain(next(decoder)) for _ in range(5)] == expected[:5]


def test_sparse_decoding_leaves_out_what_nobody_needs(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.mp4"), num_frames=60, gop_size=20, num_b_frames=3)
    expected, _ = decode_plainly(spec.path)
    scan = scan_video(spec.path, "v.mp4")
    packet_of_frame = np.argsort(scan.packets.pts, kind="stable")
    with VideoReader(spec.path, scan) as reader:
        in_full = {frame.packet: as_plain(frame) for frame in reader.decode(20, 60)}
        for numbers in ([20], [22], [27, 33], [39], [21, 22, 23, 38], list(range(20, 40))):
            wanted = packet_of_frame[numbers].tolist()
            came = {frame.packet: as_plain(frame) for frame in reader.decode_sparsely(20, wanted)}
            assert [came[packet] for packet in wanted] == [expected[number] for number in numbers]
            assert all(in_full[packet] == frame for packet, frame in came.items() if packet in wanted)
            assert max(came) == max(wanted)
            assert min(came) == 20
            if len(numbers) == 1 and numbers[0] > 30:
                assert len(came) < 0.7 * (max(wanted) - 19)
        # Afterwards the decoder works as before.
        assert {frame.packet: as_plain(frame) for frame in reader.decode(20, 60)} == in_full


def test_a_reader_in_a_hurry_opens_h264_without_decoding(sample_folder, monkeypatch):
    calls = []

    def note_how(path, relative_path, *, decodes_nothing=False, hwaccel=None):
        calls.append(decodes_nothing)
        return open_container(path, relative_path, decodes_nothing=decodes_nothing)

    monkeypatch.setattr("cache_builder.video.decode.backend.open_container", note_how)
    for name, is_h264 in (("01_vfr_rot90.mp4", True), ("00_open.mkv", True), ("06_hevc_10bit.mp4", False)):
        path = sample_folder.path / name
        scan = scan_video(path, name)
        with VideoReader(path, scan) as first:
            expected = [as_plain(frame) for frame in first.decode(0, len(scan.packets))]
        with VideoReader(path, scan, opens_quickly=True) as second:
            assert [as_plain(frame) for frame in second.decode(0, len(scan.packets))] == expected
        assert calls == [False, is_h264]
        calls.clear()


def test_readers_at_the_same_time_do_not_mix_up_ordinals(sample_folder):
    path = sample_folder.path / "00_open.mkv"
    scan = scan_video(path, "v")
    with VideoReader(path, scan) as one, VideoReader(path, scan) as other:
        alone = [frame.packet for frame in one.decode(0, len(scan.packets))]
        both = zip(one.decode(0, len(scan.packets)), other.decode(0, len(scan.packets)), strict=True)
        assert [(a.packet, b.packet) for a, b in both] == [(packet, packet) for packet in alone]


def test_intra_refresh_cannot_start_in_the_middle(sample_folder):
    path = sample_folder.path / "02_refresh.ts"
    scan = scan_video(path, "02_refresh.ts")
    starts = np.flatnonzero(scan.packets.can_start_unit)
    assert len(starts) > 1
    with (
        VideoReader(path, scan) as reader,
        pytest.raises(UnitNotIndependentError, match="02_refresh") as caught,
    ):
        list(reader.decode(int(starts[1]), len(scan.packets)))
    assert caught.value.first_packet == starts[1]


def test_damage_is_reported_where_it_is_and_decoding_goes_on(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.mp4"), num_frames=60, gop_size=10)
    damage_file(spec.path, start=0.45, num_bytes=1500)
    expected, num_errors = decode_plainly(spec.path)
    scan = scan_video(spec.path, "v.mp4")
    hit = [
        i for i in range(60) if scan.packets.pos[i] + scan.packets.size[i] > spec.path.stat().st_size * 0.45
    ]
    with VideoReader(spec.path, scan) as reader:
        decoder = reader.decode(0, 60)
        assert [as_plain(frame) for frame in decoder] == expected
        assert len(decoder.errors) == num_errors
    assert num_errors or any(frame.is_corrupt for frame in expected)
    assert all(error.packet >= hit[0] and error.reason for error in decoder.errors)
    assert expected[-1].is_corrupt is False


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".avi", ".flv", ".mpg"])
def test_truncated_files_give_what_the_plain_decode_gives(tmp_path, suffix):
    spec = tiny_video(tmp_path, path=Path(f"v{suffix}"), num_frames=60, gop_size=10, num_b_frames=2)
    truncate_file(spec.path, 0.7)
    assert_units_equal_plain_decode(spec.path, 150)


def test_a_recording_that_begins_in_the_middle(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.ts"), num_frames=60, gop_size=12, num_b_frames=3, open_gop=True)
    content = spec.path.read_bytes()
    spec.path.write_bytes(content[len(content) // 3 // 188 * 188 :])
    assert_units_equal_plain_decode(spec.path, 1)
    assert scan_video(spec.path, "v").facts.uncounted_reason is not None


def test_an_edit_list_hides_frames(tmp_path):
    spec = tiny_video(tmp_path, path=Path("whole.mp4"), num_frames=50, gop_size=10, num_b_frames=2)
    edited = tmp_path / "edited.mp4"
    with av.open(str(spec.path)) as source, av.open(str(edited), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = int(14 / (25 * source.streams.video[0].time_base))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                target.mux(packet)
    scan = scan_video(edited, "edited.mp4")
    assert scan.packets.is_discarded.any()
    assert scan.facts.uncounted_reason == "edit list"
    assert len(decode_plainly(edited)[0]) < len(scan.packets)
    assert_units_equal_plain_decode(edited, 1)


def test_a_file_that_changed_since_the_scan_is_refused(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.mp4"), num_frames=30)
    other = tiny_video(tmp_path, path=Path("w.mp4"), num_frames=30, video_number=9)
    scan = scan_video(spec.path, "v.mp4")
    shutil.copy(other.path, spec.path)
    with VideoReader(spec.path, scan) as reader, pytest.raises(VideoError, match=r"v\.mp4: .*has changed"):
        list(reader.decode(12, 24))
