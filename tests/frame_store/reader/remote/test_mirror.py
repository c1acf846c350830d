"""The small files of a cache at a URL on this machine: downloaded once, verified, and whole whatever happens."""

import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from frame_store import open_store
from frame_store.errors import ObjectStoreError, StoreDamagedError, StoreError
from frame_store.remote import ObjectClient, RemoteUrl, mirror
from loader import FrameLoader
from tests.support.grown.written import write_grown
from tests.support.object_stores import Faults, faulty_proxy, upload

URL = "s3://bkt/cache"


def files_of(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def named(client, ending):
    return sum(number for name, number in client.requests.items() if name.endswith(ending))


def test_files_come_when_they_are_first_used_and_once(client, put, here):
    put("wds-jpeg-columns")
    store = open_store(URL, folder=here)
    store.read_frames([0, 5])
    manifest = f"manifest-{store.manifest.version:04d}.json"
    assert files_of(here) == {manifest, "generation.json", "index.npy"}
    column = next(column for column in store.columns.values() if column.strings is None)
    assert "columns.json" in files_of(here) and "videos.jsonl" not in files_of(here)
    before = files_of(here)
    column.gather(np.arange(1))
    assert len(files_of(here) - before) == 1
    assert store.videos and "videos.jsonl" in files_of(here)
    client.requests.clear()
    again = open_store(URL, folder=here)
    again.columns, again.videos, again.source_order.first_row, again.read_frames([0])
    assert {name for name in client.requests if "shards" not in name} == {"LIST", manifest}


@pytest.mark.parametrize("name", ["wds-raw", "wds-raw-strided", "grown"])
def test_an_epoch_needs_no_source_file_of_the_frames(client, golden_caches, top, here, name):
    cache = write_grown(top / "grown")[0] if name == "grown" else golden_caches / name
    local = open_store(shutil.copytree(cache, top / "bkt/cache"))
    store = open_store(URL, folder=here)
    assert len(list(FrameLoader(store, batch_size=2, seed=1))) == len(store) // 2
    assert not files_of(here) & {"order.npy", "source_frames.npy", "source_pts.npy"}
    for video in range(store.source_order.num_videos):
        assert store.ids_of_video(video).tolist() == local.ids_of_video(video).tolist()
    assert "source_pts.npy" not in files_of(here)
    ours, theirs = (each.source_order for each in (store, local))
    np.testing.assert_array_equal(ours.source_pts[:], theirs.source_pts[:])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours)).source_pts[:], theirs.source_pts[:])
    assert ("order.npy" in files_of(here)) == (theirs.order is not None)
    for path in here.rglob("source_pts.npy"):
        path.write_bytes(b"")
    with pytest.raises(
        StoreDamagedError, match=r"source_pts.npy: expected .*; run cache-verify on s3://bkt/cache"
    ):
        store.source_order  # noqa: B018


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("index.npy", lambda store: store.read_frames([0])),
        ("videos.jsonl", lambda store: store.videos),
        ("0003.npy", lambda store: [column.gather(np.arange(1)) for column in store.columns.values()]),
    ],
)
def test_what_is_damaged_here_later_is_said_of_the_url(client, put, here, name, use):
    put("wds-jpeg-columns")
    store = open_store(URL, folder=here)
    use(store)
    store.__dict__.pop("videos", None)
    (path,) = here.rglob(name)
    path.write_bytes(b"\0" * (path.stat().st_size if name.endswith("jsonl") else 1))
    with pytest.raises(StoreDamagedError, match="run cache-verify on s3://bkt/cache"):
        use(store)


@pytest.mark.parametrize("failure", [ObjectStoreError, KeyboardInterrupt])
def test_an_index_whose_download_stopped_is_downloaded_again(client, put, here, monkeypatch, failure):
    put("wds-raw")
    monkeypatch.setattr(mirror, "_PART_BYTES", 100)
    get_range = client.get_range

    def stops(self, key, start, num_bytes, **options):
        if key.endswith("index.npy") and start >= 200:
            raise failure("stopped")
        return get_range(self, key, start, num_bytes)

    monkeypatch.setattr(client, "get_range", stops)
    with pytest.raises(failure):
        open_store(URL, folder=here)
    assert "index.npy" not in files_of(here)
    monkeypatch.setattr(client, "get_range", get_range)
    assert len(open_store(URL, folder=here).read_frames([0, 9])) == 2
    assert not list(here.rglob("*.part"))


