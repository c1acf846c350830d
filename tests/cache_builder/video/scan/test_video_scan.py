import io
import math
import os
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from cache_builder.folder_scan import scan_cache as scan_cache_module
from cache_builder.folder_scan import scan_job as scan_job_module
from cache_builder.folder_scan.scan_cache import scan_frames, scan_videos
from cache_builder.sources import discover_videos
from cache_builder.video.decode.frame_table import count_frames, predict_frames
from cache_builder.video.packets.table import NO_PTS
from cache_builder.video.scan.video_scan import VideoScan, scan_video, tick_to_seconds, ticks_to_seconds
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.videos.plain_decode import decode_plainly, in_rising_order
from tests.support.videos.tiny_videos import (
    TINY_SPECS,
    damage_file,
    tiny_video,
    truncate_file,
    write_audio_only,
    write_nothing,
    write_still_image,
    write_text,
)

SUFFIX_TO_CONTAINER = {
    ".mp4": "mov",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".mpg": "mpeg",
    ".flv": "flv",
    ".h264": "h264",
}


@pytest.mark.parametrize("spec", TINY_SPECS, ids=lambda spec: spec.path.name)
def test_facts_of_a_sample(sample_folder, spec):
    path = sample_folder.path / spec.path
    scan = scan_video(path, spec.path.as_posix())
    facts = scan.facts
    assert facts.path == spec.path.as_posix()
    assert facts.num_bytes == path.stat().st_size
    assert SUFFIX_TO_CONTAINER[spec.path.suffix] in facts.container.split(",")
    assert facts.codec == spec.codec
    assert (facts.width, facts.height) == spec.stored_size
    assert facts.pixel_format.replace("yuvj", "yuv") == spec.pixel_format.replace("yuvj", "yuv")
    assert facts.color_range == ("full" if spec.full_range else facts.color_range)
    if spec.color_matrix in ("bt709", "bt2020"):
        assert facts.color_matrix == {"bt709": "bt709", "bt2020": "bt2020nc"}[spec.color_matrix]
    assert 90 * facts.presentation.num_quarter_turns == spec.rotation_degrees
    assert facts.num_packets == len(scan.packets) == spec.num_frames
    assert facts.num_keyframes >= 1
    assert facts.num_frames_in_header in (None, spec.num_frames)
    assert facts.has_pts == (spec.path.suffix != ".h264")
    if spec.sample_aspect_ratio != 1:
        assert facts.presentation.plain.sample_aspect_ratio == spec.sample_aspect_ratio
    assert facts.unsplittable_reason is None


@pytest.mark.parametrize("spec", TINY_SPECS, ids=lambda spec: spec.path.name)
def test_frames_told_by_packets_are_those_decoded(sample_folder, spec):
    path = sample_folder.path / spec.path
    scan = scan_video(path, "v")
    counted = count_frames(path, scan)
    expected = in_rising_order(path, [frame.pts for frame in decode_plainly(path)[0]])
    assert counted.pts.tolist() == [NO_PTS if pts is None else pts for pts in expected]
    predicted = predict_frames(scan)
    if predicted is None:
        is_open = spec.open_gop or spec.intra_refresh or spec.codec == "mpeg4"
        assert is_open or spec.path.suffix in (".avi", ".h264", ".mpg")
    else:
        assert predicted.packet.tolist() == counted.packet.tolist()
        assert predicted.pts.tolist() == counted.pts.tolist()


