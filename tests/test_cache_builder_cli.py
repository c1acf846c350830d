"""The commands: what a wrong command or a bad video gets said, and with which exit code."""

import ctypes
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from frame_cache_tools.spelled_videos import read_frame

import frame_store
from cache_builder.cli import (
    EXIT_MACHINE_FAILED,
    EXIT_NOT_WHOLE,
    EXIT_WRONG_COMMAND,
    cache_build,
    cache_info,
    cache_verify,
)
from frame_store.manifest import read_manifest
from tests.support.tiny_videos import (
    simple_specs,
    tiny_folder,
    tiny_video,
    truncate_file,
    write_audio_only,
    write_nothing,
    write_still_image,
    write_text,
)

SMALL = ("--size", "64", "--workers", "2")

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


def run(*arguments, command=cache_build):
    """Exit code, stdout and stderr of a command that must end by itself, without a traceback."""
    result = CliRunner().invoke(command, [os.fsdecode(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.stderr
    return result


def line_about(name, text):
    """The one line of a message that begins with a video's name, as messages print it."""
    printed = name.replace("\n", "\\n").replace("\x07", "\\x07")
    lines = [
        line for line in text.splitlines() if line.strip().startswith((f"{printed}: ", f"{name!r}: "))
    ]
    assert len(lines) == 1, f"{len(lines)} lines about {printed} in:\n{text}"
    return lines[0]


def names_beside(output):
    return sorted(path.name for path in output.parent.iterdir())


def digests(cache):
    return {path: path.read_bytes() for path in sorted(cache.rglob("*")) if path.is_file()}


@pytest.fixture
def small_cache(simple_folder, tmp_path):
    """A finished cache of the simple folder at 64x64."""
    output = tmp_path / "small"
    assert run("--videos", simple_folder.path, "--out", output, *SMALL).exit_code == 0
    return output


class TestFlags:
    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--size", "7"], ["--size", "8 to 8192", "not 7"]),
            (["--size", "64x9000"], ["--size", "8 to 8192", "not 9000"]),
            (["--size", "big"], ["--size", "HEIGHTxWIDTH", "'big'"]),
            (["--quality", "0"], ["--quality", "1..100", "found 0"]),
            (["--quality", "101"], ["--quality", "1..100", "found 101"]),
            (["--quality", "best"], ["--quality", "'best' is not a valid integer"]),
            (["--chroma", "422"], ["--chroma", "'422' is not one of '444', '420'"]),
            (["--crop-aspect", "4"], ["--crop-aspect", "WIDTH:HEIGHT", "'4'"]),
            (["--crop-aspect", "0:3"], ["--crop-aspect", "1 to 10000", "not 0:3"]),
            (["--resize", "zoom"], ["--resize", "'zoom' is not one of 'crop', 'stretch', 'pad'"]),
            (["--format", "tar"], ["--format", "'tar' is not one of 'wds', 'zarr'"]),
            (["--encoding", "png"], ["--encoding", "'png' is not one of 'jpeg', 'raw', 'zstd'"]),
            (["--layout", "random"], ["--layout", "'random' is not one of 'shuffled', 'video'"]),
            (["--frames-per-shard", "0"], ["--frames-per-shard", "'video' or 1..10000000", "found 0"]),
            (["--frames-per-shard", "few"], ["--frames-per-shard", "'few' is neither a number nor 'video'"]),
            (["--stride", "0"], ["--stride", "at least 1", "found 0"]),
            (["--stride", "x"], ["--stride", "'x' is not a valid integer"]),
            (["--fps", "0"], ["--fps", "above 0 and at most 10000", "found 0"]),
            (["--fps", "nan"], ["--fps", "above 0 and at most 10000", "found nan"]),
            (["--fps", "10001"], ["--fps", "above 0 and at most 10000", "found 10001"]),
            (["--seed", "-1"], ["--seed", "0..2^63-1", "found -1"]),
            (["--seed", str(2**63)], ["--seed", "0..2^63-1", f"found {2**63}"]),
            (["--workers", "0"], ["--workers", "at least 1", "found 0"]),
            (["--device", "tpu"], ["--device", "'tpu' is not one of 'cpu', 'cuda', 'auto'"]),
            (["--on-error", "ignore"], ["--on-error", "'ignore' is not one of 'fail', 'skip'"]),
            (["--sizes", "7"], ["No such option '--sizes'"]),
            (
                ["--format", "zarr", "--encoding", "jpeg"],
                ["--format zarr", "raw and zstd", "--encoding jpeg"],
            ),
            (["--encoding", "zstd"], ["--format wds", "jpeg and raw", "--encoding zstd"]),
            (["--encoding", "raw", "--quality", "90"], ["--quality", "--encoding jpeg", "not to raw"]),
            (["--format", "zarr", "--chroma", "444"], ["--chroma", "--encoding jpeg", "not to zstd"]),
            (["--frames-per-shard", "video"], ["--frames-per-shard video", "--layout video"]),
            (["--stride", "2", "--fps", "5"], ["--stride and --fps", "one of them"]),
        ],
        ids=" ".join,
    )
    def test_a_wrong_one_is_named_with_its_value_and_range(self, simple_folder, tmp_path, flags, said):
        result = run("--videos", simple_folder.path, "--out", tmp_path / "cache", *flags)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert [part for part in said if part not in result.stderr] == []
        assert names_beside(tmp_path / "cache") == []

    def test_videos_must_be_said(self):
        result = run()
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert "Missing option '--videos'" in result.stderr

    @pytest.mark.parametrize(
        ("toml", "said"),
        [
            ("sizes = 3\nfoo = 1", ["unknown key 'foo', 'sizes'", "known are format, encoding"]),
            ("size = [", ["not TOML"]),
            ("quality = 'a'", ["$.quality", "int"]),
            ("format = 'tar'", ["'tar'", "$.format"]),
            ("stride = 2", ["--stride and --fps"]),
            (b"size = '\xff'", ["not TOML"]),
        ],
    )
    def test_a_wrong_config_file_is_named_with_its_key(self, simple_folder, tmp_path, toml, said):
        config = tmp_path / "my.toml"
        config.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
        flags = ["--fps", "5"] if "--stride and --fps" in said else []
        result = run("--videos", simple_folder.path, "--out", tmp_path / "out", "--config", config, *flags)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert flags or f"{config}: " in result.stderr
        assert [part for part in said if part not in result.stderr] == []

    def test_a_missing_config_file(self, simple_folder, tmp_path):
        result = run("--videos", simple_folder.path, "--config", tmp_path / "none.toml")
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{tmp_path / 'none.toml'}: No such file" in result.stderr

    def test_flags_override_the_config_file_and_the_manifest_tells(self, simple_folder, tmp_path):
        config = tmp_path / "my.toml"
        config.write_text('format = "zarr"\nencoding = "raw"\nsize = 32\nframes-per-shard = 7\nseed = 5\n')
        output = tmp_path / "cache"
        result = run("--videos", simple_folder.path, "--out", output, "--config", config, "--size", "16x24")
        assert result.exit_code == 0
        manifest = read_manifest(output)
        assert manifest.frame_shape == (16, 24, 3)
        assert (manifest.container, manifest.encoding.name, manifest.seed) == ("zarr", "raw", 5)
        assert manifest.shards[0].num_frames == 7
        assert manifest.config["geometry"]["width"] == 24


class TestFolderOfVideos:
    def test_no_such_folder_an_empty_one_and_a_file(self, simple_folder, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "notes.txt").write_text("no video")
        (tmp_path / "loop").symlink_to("loop")
        before = names_beside(tmp_path / "any")
        for folder, reason in (
            (tmp_path / "gone", "no such folder"),
            (tmp_path / "empty", "holds no video"),
            (simple_folder.specs[0].path, "not a folder"),
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
        assert "cannot list the subfolder 'part': Permission denied" in unlisted.stderr
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
    """The cache of the hostile folder with `--on-error skip`, and what the command said."""
    output = tmp_path_factory.mktemp("skipping") / "cache"
    return output, run("--videos", hostile_folder, "--out", output, *SMALL, "--on-error", "skip")


class TestBadVideos:
    def test_fail_lists_all_that_the_scan_can_tell_and_decodes_nothing(self, hostile_folder, tmp_path):
        result = run("--videos", hostile_folder, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert f"{len(NO_VIDEOS)} of the videos" in result.stderr
        for name, reason in NO_VIDEOS.items():
            assert reason in line_about(name, result.stderr)
        assert "--on-error skip" in result.stderr
        assert names_beside(tmp_path / "cache") == ["cache.lock", "cache.scan"]

    def test_skip_says_what_is_wrong_with_each(self, skipping):
        _, result = skipping
        assert result.exit_code == EXIT_NOT_WHOLE
        for name, reason in NO_VIDEOS.items():
            line = line_about(name, result.stdout)
            assert "unreadable: " in line and reason in line
        for name in DAMAGED_VIDEOS:
            assert "damaged: 1 frames flagged corrupt" in line_about(name, result.stdout)

    def test_skip_builds_all_the_others(self, skipping):
        output, _ = skipping
        store = frame_store.open_store(output)
        rows = {video.path: row for row, video in enumerate(store.manifest.videos)}
        assert sorted(rows) == sorted([*GOOD_NAMES, *NO_VIDEOS, *DAMAGED_VIDEOS]) == list(rows)
        for number, name in enumerate(GOOD_NAMES):
            assert store.manifest.videos[rows[name]].verdict == "whole"
            frame_ids = np.flatnonzero(store.index["video_id"] == rows[name])
            spelled = [read_frame(frame) for frame in store.read_frames(frame_ids)]
            assert sorted(spelled) == [(number, frame) for frame in range(3 + number)]
            assert [frame for _, frame in spelled] == store.index["frame_in_video"][frame_ids].tolist()
        for name in DAMAGED_VIDEOS:
            video = store.manifest.videos[rows[name]]
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
        truncate_file(tiny_video(folder, path=Path("cut\n.avi"), num_frames=40).path, 0.7)
        result = run("--videos", folder, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert "1 frames flagged corrupt" in line_about("cut\n.avi", result.stderr)
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


class TestOutput:
    def test_what_cannot_become_a_cache(self, simple_folder, tmp_path):
        (tmp_path / "file").write_text("mine")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        (tmp_path / "loop").symlink_to("loop")
        for output, reason in (
            (tmp_path / "file", "is a file"),
            (tmp_path / "file" / "cache", "cannot be written"),
            (tmp_path / "mine", "holds files that are no cache"),
            (tmp_path / "loop", "symbolic links"),
            (tmp_path / ("long" * 70), "File name too long"),
            (Path("/"), "no place beside it"),
            (simple_folder.path, "holds files that are no cache"),
        ):
            for flags in ([], ["--overwrite"]):
                result = run("--videos", simple_folder.path, "--out", output, *SMALL, *flags)
                assert result.exit_code == EXIT_WRONG_COMMAND, output
                assert f"{output}: " in result.stderr
                assert reason in result.stderr
        assert (tmp_path / "file").read_text() == "mine"
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]

    def test_an_empty_folder_and_missing_parents_will_do(self, simple_folder, tmp_path):
        (tmp_path / "empty").mkdir()
        for output in (tmp_path / "empty", tmp_path / "two" / "levels", Path(f"{tmp_path}/odd \udcff\n")):
            result = run("--videos", simple_folder.path, "--out", output, *SMALL)
            assert result.exit_code == 0
            assert len(frame_store.open_store(output)) == simple_folder.num_frames

    def test_a_cache_of_other_settings_is_kept(self, simple_folder, small_cache):
        before = digests(small_cache)
        result = run("--videos", simple_folder.path, "--out", small_cache, "--size", "32", "--seed", "3")
        assert result.exit_code == EXIT_WRONG_COMMAND
        for said in (str(small_cache), "height: 64 there, 32 asked for", "seed: 0 there, 3", "--overwrite"):
            assert said in result.stderr
        assert "quality" not in result.stderr
        assert digests(small_cache) == before

    def test_a_cache_of_other_videos_is_kept(self, small_cache, simple_folder, tmp_path):
        folder = tmp_path / "videos"
        shutil.copytree(simple_folder.path, folder)
        (folder / "02.mp4").rename(folder / "03.mp4")
        shutil.copy(folder / "00.mp4", folder / "01.mp4")
        result = run("--videos", folder, "--out", small_cache, *SMALL)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert "video 01.mp4: changed since" in result.stderr
        assert "video 02.mp4: in it, but no longer in the folder" in result.stderr
        assert "video 03.mp4: not in it" in result.stderr
        assert "00.mp4" not in result.stderr

    def test_a_damaged_cache_is_not_taken_for_a_finished_one(self, small_cache, simple_folder):
        manifest = small_cache / "manifest.json"
        manifest.write_bytes(manifest.read_bytes()[:-90])
        result = run("--videos", simple_folder.path, "--out", small_cache, *SMALL)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert "manifest.json" in result.stderr

    def test_overwrite_swaps_when_the_new_one_is_complete(self, small_cache, simple_folder):
        """Somebody who looks all the time sees the old cache, then the new one, and always a whole one."""
        old = read_manifest(small_cache)
        building = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("cache-build"), "--videos", simple_folder.path),
                *("--out", small_cache, "--size", "32", "--overwrite", "--format", "zarr"),
            ],
            stdout=subprocess.DEVNULL,
        )
        seen = []
        while building.poll() is None:
            seen.append(read_manifest(small_cache).container)
            time.sleep(0.001)
        assert building.returncode == 0
        assert seen[0] == old.container == "wds"
        assert seen == sorted(seen)
        assert read_manifest(small_cache).frame_shape == (32, 32, 3)
        assert run(small_cache, command=cache_verify).exit_code == 0
        assert names_beside(small_cache) == ["small", "small.lock", "small.report.json", "small.scan"]

    def test_overwrite_that_fails_leaves_the_old_one(self, small_cache, simple_folder, tmp_path):
        before = digests(small_cache)
        folder = tmp_path / "videos"
        shutil.copytree(simple_folder.path, folder)
        truncate_file(tiny_video(folder, path=Path("cut.avi"), num_frames=40).path, 0.7)
        result = run("--videos", folder, "--out", small_cache, *SMALL, "--overwrite")
        assert result.exit_code == EXIT_NOT_WHOLE
        assert digests(small_cache) == before

    def test_an_output_in_use(self, simple_folder, tmp_path):
        output = tmp_path / "cache"
        with (tmp_path / "cache.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = run("--videos", simple_folder.path, "--out", output, *SMALL)
            assert result.exit_code == EXIT_WRONG_COMMAND
            assert f"{output}: another cache-build is writing it" in result.stderr
        assert run("--videos", simple_folder.path, "--out", output, *SMALL).exit_code == 0

    def test_an_unfinished_build_of_other_settings_is_kept_until_overwritten(self, tmp_path):
        folder = tiny_folder(tmp_path / "videos", simple_specs(2)).path
        truncate_file(tiny_video(folder, path=Path("cut.avi"), num_frames=40).path, 0.7)
        flags = ("--videos", folder, "--out", tmp_path / "cache", *SMALL)
        assert run(*flags).exit_code == EXIT_NOT_WHOLE
        unfinished = digests(tmp_path / "cache.building")
        result = run(*flags, "--seed", "1", "--on-error", "skip")
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{tmp_path / 'cache.building'}: " in result.stderr
        assert "config.seed: 0 there, 1 asked for" in result.stderr
        assert digests(tmp_path / "cache.building") == unfinished != {}
        assert run(*flags, "--seed", "1", "--on-error", "skip", "--overwrite").exit_code == EXIT_NOT_WHOLE
        assert read_manifest(tmp_path / "cache").seed == 1
        assert not (tmp_path / "cache.building").exists()

    def test_too_little_space_is_told_before_decoding(self, simple_folder, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        result = run("--videos", simple_folder.path, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == EXIT_MACHINE_FAILED
        assert f"{tmp_path / 'cache'}: about 0.0 GB are needed" in result.stderr
        assert not any((tmp_path / "cache.building" / "spill").iterdir())
        monkeypatch.undo()
        assert run("--videos", simple_folder.path, "--out", tmp_path / "cache", *SMALL).exit_code == 0


class TestReadingCommands:
    @pytest.mark.parametrize("command", [cache_info, cache_verify], ids=["info", "verify"])
    def test_what_is_no_cache_is_named(self, tmp_path, command):
        (tmp_path / "file").write_text("")
        (tmp_path / "empty").mkdir()
        (tmp_path / "odd").mkdir()
        (tmp_path / "odd" / "manifest.json").write_text("{}")
        for path in (tmp_path / "gone", tmp_path / "file", tmp_path / "empty", tmp_path / "odd"):
            result = run(path, command=command)
            assert result.exit_code == EXIT_NOT_WHOLE
            assert result.stderr.startswith("error: ")
            assert str(path) in result.stderr

    def test_info_and_verify_speak_json(self, small_cache):
        told = json.loads(run(small_cache, "--json", command=cache_info).stdout)
        assert told["num_frames"] == 69
        assert run(small_cache, command=cache_info).stdout.count("69") >= 1
        assert json.loads(run(small_cache, "--json", command=cache_verify).stdout)["problems"] == []

    def test_verify_names_the_shard_and_the_frame(self, small_cache):
        store = frame_store.open_store(small_cache)
        shard = small_cache / store.manifest.shards[0].name
        content = bytearray(shard.read_bytes())
        content[int(store.index["byte_offset"][5]) + 40] ^= 1
        shard.chmod(0o644)
        shard.write_bytes(content)
        result = run(small_cache, command=cache_verify)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert "shards/000000.tar" in result.stdout and "frame 5" in result.stdout
