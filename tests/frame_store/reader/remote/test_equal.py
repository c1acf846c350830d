"""Caches in a real object store, opened by their URL, against the same caches on the disk."""

import os
import pickle

import numpy as np
import pytest

pytest.importorskip("torch")

from frame_store import concat, open_store, select, split
from frame_store.errors import ObjectStoreError
from loader import FrameLoader
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.grown.steps import forget
from tests.support.grown.written import write_grown
from tests.support.object_stores.copies import upload

pytestmark = pytest.mark.usefixtures("seaweed")
GOLDEN = ["wds-jpeg-columns", "wds-raw-strided", "zarr-raw-content", "zarr-zstd-gray16"]


def assert_equal(remote, local):
    ids = np.random.default_rng(0).integers(
        0, len(local), 3 * len(local)
    )  # with frames that are wanted again
    np.testing.assert_array_equal(remote.read_frames(ids), local.read_frames(ids))
    assert remote.rows_of(ids).tobytes() == local.rows_of(ids).tobytes()  # equal, also where NaN
    assert remote.fingerprint == local.fingerprint
    assert [repr(row) for row in remote.videos] == [repr(row) for row in local.videos]
    assert remote.shard_sizes.tolist() == local.shard_sizes.tolist()
    for name in ("first_row", "first_stored", "order", "source_frames", "source_pts"):
        there, here = (getattr(store.source_order, name) for store in (remote, local))
        assert (there is None) == (here is None)
        if here is not None:
            np.testing.assert_array_equal(there[:], here[:])
    assert list(remote.columns) == list(local.columns) and remote.dataset == local.dataset
    for name, column in local.columns.items():
        places = np.arange(len(column))
        np.testing.assert_array_equal(remote.columns[name].gather(places), column.gather(places))
        assert remote.columns[name].strings == column.strings


@pytest.mark.parametrize("name", GOLDEN)
def test_a_cache(golden_caches, bucket_folder, here, name):
    upload(golden_caches / name, bucket_folder)
    local = open_store(golden_caches / name)
    with open_store(bucket_folder, folder=here) as remote:
        assert_equal(remote, local)
        assert repr(remote).startswith(f"CacheStore('{bucket_folder}', ")
        ids = [3, 0, 3, 7]
        for ours, expected in zip(remote.read_encoded(ids), local.read_encoded(ids), strict=True):
            assert ours.tobytes() == expected.tobytes()
        if local.content_order is not None:
            np.testing.assert_array_equal(remote.content_order, local.content_order)
        assert remote.verify_reads and not remote.may_cross_fork
        assert (
            select(remote, videos=[1]).read_frames([0]).tobytes()
            == select(local, videos=[1]).read_frames([0]).tobytes()
        )
        both = concat([remote, local])
        assert both[len(local)].tobytes() == both[0].tobytes()
        pair = [split(store, {"train": 0.5, "val": 0.5})["train"] for store in (remote, local)]
        assert len(pair[0]) == len(pair[1])


def test_generations_and_forgotten_videos(tmp_path, bucket_folder, here):
    cache, _ = write_grown(tmp_path / "grown")
    forget(cache, 1)
    upload(cache, bucket_folder)
    assert_equal(open_store(bucket_folder, folder=here), open_store(cache))
    earlier = open_store(bucket_folder, folder=here, generation=0)
    assert earlier.shard_sizes.tolist() == open_store(cache, generation=0).shard_sizes.tolist()


def test_cameras(tmp_path, bucket_folder, here):
    write_camera_cache(tmp_path / "cache", layout="shuffled")
    upload(tmp_path / "cache", bucket_folder)
    remote, local = open_store(bucket_folder, folder=here), open_store(tmp_path / "cache")
    ids = np.arange(len(local))[::-1]
    for name in local.cameras:
        np.testing.assert_array_equal(
            remote.read_frames(ids, camera=name), local.read_frames(ids, camera=name)
        )
        alone = open_store(bucket_folder, folder=here, camera=name)
        np.testing.assert_array_equal(
            alone.read_frames([1]), open_store(tmp_path / "cache", camera=name).read_frames([1])
        )
    assert list(remote.columns) == list(local.columns)


def test_a_loader_takes_the_url_and_gives_the_batches_of_the_local_cache(
    golden_caches, bucket_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    upload(golden_caches / "wds-jpeg", bucket_folder)
    batches = [
        [
            (batch.frame_ids.tolist(), batch.frames.numpy().tobytes())
            for batch in FrameLoader(place, batch_size=3, seed=1)
        ]
        for place in (bucket_folder, golden_caches / "wds-jpeg")
    ]
    assert batches[0] == batches[1]
    assert len(list((tmp_path / "home/frame-cache").iterdir())) == 1


def test_a_copy_reads_the_same_and_asks_for_no_manifest(golden_caches, bucket_folder, here, monkeypatch):
    client = upload(golden_caches / "zarr-raw", bucket_folder)
    remote = open_store(bucket_folder, folder=here)
    expected = remote.read_frames([4])
    client.delete(["manifest-0000.json"])
    copy = pickle.loads(pickle.dumps(remote))
    assert (copy.read_frames([4]) == expected).all() and repr(copy) == repr(remote)


def test_a_forked_child_gets_an_error_and_does_not_hang(golden_caches, bucket_folder, here):
    upload(golden_caches / "zarr-raw", bucket_folder)
    remote = open_store(bucket_folder, folder=here)
    remote.read_frames([0])
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            remote.read_frames([0])
        except ObjectStoreError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        assert "forked" in said.read()
    os.waitpid(child, 0)