def test_an_error_does_not_wait_for_parts_that_hang(client, put, here, monkeypatch):
    put("wds-raw")
    monkeypatch.setattr(mirror, "_PART_BYTES", 100)
    get_range, hangs, goes_on = client.get_range, threading.Event(), threading.Event()

    def stops_or_hangs(self, key, start, num_bytes, **options):
        if start == 0:
            hangs.wait(60)
            raise ObjectStoreError("stopped")
        hangs.set()
        goes_on.wait(60)
        return get_range(self, key, start, num_bytes)

    monkeypatch.setattr(client, "get_range", stops_or_hangs)
    with pytest.raises(ObjectStoreError, match="stopped"):
        open_store(URL, folder=here)
    assert not list(here.rglob("index*"))
    monkeypatch.setattr(client, "get_range", get_range)
    store = open_store(URL, folder=here)
    goes_on.set()  # the late part is written to the file that was removed
    assert len(store.read_frames([0, 9])) == 2


def test_the_part_of_a_process_that_died_is_removed(client, put, here):
    put("wds-raw")
    open_store(URL, folder=here)
    part = next(here.rglob("index.npy")).with_name("index.npy.part")
    part.write_bytes(b"half")
    open_store(URL, folder=here)
    assert not part.exists()


def test_a_file_that_was_cut_here_is_downloaded_again(client, put, here):
    put("wds-raw")
    open_store(URL, folder=here)
    index = next(here.rglob("index.npy"))
    expected = index.read_bytes()
    index.write_bytes(expected[:50])
    open_store(URL, folder=here)
    assert index.read_bytes() == expected


@pytest.mark.parametrize("name", ["index.npy", "generation.json"])
def test_an_object_with_other_bytes_is_damage_at_the_second_download(client, put, here, name):
    path = next(put("wds-raw").rglob(name))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        StoreDamagedError, match=rf"s3://bkt/cache/gen-\w+/{name}: expected sha256 .* in 2 downloads"
    ):
        open_store(URL, folder=here)
    assert named(client, name) == 2 and name not in files_of(here)


def test_bytes_that_were_wrong_once_are_asked_for_again(client, put, here, monkeypatch):
    put("wds-raw")
    get_range, wrong = client.get_range, [b"\0"]

    def wrong_once(self, key, start, num_bytes, **options):
        return memoryview(wrong.pop() * num_bytes) if wrong else get_range(self, key, start, num_bytes)

    monkeypatch.setattr(client, "get_range", wrong_once)
    open_store(URL, folder=here)
    assert not wrong


def test_threads_download_a_file_once(client, put, here):
    put("wds-raw")
    barrier, stores = threading.Barrier(4), []

    def opens():
        barrier.wait()
        stores.append(open_store(URL, folder=here))

    threads = [threading.Thread(target=opens) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 4 and named(client, "index.npy") == 1 == named(client, "generation.json")


def test_processes_download_a_file_once(seaweed, bucket_folder, golden_caches, here):
    upload(golden_caches / "wds-raw", bucket_folder)
    script = "import sys, frame_store; print(len(frame_store.open_store(sys.argv[1], folder=sys.argv[2])))"
    with faulty_proxy(seaweed, Faults()) as proxy:
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", script, bucket_folder, here],
                env={**os.environ, **seaweed.environment, **endpoint},
                stdout=subprocess.PIPE,
            )
            for _ in range(3)
        ]
        assert {process.communicate()[0] for process in processes} == {b"10\n"}
        # Of each process a list and the manifest; of all together one request for each other file.
        assert proxy.counts.requests == 3 * 2 + 2


def test_two_urls_share_a_folder(client, put, here):
    put("wds-raw")
    put("zarr-raw", "other")
    stores = [open_store(url, folder=here) for url in (URL, "s3://bkt/other")]
    assert stores[0].path != stores[1].path and {store.path.parent for store in stores} == {here}
    assert stores[0].url == RemoteUrl.of(URL)


def test_a_folder_that_cannot_be_used(client, put, here, monkeypatch):
    put("wds-raw")
    here.write_bytes(b"")
    with pytest.raises(
        OSError, match=r"small files of s3://bkt/cache are kept in this folder.*folder= names"
    ):
        open_store(URL, folder=here)
    here.unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="the disk is full"):
        open_store(URL, folder=here)
    assert not list(here.rglob("*.part"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(OSError, match=r"has no home folder.*folder="):
        open_store(URL)


def test_a_cache_that_was_built_anew_in_the_same_place(client, put, here):
    """Its generation has the same name, as inputs and settings are the same, and its files the same sizes."""
    cache = put("wds-raw")
    store = open_store(URL, folder=here)
    store.source_order  # noqa: B018
    shutil.rmtree(cache)
    put("wds-jpeg")
    assert store.generations[0].path.name == next(cache.glob("gen-*")).name
    newer = open_store(URL, folder=here)
    np.testing.assert_array_equal(newer.read_frames([2]), open_store(cache).read_frames([2]))
    with pytest.raises(StoreError, match=r"s3://bkt/cache/gen-\w+/shards/"):
        store.read_frames([2])


def test_the_client_pickles_with_the_mirror(client, put, here):
    put("wds-raw")
    remote = open_store(URL, folder=here, folder_bytes=10**6).tree.remote
    assert isinstance(remote.client, ObjectClient) and remote.folder.max_bytes == 10**6
