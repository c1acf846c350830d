"""Ids and offsets leave a store as int64, so differences and products are right; no second copy is kept."""

import pickle
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

import frame_store
from frame_store.index import open_index
from frame_store.names import INDEX_DTYPE
from frame_store.reader.store_index import ROW_DTYPE, StoreIndex

WHOLE_NUMBERS = [name for name in INDEX_DTYPE.names if name != "pts_seconds"]


@pytest.fixture(scope="module")
def stored():
    rows = np.zeros(5000, INDEX_DTYPE)
    rng = np.random.default_rng(0)
    for name in WHOLE_NUMBERS:
        rows[name] = rng.integers(0, min(np.iinfo(INDEX_DTYPE[name]).max, 1 << 62), len(rows))
    rows["pts_seconds"] = rng.random(len(rows))
    rows.flags.writeable = False
    return rows


KEYS = {
    "one": 7,
    "the last": -1,
    "numpy's": np.int64(3),
    "ids": [4, 0, 4],
    "an array": np.array([9, 8]),
    "clips": np.arange(6).reshape(2, 3),
    "none": np.zeros(0, np.int64),
    "a part": slice(3, 9),
    "every other": slice(None, None, -2),
    "a mask": np.arange(5000) % 7 == 0,
    "all": ...,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_rows_are_those_that_are_kept_in_wide_numbers(stored, key):
    rows, expected = StoreIndex(stored)[key], stored[key]
    assert rows.dtype == ROW_DTYPE and rows.shape == expected.shape
    assert type(rows) is type(expected)
    for name in INDEX_DTYPE.names:
        np.testing.assert_array_equal(rows[name], expected[name])


@pytest.mark.parametrize("name", INDEX_DTYPE.names)
def test_columns_are_wide_and_cannot_be_written_to(stored, name):
    column = StoreIndex(stored)[name]
    assert column.dtype == (np.float64 if name == "pts_seconds" else np.int64)
    assert column.tolist() == stored[name].tolist()
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1
    assert np.shares_memory(column, stored) == (name == "pts_seconds")


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_arithmetic_is_that_of_whole_numbers(stored, name):
    index = StoreIndex(stored)
    for column in (index[name], index[:][name], index[[0, 1, 2]][name], np.asarray(index)[name]):
        exact = [int(number) for number in column.tolist()[:100]]
        assert np.diff(column[:100]).tolist() == [after - before for before, after in pairwise(exact)]
        assert (-column[:100]).tolist() == [-number for number in exact]
        if name != "byte_offset":
            assert (column[:100] * 1000).tolist() == [1000 * number for number in exact]
    assert int(index[3][name] - index[4][name]) == int(stored[3][name]) - int(stored[4][name])


def test_it_is_asked_like_an_array(stored):
    index = StoreIndex(stored)
    assert len(index) == 5000 and index.shape == (5000,) and index.dtype == ROW_DTYPE
    assert (index.size, index.ndim, index.flags.writeable) == (5000, 1, False)
    assert [row.tolist() for row in index] == stored.tolist()
    assert index[["slot", "video_id"]].dtype.names == ("slot", "video_id")
    assert index[["slot", "video_id"]].tolist() == stored[["slot", "video_id"]].tolist()
    assert np.asarray(index).tolist() == np.array(index).tolist() == stored.tolist()
    assert pickle.loads(pickle.dumps(index))[9].tolist() == stored[9].tolist()
    assert repr(index) == f"StoreIndex(5000 rows of {', '.join(INDEX_DTYPE.names)})"
    with pytest.raises(TypeError):
        index["video_id"] = 1
    with pytest.raises(IndexError):
        index[5000]
    with pytest.raises(ValueError, match="no field of name"):
        index["video"]
    with pytest.raises(ValueError, match="is a copy"):
        index.__array__(copy=False)


def test_a_few_rows_of_many_take_little_memory():
    rows = np.zeros(1_000_000, INDEX_DTYPE)
    tracemalloc.start()
    try:
        index = StoreIndex(rows)
        assert index[[0, 999_999]].dtype == ROW_DTYPE and next(iter(index)).dtype == ROW_DTYPE
        assert tracemalloc.get_traced_memory()[1] < 200_000
        column = index["video_id"]
        assert tracemalloc.get_traced_memory()[1] < column.nbytes + 200_000
    finally:
        tracemalloc.stop()


def test_what_a_cache_keeps_is_what_lies_on_disk(golden_caches):
    store = frame_store.open_store(golden_caches / "wds-jpeg")
    assert store.stored_index.dtype == INDEX_DTYPE
    on_disk = open_index(store.generations[0].path, num_frames=len(store))
    assert store.stored_index.tobytes() == on_disk.tobytes()
    for name in INDEX_DTYPE.names:
        np.testing.assert_array_equal(store.index[name], on_disk[name])
