"""A loader over a cache at a URL whose shards pass through a small folder: the batches are those of the local cache."""

import gc
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import frame_store
from loader import FrameLoader, make_dataloader
from loader.batches import frame_sources
from loader.sampling import Place
from loader.torch_loader import worker_feeds
from loader.windows import plan_windows
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.commands import SMALL, run
from tests.support.object_stores import upload
from tests.support.object_stores.bounded_folder import bytes_at_one_moment, read_with_feed

SAMPLINGS: dict[str, dict[str, Any]] = {
    "block": {"sampling": "block", "shards_per_block": 3},
    "shards": {"sampling": "shards", "frames_per_visit": 8},
    "permutation": {"sampling": "permutation"},
    "stratified": {"sampling": "stratified"},
}


@pytest.fixture(scope="module")
def cache(bias_videos, tmp_path_factory) -> Path:
    """640 frames in 20 shards."""
    path = tmp_path_factory.mktemp("feeds") / "cache"
    run("--videos", bias_videos, "--out", path, *SMALL, "--frames-per-shard", "32")
    return path


@pytest.fixture
def url(cache, bucket_folder) -> str:
    upload(cache, bucket_folder)
    return bucket_folder


@contextmanager
def watched(folder: Path, max_bytes: int) -> Iterator[list[int]]:
    """The bytes in the folder, moment by moment; never more than the bound."""
    found, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.001):
            found.append(bytes_at_one_moment(folder))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()
    assert max(found) <= max_bytes


def third_of(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.rglob("*.tar")) // 3


def batches_of(loader: FrameLoader, epochs: int = 2) -> list[tuple[list[int], bytes]]:
    return [
        (batch.frame_ids.tolist(), np.ascontiguousarray(batch.frames.numpy()).tobytes())
        for _ in range(epochs)
        for batch in loader
    ]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_batches_are_those_of_the_local_cache(cache, url, tmp_path, sampling):
    options = {"batch_size": 16, "seed": 3, **SAMPLINGS[sampling]}
    expected = batches_of(FrameLoader(cache, **options))
    store = frame_store.open_store(url, folder=tmp_path, folder_bytes=third_of(cache))
    with watched(tmp_path / "shards", third_of(cache)) as found:
        assert batches_of(FrameLoader(store, **options)) == expected
    assert max(found) > 0.5 * third_of(cache), "the folder is used"


def test_two_processes_share_a_folder(cache, url, tmp_path):
    context = multiprocessing.get_context("spawn")
    expected = [
        batches_of(FrameLoader(cache, batch_size=16, rank=rank, world_size=2, **SAMPLINGS["block"]))
        for rank in range(2)
    ]
    queues: list[Any] = [context.Queue() for _ in expected]
    with watched(tmp_path / "shards", third_of(cache)):
        processes = []
        for batches, results in zip(expected, queues, strict=True):
            ids = [np.array(ids) for ids, _ in batches]
            arguments = (url, tmp_path, third_of(cache), ids, results)
            processes.append(context.Process(target=read_with_feed, args=arguments))
            processes[-1].start()
        assert [results.get(timeout=100) for results in queues] == expected
        for process in processes:
            process.join()


def test_worker_processes_are_fed(cache, url, tmp_path):
    options = {"batch_size": 16, "seed": 3, **SAMPLINGS["block"]}
    expected = batches_of(FrameLoader(cache, **options), epochs=1)
    store = frame_store.open_store(url, folder=tmp_path, folder_bytes=third_of(cache))
    workers = make_dataloader(store, num_workers=2, **options)
    assert batches_of(workers, epochs=1) == expected
    assert bytes_at_one_moment(tmp_path / "shards") > 0.5 * third_of(cache), "the folder is used"


def test_aligned_cameras_are_fed(bucket_folder, tmp_path):
    write_camera_cache(tmp_path / "cache", layout="shuffled")
    upload(tmp_path / "cache", bucket_folder)
    largest = max(path.stat().st_size for path in (tmp_path / "cache").rglob("*.tar"))
    store = frame_store.open_store(bucket_folder, folder=tmp_path / "here", folder_bytes=3 * largest)
    found = [
        [
            (batch.frame_ids.tolist(), {name: each.numpy().tobytes() for name, each in batch.frames.items()})
            for batch in FrameLoader(place, batch_size=2, seed=1, **SAMPLINGS["block"])
        ]
        for place in (store, tmp_path / "cache")
    ]
    assert found[0] == found[1]
    assert bytes_at_one_moment(tmp_path / "here/shards"), "the folder is used"


