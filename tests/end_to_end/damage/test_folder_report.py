"""What a build reports on a folder and its videos, other than damage: in the report, the manifest, the terminal."""

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import frame_store
from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.build.report import report_text
from cache_builder.settings import BuildSettings, RunOptions, resolve
from tests.support.videos.tiny_videos import remux, simple_specs, tiny_folder, tiny_video, truncate_file

CONFIG = resolve(BuildSettings(encoding="raw", size=32))[0]
LAYOUT_BY_VIDEO = resolve(BuildSettings(encoding="raw", size=64, layout="video"))[0]


def build(videos: Path, output: Path, config=CONFIG):
    return run_build(videos, output, config, RunOptions(workers=1, on_error="skip"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A camera's folder: two videos, one of them twice, and what lies beside them."""
    folder = tmp_path_factory.mktemp("camera")
    tiny_folder(folder, simple_specs(2, num_frames=6))
    (folder / "00.mp4").rename(folder / "a.mp4")
    (folder / "01.mp4").rename(folder / "b.mp4")
    (folder / "sub").mkdir()
    shutil.copy(folder / "a.mp4", folder / "sub" / "copy of a.mp4")
    for name in ("a.LRV", "b.lrv", "360.insv", "sub/a.gif", "half.mp4.part", ".a.mp4", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def test_files_passed_over_and_copies_are_told(folder, tmp_path):
    report = build(folder, tmp_path / "cache")
    assert report.passed_over.by_extension == {".lrv": 2, ".gif": 1, ".insv": 1, ".part": 1, ".txt": 1}
    assert report.passed_over.num_hidden == 1
    assert report.copies == [["a.mp4", "sub/copy of a.mp4"]]
    said = report_text(report).splitlines()
    assert (
        "passed over by extension: 2 .lrv, 1 .gif, 1 .insv, 1 .part, 1 .txt; passed over as hidden: 1" in said
    )
    assert "byte for byte the same as another video: 1 ('a.mp4' = 'sub/copy of a.mp4')" in said
    written = json.loads((tmp_path / "cache.report.json").read_bytes())
    assert written["passed_over"]["by_extension"][".lrv"] == 2
    assert written["copies"] == report.copies
    notes = {video.path: video.notes for video in frame_store.open_store(tmp_path / "cache").video_entries}
    assert "byte for byte the same as 'a.mp4'" in notes["sub/copy of a.mp4"]
    assert not notes["a.mp4"]
    again = build(folder, tmp_path / "cache")
    assert (again.status, again.passed_over, again.copies) == (
        "already complete",
        report.passed_over,
        report.copies,
    )


def test_live_stores_tell_them_too(folder):
    store = open_videos(folder, size=32, workers=1)
    assert store.passed_over.by_extension[".lrv"] == 2
    assert store.copies == [["a.mp4", "sub/copy of a.mp4"]]


def test_a_cache_inside_the_folder_of_videos_is_not_passed_over(folder, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(folder / "a.mp4", videos / "a.mp4")
    for _ in range(2):
        report = build(videos, videos / "cache")
        assert report.passed_over.text is None
        assert report.copies == []


class TestNotes:
    def notes(self, videos: Path, tmp_path: Path) -> list[str]:
        (video,) = build(videos, tmp_path / "cache").videos
        return video.notes

    def test_bytes_that_no_packet_and_no_index_holds(self, tmp_path):
        path = tiny_video(tmp_path / "in", num_frames=5).path
        num_bytes = path.stat().st_size
        path.write_bytes(path.read_bytes() + bytes(1_000_000))
        (note,) = self.notes(tmp_path / "in", tmp_path)
        found = re.fullmatch(r"about ([\d,]+) bytes of it, from byte ([\d,]+) on, are .*", note)
        count, first = (int(number.replace(",", "")) for number in found.groups())
        assert abs(first - num_bytes) < 70_000  # FFmpeg reads ahead
        assert count + first == num_bytes + 1_000_000

    def test_a_last_frame_lasts_too(self, tmp_path):
        """Five frames at one a second: the header claims 5 s, and the last frame is at 4 s."""
        tiny_video(tmp_path / "in", num_frames=5, fps=Fraction(1))
        assert self.notes(tmp_path / "in", tmp_path) == []

    def test_a_file_that_was_cut_is_asked_about(self, tmp_path):
        path = tmp_path / "in" / "a.mkv"
        whole = tiny_video(tmp_path, path=Path("whole.mkv"), num_frames=100, gop_size=10).path
        path.parent.mkdir()
        shutil.move(whole, path)
        truncate_file(path, 0.5)
        assert any(note.startswith("cut off?") for note in self.notes(tmp_path / "in", tmp_path))

    @pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts", ".flv"])
    def test_a_stream_that_begins_without_a_keyframe(self, tmp_path, suffix):
        whole = tiny_video(tmp_path, path=Path("whole.mkv"), num_frames=20, gop_size=8).path
        (tmp_path / "in").mkdir()
        remux(whole, tmp_path / "in" / f"a{suffix}", without={0, 1, 2})
        assert "it begins without a keyframe: packet 5 is the first" in self.notes(tmp_path / "in", tmp_path)


def test_recordings_of_windows_television_are_read(tmp_path):
    source = tiny_video(
        tmp_path, path=Path("a.mpg"), num_frames=30, codec="mpeg2video", num_b_frames=2, gop_size=8
    ).path
    (tmp_path / "in").mkdir()
    remux(source, tmp_path / "in" / "recording.wtv")
    report = build(tmp_path / "in", tmp_path / "cache", LAYOUT_BY_VIDEO)
    assert [(video.verdict, video.num_frames_decoded) for video in report.videos] == [("whole", 30)]
    cached, live = (
        frame_store.open_store(tmp_path / "cache"),
        open_videos(tmp_path / "in", size=64, workers=1),
    )
    ids = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(live.read_frames(ids), cached.read_frames(ids))
