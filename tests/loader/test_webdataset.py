import gc
import json
import os
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from frame_store import concat, open_store, select
from frame_store.errors import StoreDamagedError, StoreFormatError, StoreNotFoundError, ViewError
from loader import FrameBatch, SamplingError, webdataset_batches
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids
from tests.support.caches.camera_cache import SIZES, moments_of, spelt, write_camera_cache
from tests.support.caches.tar_cache import write_tar_cache
from tests.support.caches.tree import generation_folder
from tests.support.grown.steps import append_videos, forget

SHARD_SIZES = [10, 7, 12, 1, 9]
STORE = ArrayStore(SHARD_SIZES)
SHARD_OF = STORE.index["shard_id"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return write_tar_cache(tmp_path_factory.mktemp("caches") / "raw", STORE)


def ids_of(batches):
    return [batch.frame_ids.tolist() for batch in batches]


def flat(batches):
    return list(chain.from_iterable(ids_of(batches)))


def test_every_frame_once_with_what_the_index_says(cache):
    batches = list(webdataset_batches(cache, batch_size=8, shuffle_buffer=5))
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 7]
    assert sorted(flat(batches)) == list(range(39))
    for batch in batches:
        assert isinstance(batch, FrameBatch)
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()
        rows = STORE.index[batch.frame_ids.numpy()]
        assert batch.video_ids.tolist() == rows["video_id"].tolist()
        assert batch.frame_in_video.tolist() == rows["frame_in_video"].tolist()
        assert torch.equal(
            batch.pts_seconds.nan_to_num(-1), torch.from_numpy(rows["pts_seconds"]).nan_to_num(-1)
        )


def test_a_grown_cache_is_all_its_generations_under_the_ids_of_the_cache(tmp_path):
    cache = append_videos(tmp_path / "cache", [5, 4], scratch=tmp_path, container="wds")
    append_videos(cache, [3, 0, 6], scratch=tmp_path, container="wds")
    batches = list(webdataset_batches(cache, batch_size=4, shuffle_buffer=3, seed=1))
    assert sorted(flat(batches)) == list(range(18))
    assert flat(batches) != flat(webdataset_batches(cache, batch_size=4, shuffle_buffer=3, epoch=1))
    with open_store(cache) as store:
        for batch in batches:
            frames, rows = store.read_frames_and_rows(batch.frame_ids.numpy())
            assert batch.frames.permute(0, 2, 3, 1).numpy().tobytes() == frames.tobytes()
            assert batch.video_ids.tolist() == rows["video_id"].tolist()
            assert batch.frame_in_video.tolist() == rows["frame_in_video"].tolist()
    forget(cache, 0, 4)
    with pytest.raises(
        SamplingError, match=r"2 videos that were forgotten: 'episode_000000', 'episode_000004'"
    ):
        webdataset_batches(cache)


def test_jpeg_frames_are_those_of_the_codec(tmp_path):
    store = ArrayStore([3, 2], frame_shape=(16, 24, 3))
    write_tar_cache(tmp_path / "jpeg", store, encoding="jpeg")
    batch = next(iter(webdataset_batches(tmp_path / "jpeg", batch_size=5)))
    decoded = batch.frames.permute(0, 2, 3, 1).numpy().astype(int)
    original = store.read_frames(batch.frame_ids.numpy()).astype(int)
    assert np.abs(decoded[:, 8:] - original[:, 8:]).max() <= 2  # blocks without the spelt id are flat


def test_short_batches_can_be_left_out(cache):
    assert [len(batch) for batch in webdataset_batches(cache, batch_size=8, drop_last=True)] == [8] * 4


