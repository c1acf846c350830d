"""A store as it was earlier is that earlier store, whatever was appended, joined or forgotten since."""

import pickle
import shutil

import numpy as np
import pytest

from frame_store import CacheStore, open_store, select, split
from frame_store.growth import (
    Stage,
    earlier_numbers_of_videos,
    earlier_store,
    generation_frames_of,
    growth_of,
)
from frame_store.manifest import Encoding
from frame_store.protocol import HoldsEncodedFrames, PrefetchingStore
from frame_store.views import concat
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.grown.steps import append_videos, commit, forget, grow, join

HISTORY = ([7, 0, 12, 5], [3], [9, 6])


def as_it_was(store, then):
    """`store` as it was when it was `then`, asked for as a state does."""
    return earlier_store(
        store,
        num_frames=len(then),
        fingerprint=then.fingerprint,
        generation_frames=generation_frames_of(then),
    )


def assert_same_store(found, then):
    assert len(found) == len(then)
    assert found.fingerprint == then.fingerprint
    np.testing.assert_array_equal(found.shard_sizes, then.shard_sizes)
    assert [*found.videos] == [*then.videos]
    ours, theirs = found.source_order, then.source_order
    for name in ("first_row", "first_stored", "order", "source_frames"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(np.asarray(ours.source_pts), np.asarray(theirs.source_pts))
    ids = np.arange(len(then))
    frames, rows = found.read_frames_and_rows(ids)
    expected_frames, expected_rows = then.read_frames_and_rows(ids)
    np.testing.assert_array_equal(frames, expected_frames)
    for name in ("video_id", "frame_in_video", "pts_seconds", "shard_id"):
        np.testing.assert_array_equal(rows[name], expected_rows[name])
        np.testing.assert_array_equal(found.rows_of(ids)[name], expected_rows[name])
    with pytest.raises(IndexError):
        found.read_frames([len(then)])


@pytest.fixture(params=["appended", "joined", "joined in part"])
def history(tmp_path, request):
    """The path of a cache that has grown, and the stores that were opened after each build."""
    cache, stores = tmp_path / "cache", []
    for number, sizes in enumerate(HISTORY):
        append_videos(cache, sizes, scratch=tmp_path, encoding=Encoding(name="zstd", level=3), stride=2)
        stores.append(CacheStore(cache))
        if request.param == "joined" and number:
            join(cache, 0, 2)
            stores.append(CacheStore(cache))
    if request.param == "joined in part":
        join(cache, 1, 3)
    return cache, stores


def test_an_earlier_store_is_what_the_store_was(history):
    cache, stores = history
    now = open_store(cache)
    for then in stores:
        found = as_it_was(now, then)
        assert_same_store(found, then)
        assert isinstance(found, HoldsEncodedFrames)
        assert isinstance(found, PrefetchingStore)
        found.prefetch([0])
        again = pickle.loads(pickle.dumps(found))
        assert_same_store(again, then)
        assert generation_frames_of(found) == generation_frames_of(again) == generation_frames_of(then)
        assert as_it_was(again, stores[0]).fingerprint == stores[0].fingerprint
    stages = growth_of(now)
    assert [stage.num_frames for stage in stages] == [13, 15, 23]
    assert [stage.num_videos for stage in stages] == [4, 5, 7]
    assert stages[-1] == Stage(num_frames=len(now), num_videos=7, fingerprint=now.fingerprint)
    assert {then.fingerprint for then in stores} <= {stage.fingerprint for stage in stages}
    assert earlier_numbers_of_videos(now) == [4, 5]


def test_a_view_was_what_it_chose_among_the_frames_of_then(history):
    cache, stores = history
    now = open_store(cache)
    shares = {"train": 0.6, "val": 0.4}
    for part in shares:
        view = split(now, shares, seed=1)[part]
        for then in stores:
            before = split(then, shares, seed=1)[part]
            assert_same_store(as_it_was(view, before), before)
    chosen = select(now, ids=[1, 4, 14, 20])
    before = select(stores[0], ids=[1, 4])
    assert_same_store(as_it_was(chosen, before), before)
    assert earlier_store(chosen, num_frames=2, fingerprint="0" * 64) is None
    assert [stage.num_frames for stage in growth_of(chosen)] == [2, 3, 4]


def test_forgetting_later_videos_leaves_earlier_times_as_they_were(history):
    cache, stores = history
    forget(cache, 5)
    now = open_store(cache)
    assert_same_store(as_it_was(now, stores[0]), stores[0])
    before = open_store(cache, generation=0)
    forget(cache, 2)
    now = open_store(cache)
    assert as_it_was(now, before) is None
    assert as_it_was(now, stores[0]) is None
    assert len(now) < len(before) + 5


def test_an_unchanged_store_is_itself_and_others_do_not_grow(tmp_path):
    store = CacheStore(append_videos(tmp_path / "cache", [4, 3], scratch=tmp_path))
    assert as_it_was(store, store) is store
    for other in (ArrayStore([4, 3]), concat([store, store])):
        assert generation_frames_of(other) == ()
        assert earlier_numbers_of_videos(other) == []
        assert as_it_was(other, other) is other
        assert as_it_was(other, store) is None
        assert [stage.fingerprint for stage in growth_of(other)] == [other.fingerprint]


@pytest.mark.parametrize("seeds", [[3, 3], [1, 2]])
def test_cameras_grow_together(tmp_path, seeds):
    cache, added = tmp_path / "cache", tmp_path / "added"
    write_camera_cache(cache, seeds=seeds)
    then = open_store(cache)
    write_camera_cache(added, seeds=[7, 8], sizes=(4, 3), names=[["a", "b"]] * 2)
    grow(cache, added)
    now = open_store(cache)
    for store, before in ((now, then), (select(now, videos=[0, 2, 5]), select(then, videos=[0, 2]))):
        found = as_it_was(store, before)
        assert found.fingerprint == before.fingerprint
        ids = np.arange(len(before))
        for camera in before.cameras:
            np.testing.assert_array_equal(
                found.read_frames(ids, camera=camera), before.read_frames(ids, camera=camera)
            )
        np.testing.assert_array_equal(found.shard_sizes, before.shard_sizes)
    alone = open_store(cache, camera="wrist")
    assert len(growth_of(alone)) == 2


@pytest.mark.parametrize("is_earlier", [False, True])
def test_pts_of_several_generations_are_indexed_as_an_array(tmp_path, is_earlier):
    cache = append_videos(tmp_path / "cache", (3, 4), scratch=tmp_path)
    append_videos(cache, (2, 5), scratch=tmp_path)
    stages = growth_of(CacheStore(cache))
    join(cache, 0, 2)
    append_videos(cache, (1, 2), scratch=tmp_path)
    store = CacheStore(cache)
    if is_earlier:
        store = earlier_store(store, num_frames=stages[0].num_frames, fingerprint=stages[0].fingerprint)
    pts = store.source_order.source_pts
    expected = np.array([pts[row] for row in range(len(pts))])
    np.testing.assert_array_equal(np.asarray(pts), expected)
    for key in (
        -1,
        [-1, 0],
        expected > 0.04,
        np.s_[::-1],
        np.s_[2:6],
        np.s_[5:1:-2],
        np.s_[-3:],
        [[0, 6], [2, -2]],
    ):
        np.testing.assert_array_equal(pts[key], expected[key])
    for outside in (len(pts), -len(pts) - 1, [True]):
        with pytest.raises(IndexError):
            pts[outside]


def test_an_earlier_store_has_the_forgotten_videos_of_its_time(tmp_path):
    cache = append_videos(tmp_path / "cache", (3, 4), scratch=tmp_path)
    append_videos(cache, (2, 5), scratch=tmp_path)
    stage = growth_of(CacheStore(cache))[0]
    join(cache, 0, 2)
    commit(cache, forgotten_videos=[1, 3])
    earlier = earlier_store(CacheStore(cache), num_frames=stage.num_frames, fingerprint=stage.fingerprint)
    assert earlier.forgotten_videos.tolist() == [1]
    assert len(earlier.index) == 7 and earlier.index[[-1]].dtype == earlier.index[0].dtype


def test_a_copied_view_counts_the_shards_of_its_copied_cache(tmp_path):
    cache = append_videos(tmp_path / "cache", (3, 4), scratch=tmp_path)
    append_videos(cache, (2, 5), scratch=tmp_path)
    commit(cache, forgotten_videos=[1])
    view = open_store(cache)
    copied, removed = pickle.dumps(view), [cache / each.folder for each in view.base.generations]
    view.close()
    join(cache, 0, 2)
    for folder in removed:
        shutil.rmtree(folder)
    copy, expected = pickle.loads(copied), open_store(cache)
    assert copy.shard_sizes.tolist() == expected.shard_sizes.tolist()
    ids = np.arange(len(copy))
    assert copy.rows_of(ids).tobytes() == expected.rows_of(ids).tobytes()
