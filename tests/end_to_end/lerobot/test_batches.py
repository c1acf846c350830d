"""`LeRobotBatches` give what torch's loader gives over the same items, each item once an epoch."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from cache_builder import build_cache
from loader.errors import SamplingError
from loader.lerobot import LeRobotBatches, LeRobotFrames
from tests.support.lerobot import CameraSpec, LeRobotSpec, edit_data, write_lerobot

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
LENGTHS = (9, 12, 3, 11)
DELTA = {"action": [-0.1, 0.0, 0.1, 0.2], FRONT: [-0.2, 0.0], "observation.state": [0.0]}
LEFT_OUT = 1


def built(folder, **options):
    spec = LeRobotSpec(cameras=(CameraSpec(key=FRONT), CameraSpec(key=WRIST, width=48)), lengths=LENGTHS)
    root = write_lerobot(folder / "set", spec).root
    if options:
        edit_data(root, LEFT_OUT, 3, {"timestamp": lambda seconds: seconds + 0.03})
    build_cache(root, folder / "cache", size="native", encoding="raw", workers=1, **options)
    return folder / "cache"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return built(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def partial_cache(tmp_path_factory):
    return built(tmp_path_factory.mktemp("partial"), on_error="skip")


def assert_same(batch, expected):
    assert list(batch) == list(expected)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert batch[key].dtype == value.dtype and torch.equal(batch[key], value), key
        else:
            assert batch[key] == value, key


def collated(frames, batch):
    return default_collate(frames.__getitems__(batch["index"].tolist()))


@pytest.mark.parametrize("delta", [None, DELTA])
def test_a_batch_is_the_collated_items(cache, delta):
    frames = LeRobotFrames(cache, delta)
    batches = LeRobotBatches(frames, batch_size=8, seed=3, remainder="uneven")
    assert len(batches) == 5
    seen = [(batch, collated(frames, batch)) for batch in batches]  # kept: memory must not be used again
    for batch, expected in seen:
        assert_same(batch, expected)
    order = torch.cat([batch["index"] for batch, _ in seen]).tolist()
    assert sorted(order) == list(range(sum(LENGTHS))) and order != sorted(order)
    assert torch.cat([batch["index"] for batch in batches]).tolist() != order  # the next epoch


def test_transforms_see_one_item_at_a_time(cache):
    shapes = []

    def darker(picture):
        shapes.append(tuple(picture.shape))
        return picture / 2

    batches = LeRobotBatches(
        LeRobotFrames(cache, DELTA, image_transforms=darker), batch_size=4, num_threads=1
    )
    batch = next(iter(batches))
    assert set(shapes) == {(2, 3, 64, 96), (3, 64, 48)}
    expected = collated(LeRobotFrames(cache, DELTA), batch)
    assert torch.equal(batch[WRIST], expected[WRIST] / 2) and torch.equal(batch["action"], expected["action"])


def test_episodes_that_were_left_out_do_not_come(partial_cache):
    frames = LeRobotFrames(partial_cache, DELTA)
    batches = LeRobotBatches(frames, batch_size=8, remainder="uneven")
    given = list(batches)
    for batch in given:
        assert_same(batch, collated(frames, batch))
    assert sorted(torch.cat([batch["episode_index"] for batch in given]).tolist()) == sorted(
        np.repeat([0, 2, 3], [9, 3, 11]).tolist()
    )


def test_chosen_episodes_alone(cache):
    frames = LeRobotFrames(cache, DELTA, episodes=[3, 0])
    whole = LeRobotFrames(cache, DELTA)
    given = list(LeRobotBatches(frames, batch_size=8, remainder="uneven"))
    for batch in given:
        assert_same(batch, collated(whole, batch))
    assert sorted(torch.cat([batch["episode_index"] for batch in given]).tolist()) == [0] * 9 + [3] * 11


def test_a_run_goes_on_where_it_stopped_and_ranks_share_the_epoch(cache):
    frames = LeRobotFrames(cache)
    whole = [batch["index"].tolist() for batch in LeRobotBatches(frames, batch_size=4, seed=1)]
    batches = LeRobotBatches(frames, batch_size=4, seed=1)
    first = [batch["index"].tolist() for _, batch in zip(range(3), batches, strict=False)]
    resumed = LeRobotBatches(pickle.loads(pickle.dumps(frames)), batch_size=4, seed=1)
    resumed.load_state_dict(batches.state_dict())
    assert first + [batch["index"].tolist() for batch in resumed] == whole
    ranks = [
        LeRobotBatches(frames, batch_size=4, rank=rank, world_size=2, remainder="uneven") for rank in (0, 1)
    ]
    indices = [batch["index"] for rank in ranks for batch in rank]
    assert sorted(torch.cat(indices).tolist()) == list(range(sum(LENGTHS)))


def test_stratified_batches_have_each_episode_in_proportion(cache, partial_cache):
    frames = LeRobotFrames(cache, DELTA)
    batches = LeRobotBatches(frames, batch_size=8, seed=2, sampling="stratified", remainder="uneven")
    given = list(batches)
    for batch in given:
        assert_same(batch, collated(frames, batch))
    assert sorted(torch.cat([batch["index"] for batch in given]).tolist()) == list(range(sum(LENGTHS)))
    for batch in given[:-1]:  # a stretch is 4 or 5 of the 35 frames
        counts = np.bincount(batch["episode_index"].numpy(), minlength=4)
        assert (counts >= np.array(LENGTHS) // 5 - 1).all() and (
            counts <= -(-np.array(LENGTHS) // 4) + 1
        ).all()
    of_three = LeRobotBatches(
        LeRobotFrames(partial_cache, DELTA), batch_size=4, sampling="stratified", weights="video"
    )
    for batch in of_three:  # one episode was left out
        assert set(batch["episode_index"].tolist()) == {0, 2, 3}


def test_items_keep_their_pictures_when_others_are_read(cache):
    frames = LeRobotFrames(cache)
    items = frames.__getitems__([0, 1, 2, 3])
    before = [item[FRONT].clone() for item in items]
    for first in range(4, 30, 4):
        frames.__getitems__(list(range(first, first + 4)))
    assert all(torch.equal(item[FRONT], picture) for item, picture in zip(items, before, strict=True))


def test_windows_belong_to_the_items(cache):
    with pytest.raises(SamplingError, match="frame_offsets"):
        LeRobotBatches(LeRobotFrames(cache), batch_size=4, frame_offsets=(0, 1))
