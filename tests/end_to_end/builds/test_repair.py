"""`cache-verify --repair`: what is damaged comes back bit for bit, or nothing is touched and the reason is printed."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from cache_builder.cli import cache_verify
from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED, EXIT_NOT_WHOLE, EXIT_WRONG_COMMAND
from cache_builder.repair import repair
from frame_store.manifest import encode_manifest, read_manifest
from tests.support.commands import SMALL, digests, run
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video, truncate_file

KINDS = {
    "wds-jpeg": ("--encoding", "jpeg", "--frames-per-shard", "30"),
    "wds-raw": ("--encoding", "raw", "--layout", "video", "--frames-per-shard", "video"),
    "zarr-zstd": ("--format", "zarr", "--frames-per-shard", "30"),
    "zarr-raw": ("--format", "zarr", "--encoding", "raw", "--stride", "2", "--frames-per-shard", "100"),
    "zarr-video": ("--format", "zarr", "--layout", "video", "--fps", "6", "--frames-per-shard", "4"),
}


@pytest.fixture(scope="module")
def caches(simple_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    for name, flags in KINDS.items():
        assert run("--videos", simple_folder.path, "--out", folder / name, *SMALL, *flags).exit_code == 0
    return folder


@pytest.fixture
def cache_of(caches, tmp_path):
    return lambda name: shutil.copytree(caches / name, tmp_path / name)


def repaired(cache, videos=None):
    return run(cache, "--repair", *(["--videos", videos] if videos else []), command=cache_verify)


def change_manifest(cache, **changes):
    manifest = msgspec.structs.replace(read_manifest(cache), **changes)
    (cache / "manifest.json").write_bytes(encode_manifest(manifest))


def flip(path, position=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_harm_to_every_file_is_undone(cache_of, simple_folder, name):
    cache = cache_of(name)
    before = digests(cache)
    files = [path for path in before if path.name != "manifest.json"]
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
        path = cache / name
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
    flip(cache / "shards/000002.tar")
    assert repaired(cache, videos).exit_code == 0
    assert digests(cache) == before


def test_a_sound_cache_is_left_alone_and_needs_nothing(cache_of, simple_folder):
    cache = cache_of("wds-jpeg")
    change_manifest(cache, library_versions={"av": "1"})
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
    flip(cache / "shards/000001.tar")
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
            lambda manifest: {"library_versions": manifest.library_versions | {"av": "17.0"}},
            "av: 17.0 there",
        ),
        (lambda manifest: {"config": {}}, "contradicts the rest"),
        (lambda manifest: {"config": manifest.config | {"seed": "x"}}, "is not one of this version"),
        (lambda manifest: {"config": manifest.config | {"frames_per_shard": 7}}, "not those of its settings"),
        (
            lambda manifest: {
                "videos": [
                    msgspec.structs.replace(
                        video, facts=video.facts | {"num_frames_decoded_on_device": video.num_frames_decoded}
                    )
                    for video in manifest.videos
                ]
            },
            "a GPU decoded 00.mp4 and 2 others",
        ),
        (
            lambda manifest: {
                "shards": [msgspec.structs.replace(shard, sha256="0" * 64) for shard in manifest.shards]
            },
            "the new files differ from the manifest",
        ),
    ],
)
def test_what_cannot_give_the_same_bytes_is_refused(cache_of, simple_folder, changes, said):
    cache = cache_of("wds-jpeg")
    change_manifest(cache, **changes(read_manifest(cache)))
    flip(cache / "shards/000001.tar")
    before = digests(cache)
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert said in result.stderr and "cache-build" in result.stderr
    assert digests(cache) == before
    assert not cache.with_name(cache.name + ".building").exists()


def test_a_damaged_manifest_is_for_the_builder(cache_of, simple_folder):
    cache = cache_of("wds-jpeg")
    flip(cache / "manifest.json")
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert (
        "manifest.json" in result.stderr and f"move {cache} away and build the cache again" in result.stderr
    )


def test_a_link_where_a_folder_must_be_leads_nobody_out(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-jpeg")
    (cache / "shards").rename(tmp_path / "elsewhere")
    (cache / "shards").symlink_to(tmp_path / "elsewhere")
    flip(tmp_path / "elsewhere/000001.tar")
    before = digests(tmp_path / "elsewhere")
    result = repaired(cache, simple_folder.path)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert "must be a folder, and is a link" in result.stderr
    assert digests(tmp_path / "elsewhere") == before


def test_a_link_in_a_files_place_is_replaced_and_its_target_left_alone(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-jpeg")
    before = digests(cache)
    shard = cache / "shards/000001.tar"
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
        if path.name != "manifest.json":
            flip(path)
    bad = digests(cache)
    num_synced = 0

    def sync_path(_):
        nonlocal num_synced
        if num_synced == stop_at:
            raise OSError(28, "No space left on device")
        num_synced += 1

    monkeypatch.setattr(repair, "sync_path", sync_path)
    result = repaired(cache, simple_folder.path)
    monkeypatch.undo()
    assert result.exit_code == EXIT_MACHINE_FAILED
    assert "No space left on device; the same command resumes" in result.stderr
    num_good = sum(content == good[path] for path, content in digests(cache).items())
    assert all(content in (good[path], bad[path]) for path, content in digests(cache).items())
    assert num_good == 1 + (stop_at + 1) // 2
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
    flip(cache / "shards/000000.tar")
    flip(cache / "index.npy")
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


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "harm",
    [flip, lambda path: flip(path, 8), os.unlink, lambda path: os.truncate(path, path.stat().st_size - 40)],
    ids=["flipped", "header", "gone", "cut"],
)
def test_an_index_comes_of_the_shards_without_a_video(cache_of, name, harm):
    cache = cache_of(name)
    change_manifest(  # what would refuse to decode is no matter here
        cache,
        library_versions={"av": "1"},
        videos=[
            msgspec.structs.replace(video, facts=video.facts | {"num_frames_decoded_on_device": 1})
            for video in read_manifest(cache).videos
        ],
    )
    before = digests(cache)
    harm(cache / "index.npy")
    result = repaired(cache)
    assert result.exit_code == 0, result.stderr
    assert digests(cache) == before
    assert "index.npy: made again, equal to the manifest's hash\n" in result.stderr
    assert not cache.with_name(cache.name + ".building").exists()


def test_where_no_shard_is_damaged_nobody_looks_for_the_videos(cache_of, tmp_path):
    cache = cache_of("wds-jpeg")
    before = digests(cache)
    flip(cache / "index.npy")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "other.mp4").write_bytes(b"no video")
    wrong = repaired(cache, tmp_path / "nowhere")  # a wrong path is an error even where it is not needed
    assert wrong.exit_code == 2 and f"{tmp_path / 'nowhere'}: no such folder" in wrong.stderr
    assert repaired(cache, tmp_path / "videos").exit_code == 0
    assert digests(cache) == before


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith("zarr")])
def test_all_that_lies_beside_zarr_shards_comes_without_a_video(cache_of, name):
    cache = cache_of(name)
    before = digests(cache)
    shards = {cache / shard.name for shard in read_manifest(cache).shards}
    for path in before.keys() - shards - {cache / "manifest.json", cache / "index.npy"}:
        flip(path)
    # In another column than the one that is wanted of it, where the side array is damaged, too.
    flip(cache / "index.npy", -1)
    assert repaired(cache).exit_code == 0
    assert digests(cache) == before


@pytest.mark.parametrize("name", ["zarr-zstd", "zarr-raw"])
def test_what_the_plan_says_need_not_be_stored(cache_of, name):
    cache = cache_of(name)
    before = digests(cache)
    for path in ("index.npy", "frames.zarr/video_id/c/0", "frames.zarr/frame_in_video/c/0"):
        (cache / path).unlink()
    assert repaired(cache).exit_code == 0
    assert digests(cache) == before


@pytest.mark.parametrize("harm", [os.unlink, lambda path: flip(path, 8 - 40)])
def test_what_is_nowhere_any_more_is_decoded(cache_of, simple_folder, harm):
    cache = cache_of("zarr-zstd")
    sound = digests(cache)
    harm(cache / "index.npy")
    flip(cache / "frames.zarr/pts_seconds/c/0")
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert "only the videos can give index.npy again" in result.stderr and "--videos DIR" in result.stderr
    assert digests(cache) == spoilt
    assert not cache.with_name(cache.name + ".building").exists()
    assert repaired(cache, simple_folder.path).exit_code == 0
    assert digests(cache) == sound


def test_a_manifest_that_knows_a_shorter_index_makes_nobody_read_before_its_start(cache_of):
    cache = cache_of("zarr-zstd")
    files = read_manifest(cache).files
    shorter = [msgspec.structs.replace(entry, num_bytes=10) for entry in files if entry.name == "index.npy"]
    change_manifest(cache, files=shorter + [entry for entry in files if entry.name != "index.npy"])
    flip(cache / "frames.zarr/pts_seconds/c/0")
    assert "only the videos can give index.npy again" in repaired(cache).stderr


def test_with_a_shard_damaged_too_only_its_videos_are_read(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-raw")  # a shard is a video
    sound = digests(cache)
    flip(cache / "index.npy")
    flip(cache / "shards/000001.tar")
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert "only the videos can give shards/000001.tar again" in result.stderr
    assert digests(cache) == spoilt
    (tmp_path / "videos").mkdir()
    shutil.copy(simple_folder.path / "01.mp4", tmp_path / "videos")
    assert repaired(cache, tmp_path / "videos").exit_code == 0
    assert digests(cache) == sound


def test_an_index_that_the_shards_do_not_give_is_refused(cache_of):
    cache = cache_of("zarr-video")
    change_manifest(
        cache,
        library_versions=read_manifest(cache).library_versions | {"zarr": "1"},
        files=[
            msgspec.structs.replace(entry, sha256="0" * 64) if "video_id" in entry.name else entry
            for entry in read_manifest(cache).files
        ],
    )
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert "the new files differ from the manifest, with other versions: zarr: 1 there" in result.stderr
    assert digests(cache) == spoilt


def test_a_damaged_video_gives_the_same_bytes_again(tmp_path):
    folder = tiny_folder(tmp_path / "videos", simple_specs(1))
    truncate_file(tiny_video(folder.path, path=Path("cut.avi"), num_frames=40).path, 0.7)
    cache = tmp_path / "cache"
    run("--videos", folder.path, "--out", cache, *SMALL, "--on-error", "skip")
    assert json.loads((tmp_path / "cache.report.json").read_bytes())["videos"][1]["verdict"] == "damaged"
    before = digests(cache)
    flip(cache / "shards/000000.tar")
    assert repaired(cache, folder.path).exit_code == 0
    assert digests(cache) == before
