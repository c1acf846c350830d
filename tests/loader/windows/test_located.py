"""Look-ups of several batches at once: as many as said, the same frames, and errors in the place of their batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store import StoreDamagedError
from frame_store.protocol import LocatesFrames
from loader import FrameLoader
from loader.windows import BatchRequest
from loader.windows.located import FRAMES_PER_LOOKUP, LocatedTogether, located_together
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.caches.tree import generation_folder

NUM_FRAMES = 10


@pytest.fixture(params=list(GOLDEN_ENCODINGS))
def path(request, tmp_path):
    name = request.param
    write_store(tmp_path / name, *GOLDEN_ENCODINGS[name], golden_frames(name))
    return tmp_path / name


@pytest.fixture
def raw(tmp_path):
    write_store(tmp_path / "raw", *GOLDEN_ENCODINGS["wds-raw"], golden_frames("wds-raw"))
    return tmp_path / "raw"


def requests_of(*batches):
    for batch in batches:
        ids = np.array(batch, np.int64)
        yield BatchRequest(frame_ids=ids, anchor_cache_ids=ids, cache_ids=ids)


def noted(store, monkeypatch):
    """How many frames each look-up of the store is asked for."""
    sizes = []
    locate = store.locate
    monkeypatch.setattr(store, "locate", lambda ids: (sizes.append(len(ids)), locate(ids))[1])
    return sizes


@pytest.mark.parametrize("reads", ["map", "pread"])
def test_an_epoch_of_small_batches_is_looked_up_once(path, reads, monkeypatch):
    store = frame_store.CacheStore(path, reads=reads)
    sizes = noted(store, monkeypatch)
    seen = []
    for batch in FrameLoader(store, batch_size=3, num_threads=2, remainder="uneven", next_epoch=False):
        ids = batch.frame_ids.numpy()
        frames = frame_store.CacheStore(path).read_frames(ids)
        assert torch.equal(batch.frames, torch.from_numpy(frames).movedim(-1, 1))
        rows = store.rows_of(ids)
        assert batch.frame_in_video.tolist() == rows["frame_in_video"].tolist()
        assert batch.video_ids.tolist() == rows["video_id"].tolist()
        seen += ids.tolist()
    assert sorted(seen) == list(range(NUM_FRAMES))
    assert sizes == [NUM_FRAMES]


def test_groups_have_as_many_frames_as_said_and_end_with_the_requests(raw, monkeypatch):
    store = frame_store.CacheStore(raw)
    sizes = noted(store, monkeypatch)
    batch = FRAMES_PER_LOOKUP // 3
    made = list(located_together(requests_of(*[[1] * batch] * 4), store, frames_per_batch=batch))
    assert sizes == []  # nothing is looked up before a batch is read
    for request in reversed(made):
        assert request.located().ids.tolist() == [1] * batch
    assert sizes == [batch, 3 * batch]


@pytest.mark.parametrize("base", ["large batches", "another store"])
def test_batches_are_looked_up_alone_where_nothing_is_gained(raw, base):
    store = ArrayStore([4, 6]) if base == "another store" else frame_store.CacheStore(raw)
    size = 2 if base == "another store" else FRAMES_PER_LOOKUP // 2 + 1
    made = list(located_together(requests_of([1], [2]), store, frames_per_batch=size))
    assert [request.located for request in made] == [None, None]
    assert isinstance(store, LocatesFrames) == (base == "large batches")


@given(
    batches=st.lists(st.lists(st.integers(0, NUM_FRAMES - 1), max_size=5), min_size=1, max_size=6),
    data=st.data(),
)
def test_each_batch_gets_its_own_frames(golden, batches, data):
    together = LocatedTogether(golden, [np.array(ids, np.int64) for ids in batches])
    number = data.draw(st.integers(0, len(batches) - 1))
    located = together.of_batch(number)
    assert located.ids.tolist() == batches[number]
    assert located.rows.tobytes() == golden.rows_of(batches[number]).tobytes()  # NaN is not equal to itself
    assert np.array_equal(golden.read_located(located), golden.read_frames(batches[number]))


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "raw"
    write_store(path, *GOLDEN_ENCODINGS["wds-raw"], golden_frames("wds-raw"))
    return frame_store.CacheStore(path)


def test_a_damaged_row_is_an_error_of_its_own_batch(raw):
    index = np.load(generation_folder(raw) / "index.npy")
    index["byte_length"][NUM_FRAMES - 1] = 1 << 31
    np.save(generation_folder(raw) / "index.npy", index)
    store = frame_store.CacheStore(raw)
    whole = int(store.shard_sizes[:-1].sum())  # rows are checked shard by shard
    assert 2 <= whole < NUM_FRAMES
    batches = iter(FrameLoader(store, batch_size=1, sampling="sequential", next_epoch=False))
    assert [next(batches).frame_ids.tolist() for _ in range(whole)] == [[number] for number in range(whole)]
    with pytest.raises(StoreDamagedError, match=f"index row {NUM_FRAMES - 1} points at"):
        next(batches)


def test_what_hinders_a_request_is_raised_behind_those_before_it(raw):
    def failing():
        yield from requests_of([1], [2, 3])
        raise StoreDamagedError("no more")

    coming = located_together(failing(), frame_store.CacheStore(raw), frames_per_batch=2)
    assert [next(coming).located().ids.tolist() for _ in range(2)] == [[1], [2, 3]]
    with pytest.raises(StoreDamagedError, match="no more"):
        next(coming)
    assert next(coming, None) is None


def test_frames_that_another_store_has_located_are_refused(raw):
    located = frame_store.CacheStore(raw).locate([1, 2])
    with pytest.raises(ValueError, match="another store has located these frames"):
        frame_store.CacheStore(raw).read_located(located)
