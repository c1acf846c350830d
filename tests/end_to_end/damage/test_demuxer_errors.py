"""What a demuxer passes over and reports in its log alone: the build names it, and leaves out nothing whole."""

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import av
import av.logging
import numpy as np
import pytest

import frame_store
from cache_builder import open_videos
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from cache_builder.errors import VideoError
from cache_builder.video.ffmpeg_log.capture import MAX_CHARACTERS
from cache_builder.video.ffmpeg_log.demuxer import DemuxerLog, demuxer_log
from cache_builder.video.opening.limits import DEFAULT_LIMITS
from cache_builder.video.scan.error_places import place_errors
from cache_builder.video.scan.video_scan import scan_video
from tests.support.caches.numbered_store import shown_numbers
from tests.support.commands import SMALL, run
from tests.support.videos.tiny_videos import TINY_SPECS, remux, tiny_video, truncate_file

FPS = 25
GOP = 20
NUM_FRAMES = 80
CODECS = {
    "vp9": {"encoder_options": (("auto-alt-ref", "0"), ("lag-in-frames", "0"))},
    "h264": {"num_b_frames": 2},
    "hevc": {"num_b_frames": 2},
}


SHORT_CLUSTERS = {"cluster_time_limit": "200"}
CLUSTER_A_GOP = {"dash": "1"}


def matroska(path, muxer_options=SHORT_CLUSTERS, **options):
    """A video in short clusters: a demuxer that has lost its way goes on at the next one."""
    plain = tiny_video(
        path.parent, path=Path("plain.mp4"), num_frames=NUM_FRAMES, gop_size=GOP, **options
    ).path
    remux(plain, path, options=muxer_options)
    plain.unlink()


def wipe_packets(path, first, end):
    """Zeros where the packets from `first` to before `end` were, and the headers of all but the first's block."""
    pos = scan_video(path, path.name).packets.pos
    content = bytearray(path.read_bytes())
    content[pos[first] : pos[end]] = bytes(pos[end] - pos[first])
    path.write_bytes(content)


def build(folder):
    output = folder.with_name("cache")
    result = run("--videos", folder, "--out", output, *SMALL, "--on-error", "skip")
    assert result.exit_code == EXIT_NOT_WHOLE
    return frame_store.open_store(output), result.stdout