def test_hidden_packets_of_vp8_are_not_counted_as_frames(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.webm"), codec="vp8", num_frames=20)
    assert scan_video(spec.path, "v.webm").facts.uncounted_reason is None
    hiding = tmp_path / "hiding.webm"
    with av.open(str(spec.path)) as source, av.open(str(hiding), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                content = bytearray(bytes(packet))
                if number in (5, 6, 15):
                    content[0] &= ~0x10  # show_frame
                hidden = av.Packet(bytes(content))
                hidden.pts, hidden.dts, hidden.time_base = packet.pts, packet.dts, packet.time_base
                hidden.is_keyframe, hidden.stream = packet.is_keyframe, stream
                target.mux(hidden)
    scan = scan_video(hiding, "hiding.webm")
    assert scan.facts.uncounted_reason == "hidden packets"
    assert scan.facts.num_packets == 20
    assert count_frames(hiding, scan).packet.tolist() == [n for n in range(20) if n not in (5, 6, 15)]


def test_the_best_video_stream_is_taken_and_cover_art_is_not(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [
            (container.add_stream("mpeg4", rate=25), size, count) for size, count in ((32, 5), (128, 9))
        ]
        for stream, size, _ in streams:
            stream.width = stream.height = size
        for stream, size, count in streams:
            for _ in range(count):
                container.mux(stream.encode(av.VideoFrame(size, size, "yuv420p")))
            container.mux(stream.encode(None))
    facts = scan_video(path, "two.mkv").facts
    assert facts.num_video_streams == 2
    with av.open(str(path)) as container:
        assert facts.stream_index == container.streams.best("video").index
    assert facts.num_packets == {0: 5, 1: 9}[facts.stream_index]


class Pipe(io.RawIOBase):
    """Accepts writes, and cannot seek back to fill in a header."""

    def __init__(self):
        self.content = bytearray()

    def writable(self):
        return True

    def seekable(self):
        return False

    def write(self, data):
        self.content += data
        return len(data)


def test_an_avi_whose_header_was_never_filled_in(tmp_path):
    pipe = Pipe()
    with av.open(pipe, "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for _ in range(7):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    path = tmp_path / "killed.avi"
    path.write_bytes(pipe.content)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 2**30
    facts = scan_video(path, "killed.avi").facts
    assert (facts.num_frames_in_header, facts.num_packets) == (None, 7)


BAD_FILES = {
    "a text": (write_text, "text, not a video; it begins 'This is no video.'"),
    "nothing": (write_nothing, "an empty file (0 bytes)"),
    "audio": (write_audio_only, "no video stream (only audio)"),
    "a still image": (write_still_image, "a still image, not a video"),
    "a playlist": (
        lambda path: path.write_text("ffconcat version 1.0\nfile v.mp4\n"),
        "text, not a video; it begins 'ffconcat version 1.0'",
    ),
    "noise": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        "not a video, or damaged at its beginning",
    ),
    "a pipe": (os.mkfifo, "not a regular file"),
    "a dangling link": (lambda path: path.symlink_to("gone"), "cannot be opened: No such file or directory"),
    "an endless link": (lambda path: path.symlink_to(path.name), "cannot be opened: Too many levels"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, kind):
    write, reason = BAD_FILES[kind]
    path = tmp_path / "bad.mp4"
    write(path)
    with pytest.raises(VideoError) as caught:
        scan_video(path, "sub/bad.mp4")
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"sub/bad.mp4: {caught.value.reason}"
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_an_mp4_cut_before_its_index_is_refused(tmp_path, fraction):
    spec = tiny_video(tmp_path)
    truncate_file(spec.path, fraction)
    with pytest.raises(VideoError, match="without its index"):
        scan_video(spec.path, "v.mp4")


def test_unreadable_permissions(tmp_path, monkeypatch):
    spec = tiny_video(tmp_path)

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # root may read every file
    with pytest.raises(VideoError, match=r"^v\.mp4: no permission to read it$"):
        scan_video(spec.path, "v.mp4")


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mp4"))
    with pytest.raises(VideoError, match="not valid UTF-8"):
        scan_video(path, "b\\xff.mp4")


@pytest.mark.parametrize(
    "name", ["with space.mp4", "é.mp4", "line\nbreak.mp4", "http:x.mp4", "%03d.mp4", "-x.mp4"]
)
def test_every_name_can_be_opened(tmp_path, name):
    spec = tiny_video(tmp_path, num_frames=3)
    spec.path.rename(tmp_path / name)
    assert scan_video(tmp_path / name, name).facts.num_packets == 3


def test_a_line_break_in_a_name_stays_on_the_line(tmp_path):
    write_nothing(tmp_path / "a\nb.mp4")
    with pytest.raises(VideoError) as caught:
        scan_video(tmp_path / "a\nb.mp4", "a\nb.mp4")
    assert str(caught.value) == "a\\nb.mp4: an empty file (0 bytes)"


def test_a_video_of_nothing_but_damage_is_refused(tmp_path):
    spec = tiny_video(tmp_path, path=Path("v.mkv"), num_frames=5)
    damage_file(spec.path, start=0.06, num_bytes=10**6)
    with pytest.raises(VideoError, match=r"no packets|can be decoded|not a video"):
        scan_video(spec.path, "v.mkv")


def test_seconds_of_ticks():
    time_base = Fraction(1001, 30000)
    seconds = ticks_to_seconds([0, 1, 30000, NO_PTS, -5], time_base)
    assert seconds.dtype == np.float64
    assert seconds[[0, 1, 2, 4]].tolist() == [0.0, 1001 / 30000, 1001.0, -5 * 1001 / 30000]
    assert math.isnan(seconds[3])
    assert np.isnan(ticks_to_seconds([1, 2], None)).all()


@given(
    st.none() | st.just(NO_PTS) | st.integers(-(2**63) + 1, 2**63 - 1),
    st.none() | st.builds(Fraction, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)),
)
def test_one_tick_gives_what_many_give_bit_for_bit(tick, time_base):
    found = np.float64(tick_to_seconds(tick, time_base))
    (expected,) = ticks_to_seconds([NO_PTS if tick is None else tick], time_base)
    assert found.tobytes() == expected.tobytes()


def scans_equal(one: VideoScan, other: VideoScan) -> bool:
    columns = ("pts", "dts", "pos", "size", "is_keyframe", "is_discarded", "is_corrupt", "can_start_unit")
    return one.facts == other.facts and all(
        np.array_equal(getattr(one.packets, name), getattr(other.packets, name)) for name in columns
    )


@pytest.fixture
def mixed_folder(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    tiny_video(folder, path=Path("a.mp4"), num_frames=10)
    write_text(folder / "b.mp4")
    tiny_video(folder, path=Path("c.avi"), num_frames=12, num_b_frames=2)
    return folder


def test_scans_of_a_folder_are_remembered(mixed_folder, tmp_path, monkeypatch):
    videos = discover_videos(mixed_folder)
    cache_path = tmp_path / "scan.cache"
    calls = []
    first = scan_videos(
        videos, cache_path=cache_path, pool=InProcessPool(), progress=lambda *done: calls.append(done)
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert isinstance(first[1], VideoError)
    assert scans_equal(first[0], scan_video(videos[0].path, "a.mp4"))

    scanned = []

    def scan_and_tell(path, relative_path, *, limits):
        scanned.append(relative_path)
        return scan_video(path, relative_path)

    monkeypatch.setattr(scan_job_module, "scan_video", scan_and_tell)
    again = scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    assert scanned == ["b.mp4"]  # a reason is not remembered
    assert scans_equal(again[0], first[0])
    assert scans_equal(again[2], first[2])

    scanned.clear()
    tiny_video(mixed_folder, path=Path("a.mp4"), num_frames=11)
    changed = scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    assert scanned == ["a.mp4", "b.mp4"]
    assert changed[0].facts.num_packets == 11
    os.utime(videos[2].path, ns=(0, 0))
    scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    assert scanned[2:] == ["b.mp4", "c.avi"]


def test_counted_frames_are_remembered(mixed_folder, tmp_path, monkeypatch):
    videos = discover_videos(mixed_folder)
    cache_path = tmp_path / "scan.cache"
    scan_videos(
        videos, cache_path=cache_path, pool=InProcessPool()
    )  # the cache has the scans, not the frames
    first = scan_frames(videos, cache_path=cache_path, pool=InProcessPool())
    assert [isinstance(row, VideoError) or len(row[1]) for row in first] == [10, True, 12]
    monkeypatch.setattr(scan_job_module, "count_frames", None)
    scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    again = scan_frames(videos, cache_path=cache_path, pool=InProcessPool())
    assert again[2][1].packet.tolist() == first[2][1].packet.tolist()
    assert again[2][1].pts.tolist() == first[2][1].pts.tolist()


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_scan_cache_counts_as_none(mixed_folder, tmp_path, content):
    videos = discover_videos(mixed_folder)
    cache_path = tmp_path / "scan.cache"
    first = scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    cache_path.write_bytes(cache_path.read_bytes()[:-50] if content is None else content)
    assert scans_equal(scan_videos(videos, cache_path=cache_path, pool=InProcessPool())[2], first[2])


def test_a_scan_cache_of_another_pyav_counts_as_none(mixed_folder, tmp_path, monkeypatch):
    videos = discover_videos(mixed_folder)
    cache_path = tmp_path / "scan.cache"
    scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    monkeypatch.setattr(scan_cache_module, "_CACHE_VERSION", "another")
    monkeypatch.setattr(
        scan_job_module,
        "scan_video",
        lambda path, name, *, limits: (_ for _ in ()).throw(VideoError(name, "x")),
    )
    assert all(
        isinstance(row, VideoError)
        for row in scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    )


def test_a_flipped_bit_in_a_scan_cache_is_never_believed(mixed_folder, tmp_path):
    videos = discover_videos(mixed_folder)
    cache_path = tmp_path / "scan.cache"
    first = scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    content = cache_path.read_bytes()
    draw = random.Random(0)
    for _ in range(40):
        altered = bytearray(content)
        altered[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        cache_path.write_bytes(altered)
        again = scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
        assert scans_equal(again[0], first[0])
        assert scans_equal(again[2], first[2])


def test_an_interrupted_scan_keeps_what_it_has_and_starts_no_other_video(mixed_folder, tmp_path, monkeypatch):
    videos = discover_videos(mixed_folder)
    cache_path = tmp_path / "scan.cache"
    scanned = []

    def scan_and_tell(path, relative_path, *, limits):
        scanned.append(relative_path)
        return scan_video(path, relative_path)

    def interrupt(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(scan_job_module, "scan_video", scan_and_tell)
    with pytest.raises(KeyboardInterrupt):
        scan_videos(videos, cache_path=cache_path, pool=InProcessPool(), progress=interrupt)
    assert "a.mp4" in scanned
    scanned.clear()
    scan_videos(videos, cache_path=cache_path, pool=InProcessPool())
    assert "a.mp4" not in scanned
    assert "c.avi" in scanned
