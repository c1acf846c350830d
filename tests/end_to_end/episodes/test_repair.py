"""Damaged files of caches of episodes and cameras are made again, bit for bit, by what they were built from."""

import shutil

import pytest

from cache_builder.api import build_cache
from cache_builder.errors import RepairError
from cache_builder.repair import repair_cache
from cache_builder.sources import Sources
from frame_store.manifest import read_trees
from tests.end_to_end.episodes.test_build_episodes import FRONT, LENGTHS, WRIST, digests
from tests.support.episodes import write_whole
from tests.support.lerobot import CameraSpec, write_lerobot


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_lerobot(
        tmp_path_factory.mktemp("lerobot") / "set",
        cameras=(
            CameraSpec(key=FRONT, gop_size=5, num_b_frames=2),
            CameraSpec(key=WRIST, gop_size=8, episodes_per_file=(2, 1)),
        ),
        lengths=LENGTHS,
    ).root


@pytest.fixture(scope="module", params=[{}, {"format": "zarr", "stride": 3}, {"fps": 4.0, "layout": "video"}])
def built(request, root, tmp_path_factory):
    cache = tmp_path_factory.mktemp("built") / "cache"
    build_cache(root, cache, size="native", frames_per_shard=5, workers=1, **request.param)
    return cache


@pytest.fixture
def cache(built, tmp_path):
    for path in built.parent.iterdir():
        if path.name.startswith("cache"):
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, tmp_path / path.name)
    return tmp_path / "cache"


def spoil(path):
    path.write_bytes(b"spoilt" + path.read_bytes()[6:])


def test_every_damaged_file_of_every_camera_is_made_again(cache, root):
    before = digests(cache)
    spoilt = []
    for tree in read_trees(cache):
        shards = [f"{tree.generations[0].folder}/{shard.name}" for shard in tree.common.shards]
        files = [f"{tree.generations[0].folder}/{file.name}" for file in tree.common.files]
        spoilt += [shards[0], shards[-1], *files]
    (columns,) = (path for path in cache.iterdir() if path.name.startswith("columns-"))
    spoilt += [f"{columns.name}/{path.name}" for path in columns.iterdir()]
    for name in set(spoilt):
        spoil(cache / name)
    made = repair_cache(cache, Sources.of(root), workers=1)
    assert digests(cache) == before
    assert {file.name for file in made} == set(spoilt)
    assert not cache.with_name("cache.building").exists()
    assert not cache.with_name("cache.columns.building").exists()
    assert repair_cache(cache, workers=1) == []


def test_columns_need_the_data_set_that_they_came_from(cache, tmp_path):
    (columns,) = (path for path in cache.iterdir() if path.name.startswith("columns-"))
    spoil(columns / "0000.npy")
    with pytest.raises(RepairError, match="give the tables that they came from"):
        repair_cache(cache, workers=1)
    spoil(
        columns / "columns.json"
    )  # else the data set of today gives the values, and this what it stated then
    other = write_lerobot(tmp_path / "other", lengths=LENGTHS, with_videos=False)
    with pytest.raises(RepairError, match="give the tables that they came from"):
        repair_cache(cache, Sources.of(other.root), workers=1)


def test_folders_with_cameras_are_repaired_by_their_pattern(tmp_path):
    for episode in range(2):
        for number, camera in enumerate(("front", "wrist")):
            write_whole(tmp_path / "v" / f"ep{episode}" / f"{camera}.mp4", camera=number, num_frames=7)
    pattern = "{episode}/{camera}.mp4"
    cache = tmp_path / "cache"
    build_cache(tmp_path / "v", cache, camera_pattern=pattern, size=64, frames_per_shard=4, workers=1)
    before = digests(cache)
    for tree in read_trees(cache):
        spoil(cache / tree.generations[0].folder / tree.common.shards[1].name)
    assert len(repair_cache(cache, Sources.of(tmp_path / "v", camera_pattern=pattern), workers=1)) == 2
    assert digests(cache) == before
