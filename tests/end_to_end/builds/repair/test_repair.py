"""`cache-verify --repair`: what is damaged comes back bit for bit, or nothing is touched and the reason is printed."""

import os
import random
import shutil
import subprocess
import sys
import time

import msgspec
import pytest

from cache_builder import add_columns
from cache_builder.cli import cache_verify
from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED, EXIT_NOT_WHOLE, EXIT_WRONG_COMMAND
from cache_builder.repair import generation
from frame_store import open_store
from tests.end_to_end.builds.repair.repairs import KINDS, STATE_THE_HASHES, flip, repaired
from tests.support.caches.tree import (
    change_generation,
    generation_folder,
    generation_of,
    videos_of,
)
from tests.support.commands import digests, run


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_harm_to_every_file_is_undone(cache_of, simple_folder, name):
    cache = cache_of(name)
    before = digests(cache)
    files = [path for path in before if path.name not in STATE_THE_HASHES]
    harms = [flip, os.unlink, lambda path: os.truncate(path, 5), lambda path: path.write_bytes(b"") and None]
    for number, path in enumerate(files):
        harms[number % len(harms)](path)
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == 0, result.stderr
    assert digests(cache) == before
    assert "sound" in result.stdout
    for path in files:
        assert f"{path.relative_to(cache)}: made again" in result.stderr
    assert not cache.with_name(cache.name + ".building").exists()


def test_one_file_at_a_time_and_no_other_is_written(cache_of, simple_folder):
    cache = cache_of("zarr-zstd")
    before = digests(cache)
    inodes = {path: path.stat().st_ino for path in before}
    for name in ("index.npy", "frames.zarr/frames/c/1/0/0/0", "frames.zarr/pts_seconds/c/0"):
        path = generation_folder(cache) / name
        flip(path)
        assert repaired(cache, simple_folder.path).exit_code == 0
        assert digests(cache) == before
        replaced = [other for other in before if other.stat().st_ino != inodes[other]]
        assert replaced == [path]
        inodes[path] = path.stat().st_ino


def test_only_the_videos_needed_are_read(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-raw")  # a shard is a video
    before = digests(cache)
    videos = shutil.copytree(simple_folder.path, tmp_path / "videos")
    (videos / "00.mp4").unlink()
    (videos / "01.mp4").write_bytes(b"no video")
    flip(generation_folder(cache) / "shards/000002.tar")
    assert repaired(cache, videos).exit_code == 0
    assert digests(cache) == before


def test_a_sound_cache_is_left_alone_and_needs_nothing(cache_of, simple_folder):
    cache = cache_of("wds-jpeg")
    change_generation(cache, library_versions={"av": "1"})
    assert repaired(cache, simple_folder.path).exit_code == 0


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda videos: (videos / "01.mp4").unlink(), "01.mp4: missing"),
        (lambda videos: shutil.copy(videos / "00.mp4", videos / "01.mp4"), "01.mp4: changed since"),
        (lambda videos: (videos / "01.mp4").write_bytes(b"no video"), "01.mp4: "),
    ],
)
def test_videos_that_are_not_those_are_named_and_nothing_is_touched(
    cache_of, simple_folder, tmp_path, harm, said
):
    cache = cache_of("wds-jpeg")
    flip(generation_folder(cache) / "shards/000001.tar")
    before = digests(cache)
    videos = shutil.copytree(simple_folder.path, tmp_path / "videos")
    harm(videos)
    result = repaired(cache, videos)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert said in result.stderr and "are not those that the cache was made from" in result.stderr
    assert digests(cache) == before
    assert not cache.with_name(cache.name + ".building").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            lambda generation, _: {"library_versions": generation.library_versions | {"av": "17.0"}},
            "av: 17.0 there",
        ),
        (lambda generation, _: {"config": {}}, "contradicts the rest"),
        (lambda generation, _: {"config": generation.config | {"seed": "x"}}, "is not one of this version"),
        (
            lambda generation, _: {"config": generation.config | {"frames_per_shard": 7}},
            "not those of its settings",
        ),
        (
            lambda _, videos: {
                "videos": [
                    msgspec.structs.replace(
                        video, facts=video.facts | {"num_frames_decoded_on_device": video.num_frames_decoded}
                    )
                    for video in videos
                ]
            },
            "a GPU decoded 00.mp4 and 2 others",
        ),
        (
            lambda generation, _: {
                "shards": [msgspec.structs.replace(shard, sha256="0" * 64) for shard in generation.shards]
            },
            "the new files differ from the recorded hashes",
        ),
    ],
)
def test_what_cannot_give_the_same_bytes_is_refused(cache_of, simple_folder, changes, said):
    cache = cache_of("wds-jpeg")
    change_generation(cache, **changes(generation_of(cache), videos_of(cache)))
    flip(generation_folder(cache) / "shards/000001.tar")
    before = digests(cache)
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert said in result.stderr and "cache-build" in result.stderr
    assert digests(cache) == before
    assert not cache.with_name(cache.name + ".building").exists()


@pytest.mark.parametrize("name", STATE_THE_HASHES)
def test_what_states_the_hashes_is_for_the_builder(cache_of, simple_folder, name):
    cache = cache_of("wds-jpeg")
    (path,) = cache.rglob(name)
    flip(path)
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert f"{path}: " in result.stderr
    assert "only manifest-0000.json and generation.json state what the other files must be" in result.stderr
    assert f"move {cache} away and build the cache again" in result.stderr