class TestLostPackets:
    @pytest.mark.parametrize("codec", CODECS)
    def test_every_frame_outside_the_spans_is_right(self, tmp_path, codec):
        folder = tmp_path / "videos"
        folder.mkdir()
        matroska(folder / "lost.mkv", codec=codec, **CODECS[codec])
        wipe_packets(folder / "lost.mkv", GOP + 5, GOP + 8)
        store, text = build(folder)
        (video,) = store.video_entries
        assert video.verdict == "damaged"
        assert video.num_packets < NUM_FRAMES
        assert "demuxer error (the first: 0x00 at pos " in video.reason
        assert "demuxer error" in text
        assert video.facts["num_demuxer_errors"] > 0
        (span,) = video.findings.damaged_spans
        numbers, spelled = shown_numbers(store)
        in_span = [] if span.first_frame is None else range(span.first_frame, span.last_frame + 1)
        trusted = [place for place in range(len(numbers)) if place not in in_span]
        assert [numbers[place] for place in trusted] == [spelled[place] for place in trusted]
        # Nothing else is doubted: the GOPs before and after, and the frames before the loss, are all trusted.
        assert {numbers[place] for place in trusted} >= {*range(GOP + 2), *range(2 * GOP, NUM_FRAMES)}
        assert span.last_pts_seconds < 2 * GOP / FPS

    def test_a_keyframe_after_the_loss_is_right_and_ends_the_span(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        matroska(folder / "lost.mkv", CLUSTER_A_GOP, codec="vp9", **CODECS["vp9"])
        wipe_packets(folder / "lost.mkv", GOP + 12, GOP + 15)
        store, _ = build(folder)
        (video,) = store.video_entries
        assert video.verdict == "damaged"
        (span,) = video.findings.damaged_spans
        numbers, spelled = shown_numbers(store)
        assert numbers == spelled
        assert numbers[span.first_frame : span.last_frame + 1] == [GOP + 11]
        assert numbers[span.last_frame + 1] == 2 * GOP

    def test_stops_before_any_decoding(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        matroska(folder / "lost.mkv", codec="vp9", **CODECS["vp9"])
        wipe_packets(folder / "lost.mkv", GOP + 5, GOP + 8)
        path = tiny_video(folder, path=Path("cut.ts"), num_frames=40).path
        content = path.read_bytes()
        path.write_bytes(content[: 188 * 40] + content[188 * 42 :])  # the counters of its packets skip two
        result = run("--videos", folder, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert "cut.ts: " in result.stderr and "1 packet flagged corrupt by the demuxer" in result.stderr
        assert "lost.mkv: 1 demuxer error (the first: " in result.stderr
        assert not (tmp_path / "cache").exists()
        assert not (tmp_path / "cache.building").exists()

    def test_a_file_that_ends_too_early(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        path = tiny_video(folder, path=Path("cut.mkv"), num_frames=NUM_FRAMES, gop_size=GOP).path
        truncate_file(path, 0.6)
        store, _ = build(folder)
        (video,) = store.video_entries
        assert video.verdict == "damaged"
        assert "File ended prematurely" in video.reason
        (span,) = video.findings.damaged_spans
        assert span.last_packet == video.num_packets - 1
        assert span.first_packet == span.last_packet

    def test_complaints_of_the_header_alone_are_a_note(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        path = tiny_video(folder, path=Path("header.mkv"), num_frames=30).path
        content = path.read_bytes()
        name = content.index(b"\x4d\x80")  # the muxer's name, in the segment's information
        path.write_bytes(content[:name] + b"\x00" + content[name + 1 :])
        shutil.copy(path, folder / "plain.mkv")
        (folder / "broken.mkv").write_bytes(b"no video")
        store, text = build(folder)
        video = store.video_entries[1]
        assert (video.path, video.verdict) == ("header.mkv", "whole")
        assert video.facts["num_demuxer_errors"] > 0
        (note,) = [note for note in video.notes if "demuxer error" in note]
        assert note.endswith("all before its first packet")
        assert note in text

    def test_live_frames_are_those_of_the_cache(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        matroska(folder / "lost.mkv", codec="h264", **CODECS["h264"])
        wipe_packets(folder / "lost.mkv", GOP + 5, GOP + 8)
        store, _ = build(folder)
        live = open_videos(folder, size=64)
        assert len(live) == len(store)
        order = np.argsort(store.index["frame_in_video"])
        np.testing.assert_array_equal(live.index["pts_seconds"], store.index["pts_seconds"][order])


def sound_before_pictures(path, num_frames=50):
    """An FLV of a codec without a header: nothing describes its pictures before their first packet."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=44100, layout="mono")
        video = container.add_stream("flv", rate=FPS, options={"g": "10"})
        video.width, video.height = 64, 48
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 44100 // FPS), np.int16), format="s16", layout="mono"
        )
        silence.sample_rate = 44100
        for number in range(num_frames):
            silence.pts = number * silence.samples
            container.mux(sound.encode(silence))
            shade = np.full((48, 64, 3), 4 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(video.encode())


class TestPlaceErrors:
    def test_in_a_file_that_names_its_streams_on_the_way(self, tmp_path):
        path = tmp_path / "late.flv"
        sound_before_pictures(path)
        clean = scan_video(path, path.name)
        assert (clean.facts.stream_index, clean.facts.num_demuxer_errors) == (1, 0)
        assert not clean.packets.is_at_demuxer_error.any()
        assert len(clean.packets) == 50
        content = bytearray(path.read_bytes())
        content[int(clean.packets.pos[25]) - 1] ^= 0xFF  # the length of the tag before
        path.write_bytes(content)
        damaged = scan_video(path, path.name)
        assert damaged.facts.num_demuxer_errors > 0
        assert (damaged.packets.is_at_demuxer_error.nonzero()[0] // 5).tolist() == [5]


class TestDemuxerLog:
    def test_says_nothing_of_good_videos(self, sample_folder):
        for spec in sample_folder.specs:
            facts = scan_video(spec.path, spec.path.name).facts
            assert (facts.num_demuxer_errors, facts.first_demuxer_error) == (0, None)
        assert len(sample_folder.specs) == len(TINY_SPECS)

    def test_a_complaint_is_laid_at_what_it_may_harm(self):
        log = DemuxerLog([])
        is_keyframe = np.array([True, False, False, True, False])
        container = FakeContainer()
        for next_packet in (0, 2, 3, 5):
            log.note_returned("lost")
            log.note(container, next_packet=next_packet)
            log.note(container, next_packet=next_packet + 1)
        # Before the first packet: none. Before a keyframe, or at the end: the packet before.
        assert log.packets_at_errors(is_keyframe).tolist() == [False, False, True, False, True]
        assert log.num_errors == 4

    def test_takes_the_messages_of_the_demuxer_alone_and_in_one_short_line(self):
        with demuxer_log() as log:
            av.logging.log(av.logging.ERROR, "h264", "no frame!")
            log.note(FakeContainer(), next_packet=0)
            assert log.num_errors == 0
            for _ in range(3):
                av.logging.log(av.logging.ERROR, "matroska", "tag \n\x1b[31m" + "x" * 500)
            av.logging.log(av.logging.WARNING, "matroska", "nothing much")
            log.note_returned("said in the log already")
            log.note(FakeContainer(), next_packet=1)
        assert log.num_errors == 3
        assert log.first_error.startswith("tag ")
        assert log.first_error.isprintable()
        assert len(log.first_error) == MAX_CHARACTERS + 3

    def test_the_decoder_of_a_bare_stream_is_not_its_demuxer(self):
        with demuxer_log() as log:
            av.logging.log(av.logging.ERROR, "h264", "non-existing PPS 0 referenced")
            log.note(FakeContainer("h264"), next_packet=1)
        assert log.num_errors == 0

    def test_a_stream_that_shows_late(self, tmp_path):
        """FLV names no streams: they are what packets are of."""
        path = tmp_path / "late.flv"
        write_flv_with_sound_first(path, num_frames=5)
        with av.open(str(path), options={"probesize": "32", "analyzeduration": "1"}) as container:
            assert not container.streams.video
        log = place_errors(path, path.name, stream_index=1, limits=DEFAULT_LIMITS)
        assert log.num_errors == 0
        with pytest.raises(VideoError, match="the file has changed"):
            place_errors(path, path.name, stream_index=0, limits=DEFAULT_LIMITS)

    def test_leaves_the_log_as_it_was_and_other_threads_alone(self):
        before = (av.logging.get_level(), av.logging.get_skip_repeated())
        with demuxer_log() as log:
            other = threading.Thread(target=av.logging.log, args=(av.logging.ERROR, "matroska", "elsewhere"))
            other.start()
            other.join()
            log.note(FakeContainer(), next_packet=0)
        assert log.num_errors == 0
        assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


def write_flv_with_sound_first(path, *, num_frames):
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=44100, layout="mono")
        pictures = container.add_stream("flv1", rate=FPS)
        pictures.width = pictures.height = 64
        for _ in range(20):
            silence = av.AudioFrame("s16", "mono", 1024)
            silence.sample_rate = 44100
            container.mux(sound.encode(silence))
        for _ in range(num_frames):
            container.mux(pictures.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(pictures.encode(None))


class FakeContainer:
    """As far as `DemuxerLog` looks at one."""

    def __init__(self, demuxer="matroska"):
        decoder = SimpleNamespace(codec=SimpleNamespace(canonical_name="h264"))
        self.format = SimpleNamespace(name=demuxer)
        self.streams = SimpleNamespace(video=[SimpleNamespace(codec_context=decoder)])