def test_concatenated_caches_are_fed(cache, url, tmp_path):
    options = {"batch_size": 16, **SAMPLINGS["block"]}
    local, remote = (
        frame_store.open_store(cache),
        frame_store.open_store(url, folder=tmp_path, folder_bytes=third_of(cache)),
    )
    expected = batches_of(FrameLoader(frame_store.concat([local, local]), **options), epochs=1)
    assert batches_of(FrameLoader(frame_store.concat([local, remote]), **options), epochs=1) == expected
    assert bytes_at_one_moment(tmp_path / "shards") > 0.5 * third_of(cache)


class NotedStore(frame_store.CacheStore):
    """A cache that only notes what is to come."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fed: list[Iterator[Any]] = []
        self.num_advanced, self.is_closed = 0, False

    def feed(self, upcoming: Iterator[Any], *, num_in_flight: int) -> SimpleNamespace:
        self.fed.append(upcoming)
        return SimpleNamespace(advance=self.note_advance, close=self.note_close)

    def note_advance(self) -> None:
        self.num_advanced += 1

    def note_close(self) -> None:
        self.is_closed = True


def test_a_worker_is_told_of_its_own_batches_alone(cache, monkeypatch):
    store = NotedStore(cache)
    epochs = plan_windows("test", store, {"batch_size": 32, "sampling": "permutation"})
    monkeypatch.setattr(worker_feeds, "get_worker_info", lambda: SimpleNamespace(num_workers=3))
    feeds = worker_feeds.WorkerFeeds(epochs, frame_sources(store))
    batches = [[ids.tolist() for ids in epochs.frame_ids(epoch)] for epoch in range(2)]
    for step in range(1, 20, 3):
        feeds.announce(Place(0, 0), step)
    feeds.announce(Place(1, 0), 1)
    assert len(store.fed) == 1, "the next epoch was expected"
    assert store.num_advanced == 8
    coming = [ids.tolist() for ids in islice(store.fed[0], 14)]
    assert coming == [*batches[0][1::3], *batches[1][1::3]]
    feeds.announce(Place(1, 0), 7)
    assert len(store.fed) == 2
    assert next(store.fed[1]).tolist() == batches[1][7]


def test_a_loader_that_is_dropped_closes_the_feed_that_it_kept(cache):
    store = NotedStore(cache)
    loader = FrameLoader(store, batch_size=32)
    list(loader)
    assert not store.is_closed
    del loader
    gc.collect()
    assert store.is_closed


def test_a_loader_tells_of_the_batches_of_the_next_epoch_too(cache):
    store = NotedStore(cache)
    loader = FrameLoader(store, batch_size=32, read_ahead=1, num_threads=1, sampling="permutation")
    first = [batch.frame_ids.tolist() for batch in loader]
    assert (store.num_advanced, store.is_closed) == (21, False), "the next epoch's first batch is read"
    second = [batch.frame_ids.tolist() for batch in loader]
    assert len(store.fed) == 1, "of both epochs"
    loader.set_epoch(0)
    next(iter(loader))
    assert store.is_closed
    assert [ids.tolist() for ids in islice(store.fed[0], 40)] == [*first, *second]


def test_a_loader_that_ends_with_the_epoch_tells_of_no_other(cache):
    store = NotedStore(cache)
    loader = FrameLoader(store, batch_size=32, sampling="permutation", next_epoch=False)
    batches = [batch.frame_ids.tolist() for batch in loader]
    assert [ids.tolist() for ids in store.fed[0]] == batches
    loader.set_epoch(0)
    iteration = iter(loader)
    next(iteration)
    state = loader.state_dict()
    del iteration
    loader.load_state_dict(state)
    assert len(list(loader)) == 19
    assert [ids.tolist() for ids in store.fed[-1]] == batches[1:], "nor, from the middle, of what lies before"
