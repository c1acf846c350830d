"""Caches of cameras as readers open them: all cameras as a group, or one alone."""

import pickle

import numpy as np
import pytest

from frame_store import CacheStore, CameraGroup, open_store
from frame_store.cameras import AlignedStore
from frame_store.errors import StoreDamagedError, StoreFormatError, StoreNotFoundError, ViewError
from frame_store.manifest import Encoding, read_tree, read_trees
from frame_store.protocol import HoldsEncodedFrames, PrefetchingStore
from tests.support.caches.camera_cache import (
    CAMERAS,
    DATASET,
    SIZES,
    spelt,
    write_camera_cache,
    write_plain_cache,
)

RAW, JPEG = Encoding(name="raw"), Encoding(name="jpeg", quality=95, chroma="444")
KINDS = {
    "wds raw": {"container": "wds", "encoding": RAW},
    "wds jpeg": {"container": "wds", "encoding": JPEG},
    "zarr raw": {"container": "zarr", "encoding": RAW},
    "zarr zstd": {"container": "zarr", "encoding": Encoding(name="zstd", level=3)},
}


@pytest.fixture
def cache(tmp_path):
    write_camera_cache(tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["shuffled", "video"])
def test_every_id_shows_one_moment_in_all_cameras(tmp_path, kind, layout):
    write_camera_cache(tmp_path / "cache", layout=layout, stride=2, **KINDS[kind])
    group = open_store(tmp_path / "cache")
    assert isinstance(group, CameraGroup)
    assert list(group.cameras) == list(CAMERAS)
    rows = group.rows_of(range(len(group)))
    for number, name in enumerate(CAMERAS):
        expected = np.stack([np.full(len(group), number), rows["video_id"], rows["frame_in_video"]], axis=1)
        np.testing.assert_array_equal(spelt(group.read_frames(range(len(group)), camera=name)), expected)


def test_ids_differ_between_cameras_of_other_seeds_and_are_common_in_the_group(cache):
    alone = [open_store(cache, camera=name).rows_of(range(24)) for name in CAMERAS]
    assert (alone[0]["video_id"] != alone[1]["video_id"]).any()
    group = open_store(cache)
    assert isinstance(group.cameras["front"], CacheStore)
    assert isinstance(group.cameras["wrist"], AlignedStore)


def test_equal_orders_need_no_alignment(tmp_path):
    write_camera_cache(tmp_path / "cache", seeds=[3, 3])
    assert all(isinstance(store, CacheStore) for store in open_store(tmp_path / "cache").cameras.values())


def test_one_camera_alone_is_a_store_with_the_shared_columns(cache):
    store = open_store(cache, camera="wrist")
    assert isinstance(store, CacheStore)
    assert store.camera == "wrist"
    assert store.dataset == DATASET
    frames, rows = store.read_frames_and_rows([5, 2])
    np.testing.assert_array_equal(spelt(frames)[:, 1], rows["video_id"])
    assert (spelt(frames)[:, 0] == 1).all()
    order = store.source_order
    values = store.columns["action"].gather(order.rows_of(rows["video_id"], rows["frame_in_video"]))
    np.testing.assert_array_equal(values, np.stack([rows["video_id"], rows["frame_in_video"]], axis=1))
    assert str(cache) in repr(store) and "camera 'wrist'" in repr(store)


def test_a_camera_and_a_group_pickle(cache):
    store = open_store(cache, camera="wrist", reads="pread", verify_reads=True)
    again = pickle.loads(pickle.dumps(store))
    assert (again.camera, again.reads, again.verify_reads) == ("wrist", "pread", True)
    np.testing.assert_array_equal(again[:], store[:])
    group = open_store(cache)
    assert len(group.videos) == len(SIZES)
    copy = pickle.loads(pickle.dumps(group))
    assert copy.fingerprint == group.fingerprint
    assert copy.cameras["front"] is copy.leader
    np.testing.assert_array_equal(copy[3]["wrist"], group[3]["wrist"])
    assert list(copy.columns) == list(group.columns) == ["action"]
    assert copy.dataset == DATASET


def test_a_cache_without_cameras_opens_as_before(tmp_path):
    write_plain_cache(tmp_path / "cache")
    store = open_store(tmp_path / "cache")
    assert isinstance(store, CacheStore)
    assert store.camera is None
    assert store.dataset is None
    with pytest.raises(ViewError, match="cache: no camera 'front'; it is a cache without cameras"):
        open_store(tmp_path / "cache", camera="front")


