"""What a build reports about damaged, frozen and odd videos, against pixels that show their frame numbers."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from frame_cache_tools.samples.numbered_videos import draw_frame, read_frame

import frame_store
from cache_builder.cli import cache_info, cache_verify
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from cache_builder.video.decode import units as units_module
from cache_builder.video.scan.video_scan import scan_video
from tests.support.caches.tree import generation_folder
from tests.support.commands import SMALL, run
from tests.support.videos.tiny_videos import TINY_SPECS, damage_packets, tiny_video

FPS = 25
NUM_FRAMES = 60
HIT = (17, 18)
"""Packets in the middle of a GOP."""
DAMAGED = {
    "h264.mp4": {"num_b_frames": 2},
    "hevc.mp4": {"codec": "hevc", "num_b_frames": 3, "open_gop": True},
    "mjpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p", "full_range": True},
    "mpeg4.avi": {"codec": "mpeg4"},
}


class Places:
    """Where a video of `DAMAGED` is damaged, found from its packets' timestamps alone."""

    def __init__(self, path):
        packets = scan_video(path, path.name).packets
        keyframes = packets.is_keyframe.nonzero()[0].tolist()
        self.second_hit = [packet for packet in keyframes if packet > HIT[1]][1]
        self.number_of_packet = np.argsort(np.argsort(packets.pts)).tolist()
        self.spans = [self._span(hit, keyframes) for hit in (list(HIT), [self.second_hit])]

    def _span(self, hit, keyframes):
        """(packets, numbers) that damaging the packets `hit` may spoil."""
        number = self.number_of_packet
        end = next((number[packet] for packet in keyframes if packet > hit[-1]), NUM_FRAMES)
        packets = [packet for packet in range(hit[0], NUM_FRAMES) if number[packet] < end]
        return packets, sorted(number[packet] for packet in packets)


@pytest.fixture(scope="module")
def damaged_build(sample_folder, tmp_path_factory):
    """The sample folder and a video of each decoder with two damaged places: (folder, places by name, cache)."""
    folder = tmp_path_factory.mktemp("damaged") / "videos"
    shutil.copytree(sample_folder.path, folder)
    places = {}
    for number, (name, options) in enumerate(DAMAGED.items(), start=20):
        path = tiny_video(
            folder, path=Path("bad") / name, video_number=number, num_frames=NUM_FRAMES, **options
        ).path
        places[name] = Places(path)
        damage_packets(path, [*HIT, places[name].second_hit])
    output = folder.with_name("cache")
    result = run("--videos", folder, "--out", output, *SMALL, "--on-error", "skip")
    assert result.exit_code == EXIT_NOT_WHOLE
    return folder, places, output


def spelled_number(frame):
    try:
        return read_frame(frame)
    except ValueError:
        return None


