"""`cache-verify --repair` of what lies beside the shards: made again without a video, where it can be."""

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from tests.end_to_end.builds.repair.repairs import KINDS, STATE_THE_HASHES, flip, repaired
from tests.support.caches.tree import (
    change_generation,
    generation_folder,
    generation_of,
    videos_of,
)
from tests.support.commands import SMALL, digests, run
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video, truncate_file


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "harm",
    [flip, lambda path: flip(path, 8), os.unlink, lambda path: os.truncate(path, path.stat().st_size - 40)],
    ids=["flipped", "header", "gone", "cut"],
)
def test_an_index_comes_of_the_shards_without_a_video(cache_of, name, harm):
    cache = cache_of(name)
    change_generation(  # what would refuse to decode is no matter here
        cache,
        library_versions={"av": "1"},
        videos=[
            msgspec.structs.replace(video, facts=video.facts | {"num_frames_decoded_on_device": 1})
            for video in videos_of(cache)
        ],
    )
    before = digests(cache)
    harm(generation_folder(cache) / "index.npy")
    result = repaired(cache)
    assert result.exit_code == 0, result.stderr
    assert digests(cache) == before
    assert "index.npy: made again, with the recorded hash\n" in result.stderr
    assert not cache.with_name(cache.name + ".building").exists()


def test_where_no_shard_is_damaged_nobody_looks_for_the_videos(cache_of, tmp_path):
    cache = cache_of("wds-jpeg")
    before = digests(cache)
    flip(generation_folder(cache) / "index.npy")
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
    shards = {generation_folder(cache) / shard.name for shard in generation_of(cache).shards}
    strides = (generation_folder(cache) / "source_frames.npy").exists()
    for path in before.keys() - shards:
        # The times of frames that are not stored are in the videos alone.
        if path.name not in {*STATE_THE_HASHES, "index.npy", *(["source_pts.npy"] if strides else [])}:
            flip(path)
    # In another column than the one that is wanted of it, where the side array is damaged, too.
    flip(generation_folder(cache) / "index.npy", -1)
    assert repaired(cache).exit_code == 0
    assert digests(cache) == before


@pytest.mark.parametrize("name", ["zarr-zstd", "zarr-raw"])
def test_what_the_plan_says_need_not_be_stored(cache_of, name):
    cache = cache_of(name)
    before = digests(cache)
    for path in ("index.npy", "frames.zarr/video_id/c/0", "frames.zarr/frame_in_video/c/0"):
        (generation_folder(cache) / path).unlink()
    assert repaired(cache).exit_code == 0
    assert digests(cache) == before


@pytest.mark.parametrize("harm", [os.unlink, lambda path: flip(path, 8 - 40)])
def test_what_is_nowhere_any_more_is_decoded(cache_of, simple_folder, harm):
    cache = cache_of("zarr-zstd")
    sound = digests(cache)
    harm(generation_folder(cache) / "index.npy")
    flip(generation_folder(cache) / "frames.zarr/pts_seconds/c/0")
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert (
        f"only the videos can give {generation_folder(cache).name}/index.npy again" in result.stderr
        and "--videos SOURCE" in result.stderr
    )
    assert digests(cache) == spoilt
    assert not cache.with_name(cache.name + ".building").exists()
    assert repaired(cache, simple_folder.path).exit_code == 0
    assert digests(cache) == sound


def test_a_generation_that_knows_a_shorter_index_makes_nobody_read_before_its_start(cache_of):
    cache = cache_of("zarr-zstd")
    files = generation_of(cache).files
    shorter = [msgspec.structs.replace(entry, num_bytes=10) for entry in files if entry.name == "index.npy"]
    change_generation(cache, files=shorter + [entry for entry in files if entry.name != "index.npy"])
    flip(generation_folder(cache) / "frames.zarr/pts_seconds/c/0")
    assert (
        f"only the videos can give {generation_folder(cache).name}/index.npy again" in repaired(cache).stderr
    )


def test_with_a_shard_damaged_too_only_its_videos_are_read(cache_of, simple_folder, tmp_path):
    cache = cache_of("wds-raw")  # a shard is a video
    sound = digests(cache)
    flip(generation_folder(cache) / "index.npy")
    flip(generation_folder(cache) / "shards/000001.tar")
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert (
        f"only the videos can give {generation_folder(cache).name}/shards/000001.tar again" in result.stderr
    )
    assert digests(cache) == spoilt
    (tmp_path / "videos").mkdir()
    shutil.copy(simple_folder.path / "01.mp4", tmp_path / "videos")
    assert repaired(cache, tmp_path / "videos").exit_code == 0
    assert digests(cache) == sound


def test_an_index_that_the_shards_do_not_give_is_refused(cache_of):
    cache = cache_of("zarr-video")
    change_generation(
        cache,
        library_versions=generation_of(cache).library_versions | {"zarr": "1"},
        files=[
            msgspec.structs.replace(entry, sha256="0" * 64) if "video_id" in entry.name else entry
            for entry in generation_of(cache).files
        ],
    )
    spoilt = digests(cache)
    result = repaired(cache)
    assert result.exit_code == EXIT_NOT_WHOLE
    assert (
        "the new files differ from the recorded hashes, with other versions: zarr: 1 there" in result.stderr
    )
    assert digests(cache) == spoilt


def test_a_damaged_video_gives_the_same_bytes_again(tmp_path):
    folder = tiny_folder(tmp_path / "videos", simple_specs(1))
    truncate_file(tiny_video(folder.path, path=Path("cut.avi"), num_frames=40).path, 0.7)
    cache = tmp_path / "cache"
    run("--videos", folder.path, "--out", cache, *SMALL, "--on-error", "skip")
    assert json.loads((tmp_path / "cache.report.json").read_bytes())["videos"][1]["verdict"] == "damaged"
    before = digests(cache)
    flip(generation_folder(cache) / "shards/000000.tar")
    assert repaired(cache, folder.path).exit_code == 0
    assert digests(cache) == before
