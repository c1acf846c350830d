"""The commands: wrong flags, impossible outputs, what is no cache. Each gets its line and its exit code."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import frame_store
from cache_builder.cli import cache_info, cache_verify
from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED, EXIT_NOT_WHOLE, EXIT_WRONG_COMMAND
from tests.support.caches.tree import FIRST_MANIFEST, change_generation, generation_folder, generation_of
from tests.support.commands import SMALL, digests, names_beside, run
from tests.support.videos.tiny_videos import (
    damage_packets,
    simple_specs,
    tiny_folder,
    tiny_video,
    truncate_file,
)


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
            (["--sizes", "7"], ["No such option", "--sizes"]),
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

    @pytest.mark.parametrize(
        ("toml", "said"),
        [
            ("sizes = 3\nfoo = 1", ["unknown key 'foo', 'sizes'", "known are format, encoding"]),
            ("size = [", ["not TOML"]),
            ("quality = 'a'", [": quality: expected a whole number, found 'a'"]),
            ("format = 'tar'", [": format: expected 'wds' or 'zarr', found 'tar'"]),
            ("seed = true", [": seed: expected a whole number, found True"]),
            ("size = 2.5", [": size: expected a number of pixels", "found 2.5"]),
            (b"size = '\xff'", ["not TOML"]),
        ],
    )
    def test_a_wrong_config_file_is_named_with_its_key(self, simple_folder, tmp_path, toml, said):
        config = tmp_path / "my.toml"
        config.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
        result = run("--videos", simple_folder.path, "--out", tmp_path / "out", "--config", config)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert result.stderr.startswith(f"error: {config}: ")
        assert [part for part in said if part not in result.stderr] == []

    def test_a_missing_config_file(self, simple_folder, tmp_path):
        result = run("--videos", simple_folder.path, "--config", tmp_path / "none.toml")
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{tmp_path / 'none.toml'}: No such file" in result.stderr

    def test_flags_override_the_config_file_and_the_cache_has_them(self, simple_folder, tmp_path):
        config = tmp_path / "my.toml"
        config.write_text('format = "zarr"\nencoding = "raw"\nsize = 32\nframes-per-shard = 7\nseed = 5\n')
        output = tmp_path / "cache"
        result = run("--videos", simple_folder.path, "--out", output, "--config", config, "--size", "16x24")
        assert result.exit_code == 0
        built = generation_of(output)
        assert built.frame_shape == (16, 24, 3)
        assert (built.container, built.encoding.name, built.seed) == ("zarr", "raw", 5)
        assert built.shards[0].num_frames == 7
        assert built.config["geometry"]["width"] == 24


class TestOutput:
    def test_what_cannot_become_a_cache(self, simple_folder, tmp_path):
        (tmp_path / "file").write_text("mine")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "taken.report.json").mkdir()
        (tmp_path / "half.building").write_text("mine")
        (tmp_path / "other.building").mkdir()
        (tmp_path / "other.building" / "precious.txt").write_text("mine")
        for output, reason in (
            (tmp_path / "file", "is a file"),
            (tmp_path / "file" / "cache", "cannot be written"),
            (tmp_path / "mine", "holds files that are no cache"),
            (tmp_path / "loop", "symbolic links"),
            (tmp_path / ("long" * 70), "name is too long by"),
            (tmp_path / ("long" * 60), "name is too long by"),
            (tmp_path / "taken", f"{tmp_path / 'taken.report.json'}: is a folder"),
            (tmp_path / "half", f"{tmp_path / 'half.building'}: is a file"),
            (tmp_path / "other", f"{tmp_path / 'other.building'}: holds 'precious.txt'"),
            (Path("/"), "no place beside it"),
            (simple_folder.path, "holds files that are no cache"),
        ):
            for flags in ([], ["--overwrite"]):
                result = run("--videos", simple_folder.path, "--out", output, *SMALL, *flags)
                assert result.exit_code == EXIT_WRONG_COMMAND, output
                assert f"{output}" in result.stderr
                assert reason in result.stderr
        assert (tmp_path / "other.building" / "precious.txt").read_text() == "mine"
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
        for said in (str(small_cache), "--size: 64 there, 32 asked for", "--seed: 0 there, 3", "--overwrite"):
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
        assert "video 02.mp4: in the cache, but not among the videos given" in result.stderr
        assert "video 03.mp4: new, not in the cache" in result.stderr
        assert "00.mp4" not in result.stderr

    @pytest.mark.parametrize("name", [FIRST_MANIFEST, "generation.json"])
    def test_a_damaged_cache_is_not_taken_for_a_finished_one(self, small_cache, simple_folder, name):
        (path,) = small_cache.rglob(name)
        path.write_bytes(path.read_bytes()[:-90])
        result = run("--videos", simple_folder.path, "--out", small_cache, *SMALL)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{path}: " in result.stderr and "move it away" in result.stderr

    def test_a_cache_whose_table_of_videos_is_damaged_is_not_called_complete(
        self, small_cache, simple_folder
    ):
        before = digests(small_cache)
        table = generation_folder(small_cache) / "videos.jsonl"
        table.write_bytes(table.read_bytes().replace(b"whole", b"hwole", 1))
        flags = ("--videos", simple_folder.path, "--out", small_cache, *SMALL)
        result = run(*flags)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert "already holds another cache, or a damaged one" in result.stderr
        assert f"{table}: sha256 differs from that in generation.json" in result.stderr
        assert run(*flags, "--overwrite").exit_code == 0
        assert digests(small_cache) == before

    def test_overwrite_swaps_when_the_new_one_is_complete(self, small_cache, simple_folder):
        """Somebody who looks all the time sees the old cache, then the new one, and always a whole one."""
        old = generation_of(small_cache)
        building = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("cache-build"), "--videos", simple_folder.path),
                *("--out", small_cache, "--size", "32", "--overwrite", "--format", "zarr"),
            ],
            stdout=subprocess.DEVNULL,
        )
        seen = []
        while building.poll() is None:
            seen.append(generation_of(small_cache).container)
            time.sleep(0.001)
        assert building.returncode == 0
        assert seen[0] == old.container == "wds"
        assert seen == sorted(seen)
        assert generation_of(small_cache).frame_shape == (32, 32, 3)
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
            assert f"{output}: another process is writing it" in result.stderr
        assert run("--videos", simple_folder.path, "--out", output, *SMALL).exit_code == 0

    def test_an_unfinished_build_of_other_settings_is_kept_until_overwritten(self, tmp_path):
        folder = tiny_folder(tmp_path / "videos", simple_specs(2)).path
        damage_packets(tiny_video(folder, num_frames=40).path, [20, 21])
        flags = ("--videos", folder, "--out", tmp_path / "cache", *SMALL)
        assert run(*flags).exit_code == EXIT_NOT_WHOLE
        unfinished = digests(tmp_path / "cache.building")
        result = run(*flags, "--seed", "1", "--on-error", "skip")
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{tmp_path / 'cache.building'}: " in result.stderr
        assert "--seed: 0 there, 1 asked for" in result.stderr
        assert digests(tmp_path / "cache.building") == unfinished != {}
        assert run(*flags, "--seed", "1", "--on-error", "skip", "--overwrite").exit_code == EXIT_NOT_WHOLE
        assert generation_of(tmp_path / "cache").seed == 1
        assert not (tmp_path / "cache.building").exists()

    def test_too_little_space_is_reported_before_decoding(self, simple_folder, tmp_path, monkeypatch):
        usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        raw = ("--videos", simple_folder.path, "--out", tmp_path / "cache", *SMALL, "--encoding", "raw")
        result = run(*raw)
        assert result.exit_code == EXIT_MACHINE_FAILED
        assert f"{tmp_path / 'cache'}: at least 1.7 MB are needed" in result.stderr
        assert "0.1 MB are free" in result.stderr
        assert not any((tmp_path / "cache.building" / "spill").iterdir())
        monkeypatch.undo()
        assert run(*raw).exit_code == 0

    def test_space_that_may_not_do_is_no_reason_to_refuse(self, simple_folder, tmp_path, monkeypatch):
        """What pixels compress to is not known before: flat ones take a hundredth of what noisy ones do."""
        usage = shutil.disk_usage(tmp_path)._replace(free=50_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        result = run("--videos", simple_folder.path, "--out", tmp_path / "cache", *SMALL)
        assert result.exit_code == 0
        assert f"{tmp_path / 'cache'}: about 0.2 MB may be needed" in result.stderr

    def test_a_cache_that_lost_a_shard_is_not_called_complete(self, simple_folder, small_cache):
        before = digests(small_cache)
        shard = next((generation_folder(small_cache) / "shards").iterdir())
        shard.write_bytes(shard.read_bytes()[:-1])
        flags = ("--videos", simple_folder.path, "--out", small_cache, *SMALL)
        result = run(*flags)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{shard.relative_to(small_cache)}: missing, or not" in result.stderr
        assert run(*flags, "--overwrite").exit_code == 0
        assert digests(small_cache) == before

    @pytest.mark.parametrize("flag", ["--videos", "--out", "--config"])
    def test_an_empty_path_is_not_the_current_folder(self, simple_folder, tmp_path, monkeypatch, flag):
        monkeypatch.chdir(tmp_path)
        flags = {"--videos": simple_folder.path, "--out": tmp_path / "cache", flag: ""}
        result = run(*(word for pair in flags.items() for word in pair))
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"'{flag}': an empty path" in result.stderr

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"seed = " + b"9" * 5000, "not TOML"),
            (b"x = " + b"[" * 20_000, "not TOML"),
            (b"#" * (1 << 20) + b"#", "over 1048576 bytes"),
        ],
        ids=["digits", "nested", "long"],
    )
    def test_a_hostile_config_gets_one_line(self, simple_folder, tmp_path, content, said):
        config = tmp_path / "config.toml"
        config.write_bytes(content)
        result = run("--videos", simple_folder.path, "--out", tmp_path / "cache", "--config", config)
        assert result.exit_code == EXIT_WRONG_COMMAND
        assert f"{config}: {said}" in result.stderr

    def test_a_full_standard_output_is_the_machines_and_a_closed_pipe_nobodys(self, simple_folder, tmp_path):
        program = Path(sys.executable).with_name("cache-build")
        words = [str(program), "--videos", str(simple_folder.path), "--out", str(tmp_path / "cache"), *SMALL]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == EXIT_MACHINE_FAILED
        assert "standard output cannot be written: No space left" in done.stderr
        closed = subprocess.run(
            f"{' '.join(words)} | true; exit ${{PIPESTATUS[0]}}",
            shell=True,
            executable="/bin/bash",
            capture_output=True,
            text=True,
        )
        assert (closed.returncode, closed.stderr) == (0, "scan: 3 videos\n")
        assert subprocess.run([*words], stderr=None, close_fds=True).returncode == 0


class TestReadingCommands:
    def test_info_and_verify_speak_json(self, small_cache):
        told = json.loads(run(small_cache, "--json", command=cache_info).stdout)
        assert told["manifest"]["generations"][0]["folder"] == generation_folder(small_cache).name
        (generation,) = told["generations"]
        assert generation["generation"]["num_frames"] == told["totals"]["num_frames"] == 69
        assert [video["path"] for video in told["videos"]] == ["00.mp4", "01.mp4", "02.mp4"]
        assert run(small_cache, command=cache_info).stdout.count("69") >= 1
        assert json.loads(run(small_cache, "--json", command=cache_verify).stdout)["problems"] == []

    def test_verify_names_the_shard_and_the_frame(self, small_cache):
        store = frame_store.open_store(small_cache)
        shard = generation_folder(small_cache) / store.common.shards[0].name
        content = bytearray(shard.read_bytes())
        content[int(store.index["byte_offset"][5]) + 40] ^= 1
        shard.chmod(0o644)
        shard.write_bytes(content)
        result = run(small_cache, command=cache_verify)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert "shards/000000.tar" in result.stdout and "frame 5" in result.stdout

    def test_what_a_manifest_says_moves_no_cursor(self, small_cache):
        change_generation(small_cache, library_versions={"av": "\x1b[2J\x9b1A"})
        told = run(small_cache, command=cache_info).stdout
        assert r"\x1b[2J\x9b1A" in told and "\x1b" not in told and "\x9b" not in told

    def test_against_a_folder_new_changed_and_removed_videos_are_listed(
        self, small_cache, simple_folder, tmp_path
    ):
        videos = shutil.copytree(simple_folder.path, tmp_path / "videos")
        same = run(small_cache, "--against", videos, command=cache_info)
        assert (same.exit_code, same.stdout) == (0, f"{videos}: its 3 videos, unchanged\n")
        shutil.copy(videos / "00.mp4", videos / "new.mp4")
        content = bytearray((videos / "01.mp4").read_bytes())
        content[-1] ^= 1
        (videos / "01.mp4").write_bytes(content)
        (videos / "02.mp4").unlink()
        result = run(small_cache, "--against", videos, command=cache_info)
        assert result.exit_code == EXIT_NOT_WHOLE
        assert result.stdout.splitlines() == [
            "video 01.mp4: changed since",
            "video 02.mp4: in the cache, but not among the videos given",
            "video new.mp4: new, not in the cache",
            f"{videos}: 3 differences",
        ]
        told = json.loads(run(small_cache, "--against", videos, "--json", command=cache_info).stdout)
        assert len(told["changes"]) == 3

    def test_what_was_unreadable_is_no_change_and_a_pipe_is_not_waited_for(
        self, small_cache, simple_folder, tmp_path
    ):
        videos = shutil.copytree(simple_folder.path, tmp_path / "videos")
        (videos / "broken.mp4").write_bytes(b"no video")
        output = tmp_path / "with"
        run("--videos", videos, "--out", output, *SMALL, "--on-error", "skip")
        assert run(output, "--against", videos, command=cache_info).exit_code == 0
        (videos / "00.mp4").unlink()
        os.mkfifo(videos / "00.mp4")
        result = run(output, "--against", videos, command=cache_info)
        assert "video 00.mp4: changed since" in result.stdout


def test_an_unknown_file_that_does_no_harm_is_a_note(golden_cache_of):
    cache = golden_cache_of("wds-raw")
    (cache / "notes.txt~").write_text("mine")
    result = run(cache, command=cache_verify)
    assert result.exit_code == 0 and "note: notes.txt~: is no part of the cache\n" in result.stdout