class TestDamagedVideos:
    @pytest.mark.parametrize("name", DAMAGED)
    def test_every_good_frame_is_there_and_every_bad_span_is_named(self, damaged_build, name):
        _, places, output = damaged_build
        store = frame_store.open_store(output)
        (row,) = [row for row, video in enumerate(store.video_entries) if video.path == f"bad/{name}"]
        video = store.video_entries[row]
        frame_ids = np.flatnonzero(store.index["video_id"] == row)
        frame_ids = frame_ids[np.argsort(store.index["frame_in_video"][frame_ids])]
        numbers = np.round(store.index["pts_seconds"][frame_ids] * FPS).astype(int).tolist()
        spelled = [spelled_number(frame) for frame in store.read_frames(frame_ids)]
        right = {
            number
            for number, told in zip(numbers, spelled, strict=True)
            if told == (20 + [*DAMAGED].index(name), number)
        }
        spoilt = [numbers for _, numbers in places[name].spans]
        assert video.verdict == "damaged"
        assert video.num_frames_stored == video.num_frames_decoded == len(frame_ids)
        assert set(range(NUM_FRAMES)) - set(spoilt[0]) - set(spoilt[1]) <= right
        assert not right & {
            places[name].number_of_packet[packet] for packet in (*HIT, places[name].second_hit)
        }
        assert video.findings.num_damaged_spans == 2
        for span, (packets, shown) in zip(video.findings.damaged_spans, places[name].spans, strict=True):
            there = [ordinal for ordinal, number in enumerate(numbers) if number in shown]
            assert (span.first_packet, span.last_packet) == (packets[0], packets[-1])
            assert span.first_frame == (min(there) if there else None)
            assert span.last_frame == (max(there) if there else None)
            assert [span.first_pts_seconds, span.last_pts_seconds] == pytest.approx(
                [shown[0] / FPS, shown[-1] / FPS]
            )
            assert span.num_packets_without_frame == len(packets) - len(there)

    def test_the_others_are_whole_and_verified(self, damaged_build):
        _, _, output = damaged_build
        videos = frame_store.open_store(output).video_entries
        whole = [video for video in videos if not video.path.startswith("bad/")]
        assert len(whole) == len(TINY_SPECS)
        for video in whole:
            assert video.verdict == "whole"
            assert (video.findings.num_damaged_spans, video.findings.num_frames_duplicate) == (0, 0)
            assert video.findings.num_frames_hashed == video.num_frames_decoded
        assert run(output, command=cache_verify).exit_code == 0

    def test_report_and_info_tell_the_same(self, damaged_build):
        _, _, output = damaged_build
        table = (generation_folder(output) / "videos.jsonl").read_bytes()
        videos = [json.loads(line) for line in table.splitlines()]
        report = json.loads(output.with_name("cache.report.json").read_bytes())
        assert report["videos"] == videos
        assert json.loads(run(output, "--json", command=cache_info).stdout)["videos"] == videos
        table = run(output, "--videos", command=cache_info).stdout.splitlines()
        for video in videos:
            (line,) = [line for line in table if repr(video["path"]) in line]
            assert line.startswith("  !") == (video["verdict"] == "damaged")
            for span in video["findings"]["damaged_spans"]:
                assert f"(packets {span['first_packet']} to {span['last_packet']}, " in line

    def test_units_and_workers_change_nothing(self, damaged_build, tmp_path, monkeypatch):
        """Units of one GOP in one worker, where the fixture decodes whole videos in two."""
        folder, _, output = damaged_build
        monkeypatch.setattr(units_module, "MIN_PACKETS_PER_UNIT", 1)
        flags = ("--size", "64", "--workers", "1", "--on-error", "skip")
        assert run("--videos", folder, "--out", tmp_path / "cache", *flags).exit_code == EXIT_NOT_WHOLE
        cut, uncut = (
            [video.findings for video in frame_store.open_store(path).video_entries]
            for path in (tmp_path / "cache", output)
        )
        assert cut == uncut

    def test_training_goes_on_over_200_videos_with_a_damaged_one(self, tmp_path):
        pytest.importorskip("torch")
        from loader import FrameLoader

        folder = tmp_path / "videos"
        plain = tiny_video(folder, path=Path("000.mp4"), num_frames=5).path
        for number in range(1, 200):
            shutil.copy(plain, folder / f"{number:03d}.mp4")
        damage_packets(folder / "077.mp4", [2])
        output = tmp_path / "cache"
        result = run("--videos", folder, "--out", output, *SMALL, "--on-error", "skip")
        assert result.exit_code == EXIT_NOT_WHOLE
        assert "'077.mp4': damaged" in result.stdout
        store = frame_store.open_store(output)
        assert [video.path for video in store.video_entries if video.verdict != "whole"] == ["077.mp4"]
        ids, spelled = [], set()
        for batch in FrameLoader(store, batch_size=64, remainder="uneven", num_threads=2):
            ids += batch.frame_ids.tolist()
            frames = batch.frames.permute(0, 2, 3, 1).numpy()
            for video, frame, pixels in zip(batch.video_ids, batch.frame_in_video, frames, strict=True):
                if video != 77:
                    spelled.add((int(frame), read_frame(pixels)[1]))
        assert sorted(ids) == list(range(len(store)))
        assert len(store) == 199 * 5 + store.video_entries[77].num_frames_stored
        assert spelled == {(number, number) for number in range(5)}


def write_frames(path, pictures, *, pts=None, second=None, **options):
    """An FFV1 video of RGB pictures at `FPS`, frame i at tick pts[i]; `second` is another video stream's size."""
    with av.open(str(path), "w") as container:
        height, width, _ = pictures[0].shape
        streams = [container.add_stream("ffv1", rate=FPS, width=width, height=height, pix_fmt="yuv420p")]
        if second is not None:
            streams.append(
                container.add_stream("ffv1", rate=FPS, width=second[0], height=second[1], pix_fmt="yuv420p")
            )
        for ordinal, picture in enumerate(pictures):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(picture).reformat(stream.width, stream.height, "yuv420p")
                frame.pts = ordinal if pts is None else pts[ordinal]
                frame.time_base = Fraction(1, FPS)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())


def h264_stream(sizes, *, is_interlaced=False):
    """A raw H.264 stream: for each (width, height, num_frames) a sequence of its own, one after the other."""
    stream = b""
    for width, height, num_frames in sizes:
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = Fraction(1, FPS)
        encoder.options = {"x264-params": f"interlaced={int(is_interlaced)}:keyint=12"}
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(draw_frame(1, number, width, height)).reformat(
                format="yuv420p"
            )
            frame.pts = number
            stream += b"".join(map(bytes, encoder.encode(frame)))
        stream += b"".join(map(bytes, encoder.encode(None)))
    return stream


