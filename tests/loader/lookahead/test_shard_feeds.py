"""A loader over a cache at a URL whose shards pass through a small folder: the batches are those of the local cache."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import frame_store
from loader import FrameLoader
from tests.support.bounded_folder import bytes_at_one_moment
from tests.support.commands import SMALL, run
from tests.support.object_stores import upload

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


def read_all(url: str, folder: Path, folder_bytes: int, rank: int, results: Any) -> None:
    store = frame_store.open_store(url, folder=folder, folder_bytes=folder_bytes)
    loader = FrameLoader(store, batch_size=16, rank=rank, world_size=2, **SAMPLINGS["block"])
    results.put((rank, batches_of(loader)))


def test_two_processes_share_a_folder(cache, url, tmp_path):
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    with watched(tmp_path / "shards", third_of(cache)):
        ranks = [
            context.Process(target=read_all, args=(url, tmp_path, third_of(cache), rank, results))
            for rank in range(2)
        ]
        for process in ranks:
            process.start()
        found = dict(results.get(timeout=60) for _ in ranks)
        for process in ranks:
            process.join()
    for rank in range(2):
        loader = FrameLoader(cache, batch_size=16, rank=rank, world_size=2, **SAMPLINGS["block"])
        assert found[rank] == batches_of(loader)