def test_the_order_is_a_function_of_seed_and_epoch(cache):
    orders = {
        (seed, epoch): flat(webdataset_batches(cache, seed=seed, epoch=epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len({tuple(order) for order in orders.values()}) == 9
    pipeline = webdataset_batches(cache, seed=1, epoch=2)
    assert flat(pipeline) == flat(pipeline) == orders[1, 2]


def test_without_a_buffer_shards_are_read_from_end_to_end_in_a_drawn_order(cache):
    orders = set()
    for epoch in range(10):
        ids = np.array(flat(webdataset_batches(cache, shuffle_buffer=1, epoch=epoch)))
        shards = SHARD_OF[ids]
        assert sum(np.diff(shards) != 0) == 4
        assert (np.diff(ids)[np.diff(shards) == 0] == 1).all()
        orders.add(tuple(dict.fromkeys(shards.tolist())))
    assert len(orders) > 5


def test_the_buffer_mixes_as_far_as_it_reaches(cache):
    in_file_order = np.array(flat(webdataset_batches(cache, shuffle_buffer=1)))
    rank_in_file_order = np.argsort(in_file_order)
    mixed = rank_in_file_order[flat(webdataset_batches(cache, shuffle_buffer=6))]
    assert (mixed != np.arange(39)).any()
    assert (mixed - np.arange(39) <= 6).all()  # no frame leaves before it was read
    first_of_whole = {
        flat(webdataset_batches(cache, shuffle_buffer=39, epoch=epoch))[0] for epoch in range(40)
    }
    assert len(first_of_whole) > 15  # the buffer is full before the first leaves


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_share_the_shards(cache, context):
    pipeline = webdataset_batches(cache, batch_size=4, shuffle_buffer=5, epoch=1)
    loader = DataLoader(pipeline, batch_size=None, num_workers=2, multiprocessing_context=context)
    assert sorted(flat(loader)) == list(range(39))


def test_workers_read_the_same_in_every_run(cache):
    loader = DataLoader(webdataset_batches(cache, batch_size=4), batch_size=None, num_workers=2)
    assert ids_of(loader) == ids_of(loader)


def test_nodes_share_the_shards(cache, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    read = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        read.append(flat(webdataset_batches(cache, epoch=4)))
        assert len(set(SHARD_OF[read[-1]])) in {1, 2}
    assert sorted(chain.from_iterable(read)) == list(range(39))


def test_nodes_shuffle_differently(tmp_path, monkeypatch):
    write_tar_cache(tmp_path / "equal", ArrayStore([30, 30]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    orders = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        orders.append([frame_id % 30 for frame_id in flat(webdataset_batches(tmp_path / "equal"))])
    assert orders[0] != orders[1]


def test_a_relative_path_with_odd_characters_is_a_path(cache, tmp_path, monkeypatch):
    shutil.copytree(cache, tmp_path / "gs:{a,b} c::d")
    monkeypatch.chdir(tmp_path)
    assert sorted(flat(webdataset_batches("gs:{a,b} c::d"))) == list(range(39))


def test_leaving_early_closes_the_shard(cache):
    open_files = Path("/proc/self/fd")
    gc.collect()  # files of earlier tests, which would be closed in the middle of this one
    num_open = len(list(open_files.iterdir()))
    for _ in webdataset_batches(cache, batch_size=2, shuffle_buffer=1):
        break
    assert len(list(open_files.iterdir())) == num_open


def test_a_zarr_cache_is_refused(tmp_path):
    write_tar_cache(tmp_path / "zarr", STORE, container="zarr")
    with pytest.raises(SamplingError, match=r"reads tar shards, this cache is zarr; use loader.FrameLoader"):
        webdataset_batches(tmp_path / "zarr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, found 0"),
        ({"shuffle_buffer": 0}, "shuffle_buffer must be 1 or more, found 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number"),
        ({"shuffle_buffer": "9"}, "shuffle_buffer must be a whole number"),
        ({"drop_last": 1}, "drop_last must be True or False, found 1"),
        ({"seed": -1}, "seed must be in"),
        ({"epoch": 2**32}, "epoch must be in"),
    ],
)
def test_wrong_numbers_are_refused(cache, options, message):
    with pytest.raises(SamplingError, match=message):
        webdataset_batches(cache, **options)


def test_no_cache_is_refused(tmp_path):
    with pytest.raises(StoreNotFoundError):
        webdataset_batches(tmp_path / "nothing")


def damaged(cache, tmp_path, damage):
    copy = shutil.copytree(cache, tmp_path / "copy")
    shard = generation_folder(copy) / "shards" / "000002.tar"
    damage(shard)
    return copy


def cut_before_last_frame(shard):
    os.truncate(shard, 512 * 4 * 11)


def break_npy_header(shard):
    raw = bytearray(shard.read_bytes())
    raw[512] ^= 0xFF
    shard.write_bytes(raw)


def drop_pts(shard):
    raw = shard.read_bytes()
    assert json.loads(raw[3 * 512 :].split(b"}")[0] + b"}")["pts_seconds"] is not None
    shard.write_bytes(raw.replace(b'"pts_seconds"', b'"pts_sekunde"'))


def other_shape(shard):
    raw = shard.read_bytes()
    shard.write_bytes(raw.replace(b"(4, 6, 3)", b"(6, 4, 3)"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (os.unlink, "000002.tar: No such file"),
        (cut_before_last_frame, "000002.tar: expected .* bytes, found 22528; run cache-verify"),
        (break_npy_header, "000002.tar: frame 000000000017: .*run cache-verify"),
        (drop_pts, "000002.tar: frame 0000000000.*pts_sekunde.*run cache-verify"),
        (other_shape, r"000002.tar: frame 0000000000.*\(6, 4, 3\), expected uint8 \(4, 6, 3\)"),
    ],
)
def test_a_damaged_shard_is_named(cache, tmp_path, damage, message):
    copy = damaged(cache, tmp_path, damage)
    with pytest.raises(StoreDamagedError, match=message):
        list(webdataset_batches(copy, batch_size=4, shuffle_buffer=1))


def test_stores_are_refused_by_name(golden_caches):
    store = open_store(next(path for path in sorted(golden_caches.iterdir()) if path.is_dir()))
    for wrong, name in (
        (select(store, ids=[0]), "a view"),
        (concat([store, store]), "a .*Concatenation"),
        (store, "a CacheStore"),
    ):
        with pytest.raises(
            SamplingError, match=f"takes its path, found {name}; loader.FrameLoader reads every store"
        ):
            webdataset_batches(wrong)


def test_a_camera_is_read_by_its_name_and_groups_are_refused(tmp_path):
    write_camera_cache(tmp_path / "cache", frames_per_shard=5)
    for camera, number in (("front", 0), ("wrist", 1)):
        batches = webdataset_batches(tmp_path / "cache", batch_size=4, shuffle_buffer=1, camera=camera)
        frames = np.concatenate([batch.frames.permute(0, 2, 3, 1).numpy() for batch in batches])
        shown = spelt(frames)
        assert (shown[:, 0] == number).all()
        assert sorted(map(tuple, shown[:, 1:].tolist())) == list(
            zip(*moments_of(SIZES).tolist(), strict=True)
        )
    with pytest.raises(StoreFormatError, match="is a cache of 2 cameras; name one: 'front', 'wrist'"):
        webdataset_batches(tmp_path / "cache")
    with pytest.raises(ViewError, match="no camera 'left'"):
        webdataset_batches(tmp_path / "cache", camera="left")
    group = open_store(tmp_path / "cache")
    for store in (group, select(group, videos=[0])):
        with pytest.raises(
            SamplingError, match="tar shards of one camera: give the path of the cache of cameras"
        ):
            webdataset_batches(store)