def write_edited(path, source_path, *, num_hidden):
    """The same packets, shown from frame `num_hidden` on."""
    with av.open(str(source_path)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = int(num_hidden / (FPS * source.streams.video[0].time_base))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                target.mux(packet)


@pytest.fixture(scope="module")
def odd_videos(tmp_path_factory):
    """A folder of one oddity each, built: the manifest's entries by name."""
    folder = tmp_path_factory.mktemp("odd") / "videos"
    folder.mkdir()
    shown = [*range(5), *[5] * 12, 6, 7, 7, 8]
    write_frames(
        folder / "still.mkv",
        [draw_frame(3, number, 160, 96) for number in shown],
        pts=[50 + i + 20 * (i >= 18) for i in range(len(shown))],
    )
    write_frames(folder / "two.mkv", [draw_frame(3, i, 160, 96) for i in range(3)], second=(320, 192))
    (folder / "sizes.h264").write_bytes(h264_stream([(160, 96, 15), (192, 96, 15)]))
    (folder / "fields.h264").write_bytes(h264_stream([(160, 96, 15)], is_interlaced=True))
    plain = tiny_video(folder.parent, path=Path("plain.mp4"), num_frames=50, gop_size=10)
    write_edited(folder / "edited.mp4", plain.path, num_hidden=14)
    gap = tiny_video(folder, path=Path("gap.ts"), num_frames=60, gop_size=10).path
    content = gap.read_bytes()
    hole = int(scan_video(gap, "gap.ts").packets.pos[30]) + 188
    gap.write_bytes(content[:hole] + content[hole + 188 :])
    output = folder.with_name("cache")
    assert run("--videos", folder, "--out", output, *SMALL, "--on-error", "skip").exit_code == EXIT_NOT_WHOLE
    return {video.path: video for video in frame_store.open_store(output).video_entries}


class TestOddVideos:
    def test_frozen_frames_and_timestamps(self, odd_videos):
        video = odd_videos["still.mkv"]
        findings = video.findings
        assert video.verdict == "whole"
        assert findings.duplicate_runs == [(5, 16), (18, 19)]
        assert (findings.num_frames_duplicate, findings.longest_duplicate_run) == (12, (5, 16))
        assert findings.start_offset_seconds == pytest.approx(2.0)
        assert findings.median_step_seconds == pytest.approx(1 / FPS)
        assert [(gap.frame, gap.seconds) for gap in findings.pts_gaps] == [(18, pytest.approx(21 / FPS))]
        assert video.notes == [
            "1 gap in its timestamps, the first of 0.840 s before frame 18",
            "frozen from frame 5 to 16",
        ]

    def test_the_stream_that_is_taken_is_named(self, odd_videos):
        video = odd_videos["two.mkv"]
        assert (video.facts["stream_choice"], video.facts["num_video_streams"]) == ("best", 2)
        (note,) = video.notes
        assert note == f"of its 2 video streams number {video.facts['stream_index']} is taken, FFmpeg's best"

    def test_a_new_size_on_the_way(self, odd_videos):
        video = odd_videos["sizes.h264"]
        (change,) = video.findings.format_changes
        assert (change.frame, change.before.width, change.after.width) == (15, 160, 192)
        assert "1 change of picture format, the first at frame 15: width 160 to 192" in video.notes
        assert odd_videos["still.mkv"].findings.num_format_changes == 0

    def test_interlaced_frames(self, odd_videos):
        assert odd_videos["fields.h264"].findings.num_frames_interlaced == 15
        assert odd_videos["sizes.h264"].findings.num_frames_interlaced == 0

    def test_what_an_edit_list_hides(self, odd_videos):
        video = odd_videos["edited.mp4"]
        findings = video.findings
        assert findings.num_packets_discarded == video.num_packets - video.num_frames_decoded > 0
        assert f"an edit list hides {findings.num_packets_discarded} packets" in video.notes

    def test_bytes_missing_from_a_transport_stream(self, odd_videos):
        """They are of packet 30; the parser flags what it hands out when that one comes in."""
        video = odd_videos["gap.ts"]
        assert video.verdict == "damaged"
        assert video.findings.num_packets_corrupt == 1
        assert "1 packet flagged corrupt by the demuxer" in video.reason
        (span,) = video.findings.damaged_spans
        assert (span.first_packet, span.last_packet) == (29, 39)
