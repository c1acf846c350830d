import gc
import threading
import time
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store.shared.cpu_budget import num_usable_cpus
from loader import FrameLoader, SamplingError
from loader.sampling.orders.epoch import epoch_order
from loader.sampling.spec import SamplingSpec
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids


def ids_of(batches):
    return [batch.frame_ids.tolist() for batch in batches]


def flat(batches):
    return list(chain.from_iterable(ids_of(batches)))


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before


@given(
    shard_sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any),
    batch_size=st.integers(1, 30),
    num_threads=st.integers(1, 4),
    read_ahead=st.integers(1, 6),
)
@settings(max_examples=30)
def test_an_epoch_is_every_frame_once_whatever_the_threads(shard_sizes, batch_size, num_threads, read_ahead):
    store = ArrayStore(shard_sizes)
    loader = FrameLoader(
        store, batch_size=batch_size, remainder="uneven", num_threads=num_threads, read_ahead=read_ahead
    )
    batches = list(loader)
    assert len(batches) == len(loader) == -(-len(store) // batch_size)
    assert flat(batches) == epoch_order(shard_sizes).ids(0, len(store)).tolist()
    for batch in batches:
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()


def test_the_rows_are_those_of_the_index():
    store = ArrayStore([30])
    for batch in FrameLoader(store, batch_size=7):
        rows = store.index[batch.frame_ids.numpy()]
        assert batch.video_ids.tolist() == rows["video_id"].tolist()
        assert batch.frame_in_video.tolist() == rows["frame_in_video"].tolist()
        assert torch.equal(
            batch.pts_seconds.nan_to_num(-1), torch.from_numpy(rows["pts_seconds"]).nan_to_num(-1)
        )


def test_each_iteration_is_the_next_epoch():
    store = ArrayStore([20, 30])
    loader = FrameLoader(store, batch_size=10, seed=4)
    expected = [epoch_order([20, 30], seed=4, epoch=epoch).ids(0, 50).tolist() for epoch in range(3)]
    assert [flat(loader) for _ in range(3)] == expected
    loader.set_epoch(1)
    assert [flat(loader), flat(loader)] == expected[1:]


def test_an_epoch_does_not_depend_on_what_was_read_before():
    store = ArrayStore([50])
    loader = FrameLoader(store, batch_size=16)
    for _ in loader:
        break
    first = flat(loader)
    fresh = FrameLoader(store, batch_size=16)
    fresh.set_epoch(1)
    assert flat(fresh) == first


def test_set_epoch_refuses_what_is_no_epoch():
    loader = FrameLoader(ArrayStore([50]), sampling="sequential")
    with pytest.raises(SamplingError, match="epoch must be in"):
        loader.set_epoch(-1)
    assert flat(loader) == list(range(50))


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "sequential"},
        {"sampling": "iid"},
        {"sampling": "permutation", "remainder": "drop"},
        {"sampling": "shards", "shards_per_batch": 4},
        {"sampling": "block", "shards_per_block": 2, "remainder": "drop"},
        {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "proportional"},
    ],
)
def test_every_sampling_comes_out(options):
    store = ArrayStore([20, 33])
    loader = FrameLoader(store, batch_size=8, seed=9, **options)
    spec = SamplingSpec(
        sampling=options["sampling"],
        frames_per_visit=2 if options["sampling"] == "shards" else None,
        shards_per_block=options.get("shards_per_block"),
    )
    order = epoch_order([20, 33], spec, seed=9)
    num_batches = 7 if options["sampling"] == "sequential" else 6
    assert len(loader) == num_batches
    assert flat(loader) == order.ids(0, min(8 * num_batches, 53)).tolist()


def test_uniform_choice_warns_where_the_loader_is_made():
    with pytest.warns(UserWarning, match="biased") as warned:
        FrameLoader(
            ArrayStore([20, 33]), batch_size=4, sampling="shards", shards_per_batch=2, shard_choice="uniform"
        )
    assert warned[0].filename == __file__


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_ranks_are_disjoint_and_together_the_epoch(world_size):
    store = ArrayStore([2, 3])
    ranks = [
        FrameLoader(store, batch_size=1, rank=rank, world_size=world_size, remainder="uneven")
        for rank in range(world_size)
    ]
    read = [flat(loader) for loader in ranks]
    assert [len(ids) for ids in read] == [len(loader) for loader in ranks]
    assert sorted(chain.from_iterable(read)) == list(range(5))


def test_dropping_gives_every_rank_the_same_number_of_batches():
    ranks = [
        FrameLoader(ArrayStore([40, 7]), batch_size=4, rank=rank, world_size=3, remainder="drop")
        for rank in range(3)
    ]
    read = [ids_of(loader) for loader in ranks]
    assert [[len(batch) for batch in batches] for batches in read] == [[4] * 3] * 3
    together = chain.from_iterable(chain.from_iterable(read))
    assert sorted(together) == sorted(epoch_order([47]).ids(0, 36).tolist())