def test_a_damaged_manifest_of_the_last_columns_costs_only_these(cache_of):
    cache = cache_of("wds-jpeg")
    bare = digests(cache)
    videos = [entry.path for entry in open_store(cache).video_entries]
    for name in ("first", "last"):
        add_columns(cache, {"video": videos, name: [*range(len(videos))]})
    sound = digests(cache)
    flip(cache / "manifest-0002.json")
    refused = run(cache, "--repair", command=cache_verify)
    assert refused.exit_code == EXIT_NOT_WHOLE
    assert "remove manifest-0002.json, and the cache is what manifest-0001.json states" in refused.stderr
    assert (
        "cache-build --append, --forget or --columns, cache-compact, or cache-bias CACHE --write-order"
        in refused.stderr
    )
    (cache / "manifest-0002.json").unlink()
    assert [*open_store(cache).columns] == ["first"]
    add_columns(cache, {"video": videos, "last": [*range(len(videos))]})
    assert digests(cache) == sound != bare


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (os.unlink, "No such file or directory; if the report lies elsewhere, copy it there; else"),
        (lambda report: report.write_bytes(b"{"), "is not a report of this version;"),
        (
            lambda report: flip(report, report.read_bytes().index(b"00.mp4")),
            "is the report of another build;",
        ),
    ],
)
def test_without_the_report_of_its_build_the_table_of_videos_is_gone(
    cache_of, simple_folder, tmp_path, harm, said
):
    cache = cache_of("wds-jpeg")
    good = digests(cache)
    table = generation_folder(cache) / "videos.jsonl"
    flip(table)
    flip(generation_folder(cache) / "shards/000001.tar")
    report = tmp_path / "wds-jpeg.report.json"
    its_report = report.read_bytes()
    before = digests(cache)
    harm(report)
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert f"{table}: is damaged, and only the report of its build states what it held" in result.stderr
    assert f"{report}: {said} build the cache again" in result.stderr
    assert digests(cache) == before
    assert not cache.with_name(cache.name + ".building").exists()
    report.write_bytes(its_report)
    assert repaired(cache, simple_folder.path).exit_code == 0
    assert digests(cache) == good


def test_a_link_where_a_folder_must_be_leads_nobody_out(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-jpeg")
    (generation_folder(cache) / "shards").rename(tmp_path / "elsewhere")
    (generation_folder(cache) / "shards").symlink_to(tmp_path / "elsewhere")
    flip(tmp_path / "elsewhere/000001.tar")
    before = digests(tmp_path / "elsewhere")
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert "must be a folder, and is a link" in result.stderr
    assert digests(tmp_path / "elsewhere") == before


def test_a_link_in_a_files_place_is_replaced_and_its_target_left_alone(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-jpeg")
    before = digests(cache)
    shard = generation_folder(cache) / "shards/000001.tar"
    shard.rename(tmp_path / "elsewhere.tar")
    shard.symlink_to(tmp_path / "elsewhere.tar")
    flip(tmp_path / "elsewhere.tar")
    elsewhere = (tmp_path / "elsewhere.tar").read_bytes()
    assert repaired(cache, simple_folder.path).exit_code == 0
    assert digests(cache) == before and not shard.is_symlink()
    assert (tmp_path / "elsewhere.tar").read_bytes() == elsewhere


@pytest.mark.parametrize("stop_at", [0, 1, 3, 5])
def test_a_repair_that_stops_while_it_replaces_goes_on(cache_of, simple_folder, monkeypatch, stop_at):
    cache = cache_of("wds-jpeg")
    good = digests(cache)
    for path in good:
        if path.name not in STATE_THE_HASHES:
            flip(path)
    bad = digests(cache)
    num_synced = 0

    def sync_path(_):
        nonlocal num_synced
        if num_synced == stop_at:
            raise OSError(28, "No space left on device")
        num_synced += 1

    monkeypatch.setattr(generation, "sync_path", sync_path)
    result = repaired(cache, simple_folder.path)
    monkeypatch.undo()
    assert result.exit_code == EXIT_MACHINE_FAILED
    assert "No space left on device; the same command resumes" in result.stderr
    num_good = sum(content == good[path] for path, content in digests(cache).items())
    assert all(content in (good[path], bad[path]) for path, content in digests(cache).items())
    assert num_good == 2 + (stop_at + 1) // 2
    assert repaired(cache, simple_folder.path).exit_code == 0
    assert digests(cache) == good


def test_killed_at_random_moments_nothing_is_lost(cache_of, simple_folder):
    cache = cache_of("wds-jpeg")
    good = digests(cache)
    generator = random.Random(0)
    program = [
        *(sys.executable, "-c", "from cache_builder.cli import cache_verify; cache_verify()"),
        *(str(cache), "--repair", "--videos", str(simple_folder.path), "--workers", "1"),
    ]
    flip(generation_folder(cache) / "shards/000000.tar")
    flip(generation_folder(cache) / "index.npy")
    bad = digests(cache)
    for _ in range(2):
        running = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(generator.uniform(0.3, 2))
        running.kill()
        running.wait()
        assert all(content in (good[path], bad[path]) for path, content in digests(cache).items())
    assert subprocess.run(program, capture_output=True).returncode == 0
    assert digests(cache) == good


def test_videos_are_for_repair(cache_of, simple_folder):
    result = run(cache_of("wds-jpeg"), "--videos", simple_folder.path, command=cache_verify)
    assert result.exit_code == EXIT_WRONG_COMMAND