def test_a_wrong_camera_is_refused_with_the_names(cache):
    with pytest.raises(ViewError, match="cache: no camera 'left'; it has 'front', 'wrist'"):
        open_store(cache, camera="left")
    with pytest.raises(StoreFormatError, match="is a cache of 2 cameras; name one: 'front', 'wrist'"):
        CacheStore(cache)
    with pytest.raises(StoreFormatError, match="name one"):
        read_tree(cache)


def test_trees_of_all_cameras_share_the_manifest(cache):
    trees = read_trees(cache)
    assert [tree.camera.name for tree in trees] == list(CAMERAS)
    assert [tree.generations[0].folder.split("/")[0] for tree in trees] == ["camera-00", "camera-01"]
    assert [tree.leads for tree in trees] == [True, False]


def test_the_folder_of_a_camera_explains_that_the_cache_is_above(cache):
    with pytest.raises(
        StoreNotFoundError, match=f"camera-01: no cache: a camera of one; give the whole: {cache} "
    ):
        open_store(cache / "camera-01")
    with pytest.raises(StoreNotFoundError, match=f"a part of one; give the whole: {cache}"):
        open_store(next((cache / "camera-01").iterdir()))


def test_a_cache_of_cameras_without_its_manifest_is_named(cache):
    (cache / "manifest-0000.json").unlink()
    with pytest.raises(
        StoreFormatError, match=r"manifest-0000\.json: is missing, and the rest of a cache is there"
    ):
        open_store(cache)


def test_damage_names_cache_and_camera(cache):
    (shard,) = cache.glob("camera-01/gen-*/shards/000000.tar")
    shard.write_bytes(shard.read_bytes()[:-512])
    group = open_store(cache)
    group.read_frames([0], camera="front")
    broken = open_store(cache, camera="wrist")
    with pytest.raises(StoreDamagedError, match=f"frame 1 of camera 'wrist': .*run cache-verify on {cache}$"):
        broken.read_frames([1])


def test_a_table_of_videos_that_was_altered_names_the_cache(cache):
    (table,) = cache.glob("camera-01/gen-*/videos.jsonl")
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(StoreDamagedError, match=f"run cache-verify on {cache}$"):
        _ = open_store(cache).videos


def test_cameras_that_store_other_frames_are_refused(tmp_path):
    write_camera_cache(tmp_path / "cache", sizes=[(6, 3), (5, 4)], columns=False)
    with pytest.raises(
        StoreDamagedError, match=r"cameras 'front' and 'wrist' have other frames.*first_row\.npy"
    ):
        open_store(tmp_path / "cache")


def test_cameras_whose_videos_have_other_names_are_refused_with_the_table(tmp_path):
    write_camera_cache(tmp_path / "cache", sizes=(3, 3), names=[["a", "b"], ["b", "a"]], columns=False)
    group = open_store(tmp_path / "cache")  # opening reads no table of videos
    with pytest.raises(
        StoreDamagedError, match="video 0, 'a': path is 'b' in camera 'wrist', 'a' in camera 'front'"
    ):
        _ = group.videos


def test_a_group_prefetches_and_its_cameras_give_encoded_frames(tmp_path):
    write_camera_cache(tmp_path / "cache", **KINDS["wds jpeg"])
    group = open_store(tmp_path / "cache")
    assert isinstance(group, PrefetchingStore)
    assert group.prefetch(range(len(group))) in {True, False}
    wrist = group.cameras["wrist"]
    assert isinstance(wrist, AlignedStore) and isinstance(wrist, PrefetchingStore)
    assert isinstance(wrist, HoldsEncodedFrames)
    assert wrist.encoding_name == "jpeg"
    alone = open_store(tmp_path / "cache", camera="wrist")
    for payload, own in zip(
        wrist.read_encoded([4, 4, 9]), alone.read_encoded(wrist.own_ids([4, 4, 9])), strict=True
    ):
        assert payload.tobytes() == own.tobytes()


def test_a_newer_version_during_opening_is_seen_by_all_cameras(cache, monkeypatch):
    from frame_store.reader import opening

    stale, answers = opening.read_manifest(cache), []

    def read(path):
        answers.append(path)
        found = opening_read(path)
        if len(answers) == 1:
            return type(stale)(
                **{name: getattr(stale, name) for name in stale.__struct_fields__} | {"columns": []}
            )
        return found

    opening_read = opening.read_manifest
    monkeypatch.setattr(opening, "read_manifest", read)
    group = open_store(cache)
    assert len(answers) == 2
    assert list(group.columns) == ["action"]