class GatedStore(ArrayStore):
    """Counts the reads that began, and keeps the first from ending until `gate` opens."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.num_begun = 0

    def read_frames(self, frame_ids, out=None):
        with self.lock:
            self.num_begun += 1
            is_first = self.num_begun == 1
        if is_first:
            assert self.gate.wait(60)
        return super().read_frames(frame_ids, out)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_batches_keep_their_order_when_a_later_one_is_ready_first():
    store = GatedStore([60])
    loader = FrameLoader(store, batch_size=10, sampling="sequential", num_threads=2, read_ahead=3)
    opener = threading.Thread(target=lambda: (wait_until(lambda: len(store.reads) >= 3), store.gate.set()))
    opener.start()  # opens once the three batches after the first were read before it
    assert flat(loader) == list(range(60))
    opener.join()


@pytest.mark.parametrize("read_ahead", [1, 2, 5])
def test_reading_ahead_is_bounded(read_ahead):
    store = ArrayStore([100])
    loader = FrameLoader(store, batch_size=2, num_threads=4, read_ahead=read_ahead)
    for num_delivered, _ in enumerate(chain(loader, loader), start=1):
        time.sleep(0.001)
        assert len(store.reads) <= num_delivered + read_ahead
    loader = FrameLoader(store, batch_size=2, num_threads=4, read_ahead=read_ahead, next_epoch=False)
    store.reads.clear()
    assert len(list(loader)) == 50 == len(store.reads)


def test_a_batch_handed_out_is_never_written_again():
    store = ArrayStore([100])
    loader = FrameLoader(store, batch_size=5, num_threads=2)
    kept = [batch for _ in range(2) for batch in loader]
    for batch in kept:
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()


def test_an_error_comes_where_its_batch_would_have_come():
    store = ArrayStore([40], broken_frame_id=25)
    batches = iter(FrameLoader(store, batch_size=10, sampling="sequential", num_threads=2))
    assert flat([next(batches), next(batches)]) == list(range(20))
    with pytest.raises(OSError, match="frame 25 cannot be read"):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


def test_leaving_early_stops_the_threads():
    loader = FrameLoader(ArrayStore([400]), batch_size=2, num_threads=3)
    for _ in loader:
        assert sum(thread.name.startswith("frame-loader") for thread in threading.enumerate()) >= 1
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frame-loader")]


def test_stopping_waits_for_the_reads_that_run_and_cancels_the_others():
    store = ArrayStore([100])
    gate, begun, read_frames = threading.Event(), [], store.read_frames

    def read_once_the_gate_is_open(frame_ids, out):
        begun.append(frame_ids)
        assert 0 in frame_ids or gate.wait(60)
        return read_frames(frame_ids, out)

    store.read_frames = read_once_the_gate_is_open
    batches = iter(FrameLoader(store, batch_size=10, sampling="sequential", num_threads=2, read_ahead=9))
    next(batches)
    closing = threading.Thread(target=batches.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    gate.set()
    closing.join()
    assert len(begun) <= 3  # the first, and one a thread


def test_an_iteration_that_is_forgotten_stops_its_threads():
    batches = iter(FrameLoader(ArrayStore([400]), batch_size=2))
    next(batches)
    cycle = [batches]
    cycle.append(cycle)
    del batches, cycle
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frame-loader")]


def test_two_loaders_and_two_iterations_of_one_run_side_by_side():
    store = ArrayStore([60])
    one, other = FrameLoader(store, batch_size=6, seed=1), FrameLoader(store, batch_size=6, seed=2)
    read = list(zip(one, one, other, strict=True))
    orders = [
        epoch_order([60], seed=seed, epoch=epoch).ids(0, 60).tolist()
        for seed, epoch in [(1, 0), (1, 1), (2, 0)]
    ]
    assert [flat(batches) for batches in zip(*read, strict=True)] == orders


@pytest.mark.parametrize("num_threads", [None, 5])
def test_as_many_batches_are_read_at_once_as_there_are_threads(num_threads):
    num_at_once = num_threads or num_usable_cpus()
    store = ArrayStore([2 * num_at_once])
    barrier = threading.Barrier(num_at_once, timeout=20)  # raises where it is not filled
    read_frames = store.read_frames
    store.read_frames = lambda *args, **options: (barrier.wait(), read_frames(*args, **options))[1]
    loader = FrameLoader(store, batch_size=1, num_threads=num_threads, next_epoch=False)
    assert len(list(loader)) == 2 * num_at_once


@pytest.mark.parametrize("options", [{"num_threads": 0}, {"read_ahead": 0}, {"read_ahead": -1}])
def test_no_threads_and_nothing_ahead_are_refused(options):
    with pytest.raises(SamplingError, match="must be 1 or more"):
        FrameLoader(ArrayStore([9]), batch_size=3, **options)


def test_an_empty_store_is_refused():
    with pytest.raises(SamplingError, match="the store is empty"):
        FrameLoader(ArrayStore([0]))
