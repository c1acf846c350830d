"""The page of a folder before anything is built: what is damaged, what is shown, and what it must not do."""

import shutil
from pathlib import Path

import pytest
import simplejpeg
from click.testing import CliRunner
from frame_cache_tools.report import cli
from frame_cache_tools.report.folder import gather, page_of_folder, report_of_folder
from frame_cache_tools.samples.numbered_videos import read_frame

from cache_builder import estimate_build
from tests.support.commands import digests
from tests.support.executors.pool_jobs import CrashOrHang
from tests.support.videos.tiny_videos import (
    damage_packets,
    simple_specs,
    tiny_folder,
    tiny_video,
    truncate_file,
    write_audio_only,
    write_nothing,
    write_still_image,
    write_text,
)

UNREADABLE = {
    "audio.mp4": "no video stream",
    "cut.mp4": "truncated or never finished",
    "dangling.mp4": "No such file",
    "still.mp4": "a still image",
    "text.mp4": "not a video",
    "zero.mp4": "0 bytes",
}
DAMAGED = {
    "cut.avi": "flagged corrupt by the demuxer",
    "cut.mpg": "flagged corrupt by the demuxer",
    "inside.avi": "in a few frames that were decoded: ",
}
GOOD = ["00.mp4", "01.mp4", "copy.mp4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "a folder"
    path.mkdir()
    tiny_folder(path, simple_specs(2))
    good = path / "00.mp4"
    shutil.copyfile(good, path / "copy.mp4")
    for name in ("cut.avi", "cut.mpg", "cut.mp4", "inside.avi"):
        tiny_video(path, path=Path(name), num_frames=20, gop_size=8)
    for name in ("cut.avi", "cut.mpg", "cut.mp4"):
        truncate_file(path / name, 0.6)
    damage_packets(path / "inside.avi", [10, 11])
    for write, name in (
        (write_audio_only, "audio.mp4"),
        (write_still_image, "still.mp4"),
        (write_text, "text.mp4"),
        (write_nothing, "zero.mp4"),
    ):
        write(path / name)
    (path / "dangling.mp4").symlink_to("nowhere.mp4")
    (path / "readme.txt").write_text("no list")
    return path


@pytest.fixture(scope="module")
def report(folder):
    before = digests(folder), sorted(folder.parent.iterdir())
    report = report_of_folder(folder, workers=2)
    assert (digests(folder), sorted(folder.parent.iterdir())) == before
    return report


def by_name(report):
    return {video.name: video for video in report.videos}


def test_every_damaged_file_is_a_line_and_the_others_are_not_called_whole(report):
    found = by_name(report)
    assert found.keys() == {*UNREADABLE, *DAMAGED, *GOOD}
    for name, reason in UNREADABLE.items():
        assert found[name].finding == "unreadable" and reason in found[name].problems[0], found[name]
        assert found[name].facts is None and not found[name].frames
    for name, reason in DAMAGED.items():
        assert found[name].finding == "damaged" and reason in found[name].problems[0], found[name]
    assert {name for name in found if found[name].finding == "nothing found"} == {*GOOD}
    assert [video.finding for video in report.videos] == (
        ["unreadable"] * len(UNREADABLE) + ["damaged"] * len(DAMAGED) + ["nothing found"] * len(GOOD)
    )
    [stretch] = found["cut.avi"].stretches
    assert stretch.text == "packets flagged corrupt" and 0 < stretch.first <= stretch.last < 0.8
    assert "at 0.4" in " ".join(found["inside.avi"].problems)  # packets 10 and 11 of 25 frames a second


def test_facts_come_from_the_packets(report):
    facts = by_name(report)["01.mp4"].facts
    assert (facts.codec, facts.width, facts.height, facts.fps) == ("h264", 160, 96, 25)
    assert (facts.num_frames, facts.is_proved, facts.num_keyframes) == (23, True, 3)
    assert (facts.gop_median, facts.gop_longest) == (8, 8)
    assert facts.seconds == pytest.approx(23 / 25)
    assert ("00.mp4", "copy.mp4") in report.copies
    assert report.passed_over == "passed over by extension: 1 .txt"


def test_the_pictures_are_frames_of_the_video_at_the_times_that_are_said(report):
    for name in GOOD:
        frames = by_name(report)[name].frames
        assert len(frames) == 3  # one of each stretch that begins with a keyframe
        for shown in frames:
            pixels = simplejpeg.decode_jpeg(shown.picture.jpeg)
            assert read_frame(pixels)[1] == round(shown.seconds * 25)
        assert [round(shown.seconds * 25) for shown in frames] == [0, 8, 16]


def test_the_estimate_is_that_of_a_dry_run(folder, report):
    expected = estimate_build(folder, workers=2)
    for name in ("num_videos", "num_frames_decoded", "num_frames_stored", "num_shards", "problems", "output"):
        assert getattr(report.estimate, name) == getattr(expected, name), name
    assert report.command == f"cache-build '{folder}' --on-error skip"


def test_equal_reports_give_equal_pages_with_every_file(report):
    page = page_of_folder(report)
    assert page == page_of_folder(report)
    assert all(f">{name}</bdi>" in page for name in by_name(report))
    assert "may find more" in page and "These are estimates" in page


@pytest.mark.parametrize(("how", "said"), [("crash", "was killed by SIGSEGV"), ("hang", "took longer than")])
def test_a_decoder_that_crashes_or_hangs_costs_its_own_video(folder, monkeypatch, how, said):
    monkeypatch.setattr(gather, "PeekJob", lambda **of: CrashOrHang(how=how, only="01.mp4", **of))
    found = by_name(report_of_folder(folder, workers=2, with_estimate=False))
    assert found["01.mp4"].finding == "damaged" and said in found["01.mp4"].problems[0]
    assert found["00.mp4"].finding == "nothing found" and len(found["00.mp4"].frames) == 3


def test_of_many_videos_a_few_are_looked_into_and_the_doubtful_ones_among_them(folder, monkeypatch):
    monkeypatch.setattr(gather, "MOST_PEEKED", 2)
    report = report_of_folder(folder, workers=1, with_estimate=False)
    peeked = [video for video in report.videos if video.is_peeked]
    assert len(peeked) == report.num_peeked == 2 and peeked[0].name.startswith("cut.")
    monkeypatch.setattr(gather, "PEEK_SECONDS", 0.0)
    assert report_of_folder(folder, workers=1, with_estimate=False).num_peeked == 1


def run(*arguments):
    return CliRunner().invoke(cli.main, [*map(str, arguments)])


def test_the_command_writes_the_page_and_says_by_its_status_that_files_are_damaged(
    folder, report, tmp_path, monkeypatch
):
    monkeypatch.setattr(cli, "report_of_folder", lambda *_, **__: report)
    done = run("--videos", folder, "--html", tmp_path / "a.html")
    assert done.exit_code == 1 and "9 files are damaged or unreadable" in done.output
    assert (tmp_path / "a.html").read_text() == page_of_folder(report)


def test_wrong_commands_say_what_is_missing(tmp_path):
    done = run("--html", tmp_path / "a.html")
    assert done.exit_code == 2 and "give a CACHE, or --videos" in done.output
    (tmp_path / "empty").mkdir()
    done = run("--videos", tmp_path / "empty", "--html", tmp_path / "a.html")
    assert done.exit_code == 2 and "no video" in done.output
    assert not (tmp_path / "a.html").exists()
