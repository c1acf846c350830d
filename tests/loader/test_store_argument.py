"""Loaders take an open store or the path of a cache."""

import pickle

import pytest

from frame_store import StoreNotFoundError, open_store
from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, make_dataloader
from tests.support.caches.array_store import ArrayStore

MAKERS = [FrameLoader, FrameBatchSampler, FrameDataset, make_dataloader]


def ids_of(batches):
    return [batch.frame_ids.tolist() for batch in batches]


@pytest.fixture(params=[str, lambda path: path], ids=["str", "Path"])
def cache(golden_caches, request):
    return request.param(next(path for path in sorted(golden_caches.iterdir()) if path.is_dir()))


def test_a_path_is_opened(cache):
    expected = ids_of(FrameLoader(open_store(cache), batch_size=3))
    assert ids_of(FrameLoader(cache, batch_size=3)) == expected
    assert ids_of(make_dataloader(cache, batch_size=3)) == expected
    workers = make_dataloader(cache, batch_size=3, num_workers=1, multiprocessing_context="fork")
    assert ids_of(workers) == expected
    assert workers.store.path == open_store(cache).path
    assert list(FrameBatchSampler(cache, batch_size=3)) == expected
    dataset = FrameDataset(cache)
    assert len(dataset) == len(open_store(cache))
    assert dataset.__getitems__(expected[0]).frame_ids.tolist() == expected[0]
    assert "frames of" in repr(dataset) and "CacheStore" in repr(dataset)


def test_the_store_of_a_path_goes_with_its_loader_and_opens_again_where_it_was_closed(cache):
    loader = FrameLoader(cache, batch_size=3, sampling="sequential")
    first = ids_of(loader)
    loader.store.close()
    assert ids_of(loader) == first
    assert ids_of(pickle.loads(pickle.dumps(loader))) == first


def test_a_store_that_was_given_is_kept_as_it_is():
    store = ArrayStore([20])
    assert FrameLoader(store).store is store
    assert FrameDataset(store).store is store


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_what_is_no_cache_is_named_with_what_to_do(make, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    for path in (tmp_path, tmp_path / "clip.mp4"):
        with pytest.raises(StoreNotFoundError, match=r"cache-build.*cache_builder\.open_videos") as raised:
            make(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(StoreNotFoundError, match="no such folder; check the path"):
        make(str(tmp_path / "gone"))


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_neither_a_store_nor_a_path_is_an_error(make):
    for wrong in (FrameDataset(ArrayStore([20])), 7, ["a.cache"], None):
        with pytest.raises(
            SamplingError, match=f"must be a store .* or the path of a cache, found {type(wrong).__name__}"
        ):
            make(wrong)
