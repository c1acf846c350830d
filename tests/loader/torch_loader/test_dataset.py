import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from frame_store.errors import FrameIdError
from loader import (
    FrameBatch,
    FrameBatchSampler,
    FrameDataset,
    FrameLoader,
    SamplingError,
    frame_batch_collate,
)
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids

WORKERS = [
    pytest.param({"num_workers": 0}, id="0 workers"),
    pytest.param({"num_workers": 2, "multiprocessing_context": "fork"}, id="2 forked workers"),
    pytest.param({"num_workers": 2, "multiprocessing_context": "spawn"}, id="2 spawned workers"),
]


@pytest.mark.parametrize("workers", WORKERS)
def test_torchs_data_loader_yields_the_batches_of_frame_loader(workers):
    store = ArrayStore([30, 20])
    batches = DataLoader(
        FrameDataset(store),
        batch_sampler=FrameBatchSampler(store, batch_size=10, seed=3),
        collate_fn=frame_batch_collate,
        **workers,
    )
    expected = FrameLoader(store, batch_size=10, seed=3)
    assert len(batches) == len(expected) == 5
    for epoch in range(2):
        found = list(batches)
        assert all(isinstance(batch, FrameBatch) for batch in found)
        assert [batch.frame_ids.tolist() for batch in found] == [
            batch.frame_ids.tolist() for batch in expected
        ], epoch
        assert sorted(torch.cat([batch.frame_ids for batch in found]).tolist()) == list(range(50))
        for batch in found:
            assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()
            assert batch.frames.is_contiguous(memory_format=torch.channels_last)
            assert np.array_equal(batch.video_ids, store.index["video_id"][batch.frame_ids])


@pytest.mark.parametrize("workers", WORKERS[:2])
def test_a_plain_data_loader_gets_stacked_samples(workers):
    store = ArrayStore([30, 20])
    batch = next(iter(DataLoader(FrameDataset(store), batch_size=8, **workers)))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "frame": ((8, 3, 4, 6), torch.uint8),
        "frame_id": ((8,), torch.int64),
        "cache_id": ((8,), torch.int64),
        "video_id": ((8,), torch.int64),
        "frame_in_video": ((8,), torch.int64),
        "pts_seconds": ((8,), torch.float64),
    }
    assert spelt_frame_ids(batch["frame"]).tolist() == batch["frame_id"].tolist() == list(range(8))


def test_a_batch_is_one_read():
    store = ArrayStore([50])
    list(DataLoader(FrameDataset(store), batch_size=10, collate_fn=frame_batch_collate))
    assert store.reads == [10] * 5


def test_items_and_subsets():
    store = ArrayStore([30, 20])
    dataset = FrameDataset(store)
    assert len(dataset) == 50
    assert dataset[41]["frame_id"] == 41
    assert spelt_frame_ids(dataset[41]["frame"][None]) == [41]
    with pytest.raises(FrameIdError):
        dataset[50]
    subset = DataLoader(Subset(dataset, [7, 9, 11]), batch_size=2, collate_fn=frame_batch_collate)
    assert [batch.frame_ids.tolist() for batch in subset] == [[7, 9], [11]]


def test_set_epoch_and_the_next_ones():
    sampler = FrameBatchSampler(ArrayStore([50]), batch_size=8)
    epochs = [list(sampler) for _ in range(3)]
    assert len({str(epoch) for epoch in epochs}) == 3
    assert all(type(frame_id) is int for frame_id in epochs[0][0])
    sampler.set_epoch(1)
    assert [list(sampler), list(sampler)] == epochs[1:]
    with pytest.raises(SamplingError, match="epoch must be in"):
        sampler.set_epoch(2**32)


def test_a_sampler_takes_the_options_of_frame_loader():
    store = ArrayStore([30, 21])
    options = {
        "batch_size": 6,
        "sampling": "shards",
        "seed": 5,
        "frames_per_visit": 3,
        "shards_per_batch": 2,
        "shard_choice": "proportional",
        "rank": 1,
        "world_size": 2,
        "remainder": "drop",
    }
    expected = [batch.frame_ids.tolist() for batch in FrameLoader(store, **options)]
    assert list(FrameBatchSampler(store, **options)) == expected
    assert len(FrameBatchSampler(store, **options)) == len(expected) == 4


def test_a_sampler_travels_with_its_epoch():
    sampler = FrameBatchSampler(ArrayStore([50]), batch_size=8)
    sampler.set_epoch(4)
    assert list(pickle.loads(pickle.dumps(sampler))) == list(sampler)


def test_the_collation_refuses_samples_of_other_datasets():
    with pytest.raises(TypeError, match=r"takes the FrameBatch of FrameDataset.__getitems__, found list"):
        frame_batch_collate([1, 2])
