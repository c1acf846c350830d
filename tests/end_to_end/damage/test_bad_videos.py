"""Folders that hold more than good videos: every bad one gets a line, the others are built."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from frame_cache_tools.samples.numbered_videos import read_frame

import frame_store
from cache_builder.cli import cache_verify
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, EXIT_WRONG_COMMAND
from cache_builder.inputs import preparation as build_module
from cache_builder.inputs import read_inputs
from frame_store.manifest import read_tree
from tests.support.commands import SMALL, digests, names_beside, run
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

GOOD_NAMES = (
    "-dash.mp4",
    "%d.mp4",
    "a/same.mp4",
    "b/same.mp4",
    "concat:x.mp4",
    "back\\slash.mp4",
    "bell\x07 new\nline.mp4",
    "quote'\".mp4",
    "sp ace é 日本.MP4",
)
NO_VIDEOS = {
    "audio.mp4": "no video stream (only audio)",
    "cut30.mp4": "truncated or never finished",
    "cut70.mov": "truncated or never finished",
    "dangling.mp4": "No such file or directory",
    "endless.mp4": "Too many levels of symbolic links",
    "n\\xff.mp4": "not valid UTF-8",
    "pipe.mp4": "not a regular file",
    "still.mp4": "a still image",
    "text.mp4": "not a video",
    "two\nlines.mp4": "0 bytes",
    "zero.mp4": "0 bytes",
}
DAMAGED_VIDEOS = ("cut30.avi", "cut70.mpg")
TOLD_BY_SCAN = NO_VIDEOS | dict.fromkeys(DAMAGED_VIDEOS, "1 packet flagged corrupt by the demuxer")


def line_about(name, text):
    """The one line of a message about a video. The name stands as messages print it, after a colon if it is alone."""
    printed = name.replace("\n", "\\n").replace("\x07", "\\x07")
    told = [f"{before}{spelled}: " for before in ("  ", "whole: ") for spelled in (printed, repr(name))]
    lines = [line for line in text.splitlines() if any(part in line for part in told)]
    assert len(lines) == 1, f"{len(lines)} lines about {printed} in:\n{text}"
    return lines[0]


class TestFolderOfVideos:
    def test_no_such_folder_an_empty_one_and_a_file(self, simple_folder, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("no video")
        (tmp_path / "loop").symlink_to("loop")
        before = names_beside(tmp_path / "any")
        for folder, reason in (
            (tmp_path / "gone", "no such folder"),
            (tmp_path / "empty", "holds no video"),
            (tmp_path / "empty" / "notes.txt", "line 1: 'no video': no such file"),
            (tmp_path / "loop", "symbolic links"),
        ):
            for out in ([], ["--out", tmp_path / "cache"]):
                result = run("--videos", folder, *out)
                assert result.exit_code == EXIT_WRONG_COMMAND
                assert f"{folder}: " in result.stderr
                assert reason in result.stderr
        assert names_beside(tmp_path / "any") == before

    def test_the_cache_goes_beside_the_folder(self, simple_folder, tmp_path):
        shutil.copytree(simple_folder.path, tmp_path / "clips")
        assert run("--videos", tmp_path / "clips", *SMALL).exit_code == 0
        assert names_beside(tmp_path / "clips") == [
            "clips",
            "clips.cache",
            "clips.cache.lock",
            "clips.cache.report.json",
            "clips.cache.scan",
        ]
        assert len(frame_store.open_store(tmp_path / "clips.cache")) == simple_folder.num_frames

    def test_what_may_not_be_read(self, tmp_path):
        """As root, too: in a process that gave up the right to override permissions."""
        folder = tiny_folder(tmp_path / "videos", simple_specs(2)).path
        (folder / "00.mp4").chmod(0)
        (tmp_path / "locked").mkdir(mode=0o555)

        def build(output):
            return subprocess.run(
                [Path(sys.executable).with_name("cache-build"), "--videos", folder, "--out", output, *SMALL],
                capture_output=True,
                text=True,
                preexec_fn=_obey_permissions,
                timeout=60,
            )

        refused = build(tmp_path / "cache")
        if refused.returncode == 0:
            pytest.skip("permissions do not bind this process")
        assert refused.returncode == EXIT_NOT_WHOLE
        assert "00.mp4: no permission to read it" in refused.stderr
        no_place = build(tmp_path / "locked" / "cache")
        assert no_place.returncode == EXIT_WRONG_COMMAND
        assert f"{tmp_path / 'locked' / 'cache'}: cannot be written" in no_place.stderr
        (folder / "part").mkdir(mode=0)
        unlisted = build(tmp_path / "cache")
        assert unlisted.returncode == EXIT_WRONG_COMMAND
        assert "cannot look into 'part': Permission denied" in unlisted.stderr
        assert not any("Traceback" in result.stderr for result in (refused, no_place, unlisted))


def _obey_permissions():
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory):
    """Good videos of odd names, beside everything that is no video or is damaged."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, name in enumerate(GOOD_NAMES):
        plain = tiny_video(folder, path=Path("plain.mp4"), video_number=number, num_frames=3 + number)
        (folder / name).parent.mkdir(exist_ok=True)
        plain.path.rename(folder / name)
    write_audio_only(folder / "audio.mp4")
    (folder / "dangling.mp4").symlink_to("gone.mp4")
    (folder / "endless.mp4").symlink_to("endless.mp4")
    os.mkfifo(folder / "pipe.mp4")
    write_still_image(folder / "still.mp4")
    write_text(folder / "text.mp4")
    write_nothing(folder / "zero.mp4")
    write_nothing(folder / "two\nlines.mp4")
    shutil.copy(folder / "%d.mp4", os.fsencode(folder) + b"/n\xff.mp4")
    (folder / "a" / "up").symlink_to("..")
    (folder / "me").symlink_to(".")
    for name in ("cut30.mp4", "cut70.mov", *DAMAGED_VIDEOS):
        codec = "mpeg2video" if name.endswith(".mpg") else "h264"
        truncate_file(
            tiny_video(folder, path=Path(name), codec=codec, num_frames=40).path, int(name[3:5]) / 100
        )
    return folder


