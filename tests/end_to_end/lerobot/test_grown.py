"""Items of a cache that has grown, and that has forgotten an episode, against those of a cache of one generation."""

import shutil

import pytest
import torch

from cache_builder import build_cache
from cache_builder.repair import repair_cache
from cache_builder.sources import Sources
from frame_store import FrameIdError, open_store, select
from frame_store.manifest import read_manifest
from frame_store.verify import verify_store
from loader.errors import LeRobotError
from loader.lerobot import LeRobotBatches, LeRobotFrames
from tests.end_to_end.builds.repair.repairs import flip
from tests.support.commands import digests
from tests.support.grown.steps import commit, grow
from tests.support.lerobot import CameraSpec, write_lerobot

FRONT, WRIST = (f"observation.images.{name}" for name in ("front", "wrist"))
LENGTHS = (6, 9, 4, 7)
DELTA = {"action": [-0.1, 0.0, 0.2], FRONT: [-0.2, 0.0], WRIST: [0.1]}
SETTINGS = {"size": 32, "encoding": "raw", "workers": 1, "frames_per_shard": 5}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    cameras = (CameraSpec(key=FRONT), CameraSpec(key=WRIST, episodes_per_file=(2, 2)))
    folder = tmp_path_factory.mktemp("sets") / "robot"
    return write_lerobot(folder, cameras=cameras, lengths=LENGTHS, fps=10).root


@pytest.fixture(scope="module")
def caches(root, tmp_path_factory):
    """A cache of one generation, and one that grew by the last two episodes."""
    folder = tmp_path_factory.mktemp("caches")
    build_cache(root, folder / "whole", **SETTINGS)
    build_cache(root, folder / "grown", include=["episode_000000", "episode_000001"], **SETTINGS)
    build_cache(root, folder / "more", include=["episode_000002", "episode_000003"], **SETTINGS)
    return folder / "whole", grow(folder / "grown", folder / "more")


@pytest.fixture
def grown(caches, tmp_path):
    return shutil.copytree(caches[1], tmp_path / "cache")


def require_same(ours, theirs):
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
        assert same, key


def test_items_and_windows_are_those_of_a_cache_of_one_generation(caches):
    whole, grown = (LeRobotFrames(cache, DELTA) for cache in caches)
    assert len(whole) == len(grown) == sum(LENGTHS) and grown.episodes is None
    for index in range(len(whole)):
        require_same(grown[index], whole[index])
    assert str(grown.meta.stats) == str(whole.meta.stats)


def test_a_forgotten_episode_is_one_that_the_cache_left_out(caches, grown):
    commit(grown, forgotten_videos=[1])
    whole, left = LeRobotFrames(caches[0], DELTA), LeRobotFrames(grown, DELTA)
    assert left.stored_episodes == left.episodes == [0, 2, 3]
    with pytest.raises(FrameIdError, match=r"frame 0 of episode 1, which .* left out: it is forgotten"):
        left[6]
    for index in (0, 5, 15, 25):
        require_same(left[index], whole[index])
    seen = [index for batch in LeRobotBatches(left, batch_size=4) for index in batch["index"].tolist()]
    assert set(seen) <= {*range(6), *range(15, 26)} and len(seen) == len(set(seen)) >= 16
    with pytest.raises(LeRobotError, match="takes a whole cache"):
        LeRobotFrames(select(open_store(grown), videos=[0, 1]))


def test_columns_of_every_generation_are_repaired_from_the_data_set(grown, root):
    before, columns = digests(grown), read_manifest(grown).columns
    for entry in columns:
        flip(grown / entry.folder / "0000.npy")
    made = repair_cache(grown, Sources.of(root), workers=1)
    assert len(made) == 2
    assert digests(grown) == before and verify_store(grown).problems == []