@pytest.fixture(scope="module")
def skipping(hostile_folder, tmp_path_factory):
    """The cache of the hostile folder with `--on-error skip`, and what the command printed."""
    output = tmp_path_factory.mktemp("skipping") / "cache"
    return output, run("--videos", hostile_folder, "--out", output, *SMALL, "--on-error", "skip")


class TestBadVideos:
    def test_fail_lists_all_that_the_scan_can_tell_and_decodes_nothing(self, hostile_folder, tmp_path):
        result = run("--videos", hostile_folder, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert f"{len(TOLD_BY_SCAN)} of the videos" in result.stderr
        for name, reason in TOLD_BY_SCAN.items():
            assert reason in line_about(name, result.stderr)
        assert "--on-error skip" in result.stderr
        assert names_beside(tmp_path / "cache") == ["cache.lock", "cache.scan"]

    def test_skip_says_what_is_wrong_with_each(self, skipping):
        _, result = skipping
        assert result.exit_code == EXIT_NOT_WHOLE
        not_whole, _ = result.stdout.split("Notes:")
        for name, reason in NO_VIDEOS.items():
            line = line_about(name, not_whole)
            assert "unreadable: " in line and reason in line
        for name in DAMAGED_VIDEOS:
            assert "damaged: 1 frame flagged corrupt" in line_about(name, not_whole)

    def test_skip_builds_all_the_others(self, skipping):
        output, _ = skipping
        store = frame_store.open_store(output)
        rows = {video.path: row for row, video in enumerate(store.video_entries)}
        assert sorted(rows) == sorted([*GOOD_NAMES, *NO_VIDEOS, *DAMAGED_VIDEOS]) == list(rows)
        for number, name in enumerate(GOOD_NAMES):
            assert store.video_entries[rows[name]].verdict == "whole"
            frame_ids = np.flatnonzero(store.index["video_id"] == rows[name])
            spelled = [read_frame(frame) for frame in store.read_frames(frame_ids)]
            assert sorted(spelled) == [(number, frame) for frame in range(3 + number)]
            assert [frame for _, frame in spelled] == store.index["frame_in_video"][frame_ids].tolist()
        for name in DAMAGED_VIDEOS:
            video = store.video_entries[rows[name]]
            assert 0 < video.num_frames_stored == video.num_frames_decoded < 40
        assert run(output, command=cache_verify).exit_code == 0

    def test_the_report_tells_the_same(self, skipping):
        output, _ = skipping
        report = json.loads(output.with_name("cache.report.json").read_bytes())
        assert report["status"] == "built"
        verdicts = {video["path"]: video["verdict"] for video in report["videos"]}
        assert {name for name, verdict in verdicts.items() if verdict == "unreadable"} == set(NO_VIDEOS)
        assert {name for name, verdict in verdicts.items() if verdict == "damaged"} == set(DAMAGED_VIDEOS)
        assert sum(video["num_frames_stored"] for video in report["videos"]) == report["num_frames"]

    def test_a_second_run_says_it_again(self, hostile_folder, skipping):
        output, _ = skipping
        before = digests(output)
        for policy in ("skip", "fail"):
            result = run("--videos", hostile_folder, "--out", output, *SMALL, "--on-error", policy)
            assert result.exit_code == EXIT_NOT_WHOLE
            assert "already complete" in result.stdout
            assert "not a video" in line_about("text.mp4", result.stdout)
        assert digests(output) == before

    def test_nothing_but_bad_videos_makes_no_cache(self, tmp_path):
        (tmp_path / "videos").mkdir()
        write_text(tmp_path / "videos" / "text.mp4")
        for policy in ("fail", "skip"):
            result = run("--videos", tmp_path / "videos", "--out", tmp_path / "cache", "--on-error", policy)
            assert result.exit_code == EXIT_NOT_WHOLE
            assert "not a video" in line_about("text.mp4", result.stderr)
        assert not (tmp_path / "cache").exists()

    def test_fail_names_a_video_that_only_decoding_finds_damaged(self, tmp_path):
        folder = tiny_folder(tmp_path / "videos", simple_specs(2)).path
        damage_packets(tiny_video(folder, path=Path("cut\n.avi"), num_frames=40).path, [20])
        result = run("--videos", folder, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert "decoder errors (packet 20: " in line_about("cut\n.avi", result.stderr)
        assert not (tmp_path / "cache").exists()

    def test_fps_without_timestamps_is_told_before_any_decode(self, tmp_path):
        folder = tiny_folder(tmp_path / "videos", simple_specs(3, suffix=".h264")).path
        tiny_video(folder, path=Path("timed.mp4"))
        flags = ("--videos", folder, "--out", tmp_path / "cache", *SMALL, "--fps", "5")
        result = run(*flags)
        assert result.exit_code == EXIT_NOT_WHOLE
        for name in ("00.h264", "01.h264", "02.h264"):
            assert "has no timestamps" in line_about(name, result.stderr)
        assert names_beside(tmp_path / "cache") == ["cache.lock", "cache.scan", "videos"]
        assert run(*flags, "--on-error", "skip").exit_code == EXIT_NOT_WHOLE
        assert len(frame_store.open_store(tmp_path / "cache")) == 6  # 30 frames at 25 fps are 6 ticks


def test_a_video_that_goes_while_it_is_built_can_be_built_later(tmp_path, monkeypatch):
    """The cache records that the video is missing. Once the video is back, the cache does not pass for complete."""
    folder = tiny_folder(tmp_path / "videos", simple_specs(2)).path
    content = (folder / "01.mp4").read_bytes()

    def scan_and_remove(*arguments, **options):
        inputs = read_inputs(*arguments, **options)
        (folder / "01.mp4").unlink()
        return inputs

    monkeypatch.setattr(build_module, "read_inputs", scan_and_remove)
    flags = ("--videos", folder, "--out", tmp_path / "cache", *SMALL)
    result = run(*flags, "--on-error", "skip")
    assert result.exit_code == EXIT_NOT_WHOLE
    assert "'01.mp4': unreadable: cannot be opened: No such file or directory" in result.stdout
    tree = read_tree(tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        tree.generations[0].folder,
        "manifest-0000.json",
    ]
    monkeypatch.undo()
    (folder / "01.mp4").write_bytes(content)
    again = run(*flags)
    assert again.exit_code == EXIT_WRONG_COMMAND
    assert "video 01.mp4: changed since" in again.stderr
    assert run(*flags, "--overwrite").exit_code == 0
    whole = read_tree(tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        whole.generations[0].folder,
        "manifest-0000.json",
    ]
    assert (
        whole.generations[0].folder != tree.generations[0].folder
    )  # its name follows what was decoded, not what was scanned
    assert whole.read_videos()[1].verdict == "whole"
