"""Which epoch an iteration takes: it takes its epoch with its first batch, and `set_epoch` works until then."""

import itertools

import pytest
from torch.utils.data import DataLoader

from loader import FrameBatchSampler, FrameDataset, FrameLoader, frame_batch_collate, make_dataloader
from loader.sampling.plan import make_plan
from tests.support.caches.array_store import ArrayStore

NUM_FRAMES, BATCH_SIZE = 40, 8


def frame_loader(store, **options):
    return FrameLoader(store, batch_size=BATCH_SIZE, **options)


def worker_loader(store, **options):
    return make_dataloader(
        store, batch_size=BATCH_SIZE, num_workers=1, multiprocessing_context="fork", **options
    )


class SamplersLoader(DataLoader):
    """torch's own, with the epochs and the state of its sampler."""

    def __init__(self, store, **options):
        sampler = FrameBatchSampler(store, batch_size=BATCH_SIZE, **options)
        super().__init__(FrameDataset(store), batch_sampler=sampler, collate_fn=frame_batch_collate)
        self.set_epoch = sampler.set_epoch
        self.state_dict = sampler.state_dict
        self.load_state_dict = sampler.load_state_dict


MAKERS = [frame_loader, worker_loader, SamplersLoader]


def ids_of(batches):
    return [batch.frame_ids.tolist() for batch in batches]


def epoch_ids(epoch, first_position=0, **options):
    plan = make_plan([NUM_FRAMES], batch_size=BATCH_SIZE, **options)
    return [ids.tolist() for ids in plan.batches(epoch, first_position=first_position)]


@pytest.fixture(params=MAKERS, ids=["FrameLoader", "WorkerLoader", "DataLoader"])
def make(request):
    return request.param


def test_an_iteration_that_gives_nothing_takes_no_epoch(make):
    loader = make(ArrayStore([NUM_FRAMES]))
    dropped, kept = iter(loader), iter(loader)
    del dropped
    assert ids_of(loader) == epoch_ids(0)
    if make is not worker_loader:  # its workers read for one iteration at a time
        assert ids_of(kept) == epoch_ids(1)
    assert loader.state_dict()["position"] == 0


def test_a_peek_costs_the_epoch_and_set_epoch_gives_it_back(make):
    loader = make(ArrayStore([NUM_FRAMES]))
    assert next(iter(loader)).frame_ids.tolist() == epoch_ids(0)[0]
    assert ids_of(loader) == epoch_ids(1)
    next(iter(loader))
    loader.set_epoch(0)
    assert ids_of(loader) == epoch_ids(0)


def test_set_epoch_decides_until_the_first_batch_and_no_longer(make):
    loader = make(ArrayStore([NUM_FRAMES]))
    batches = iter(loader)
    loader.set_epoch(5)
    found = ids_of(itertools.islice(batches, 2))
    loader.set_epoch(9)
    assert found + ids_of(batches) == epoch_ids(5)
    assert ids_of(loader) == epoch_ids(9)
    assert ids_of(loader) == epoch_ids(10)


@pytest.mark.parametrize("epochs_said", [[], [2], [2, 2]], ids=["not said", "said", "said twice"])
def test_the_epoch_of_a_loaded_state_goes_on_where_it_was(make, epochs_said):
    """Training loops and frameworks call `set_epoch` for every epoch, also for the one that they resume."""
    stopped = make(ArrayStore([NUM_FRAMES]))
    stopped.set_epoch(2)
    seen = ids_of(itertools.islice(stopped, 3))
    resumed = make(ArrayStore([NUM_FRAMES]))
    resumed.load_state_dict(stopped.state_dict())
    batches = iter(resumed)
    for epoch in epochs_said:
        resumed.set_epoch(epoch)
    assert resumed.state_dict() == stopped.state_dict()
    assert seen + ids_of(batches) == epoch_ids(2)
    resumed.set_epoch(3)
    assert ids_of(resumed) == epoch_ids(3)


def test_another_epoch_than_that_of_a_loaded_state_begins_at_its_start(make):
    stopped, resumed = make(ArrayStore([NUM_FRAMES])), make(ArrayStore([NUM_FRAMES]))
    stopped.set_epoch(2)
    next(iter(stopped))
    resumed.load_state_dict(stopped.state_dict())
    resumed.set_epoch(1)
    assert (resumed.state_dict()["epoch"], resumed.state_dict()["position"]) == (1, 0)
    assert ids_of(resumed) == epoch_ids(1)


def test_the_epoch_of_an_iteration_that_was_left_begins_again_where_it_is_set(make):
    loader = make(ArrayStore([NUM_FRAMES]))
    next(iter(loader))
    loader.set_epoch(0)
    assert loader.state_dict()["position"] == 0
    assert ids_of(loader) == epoch_ids(0)


@pytest.mark.parametrize("make", MAKERS[:2], ids=["FrameLoader", "WorkerLoader"])
def test_a_first_batch_that_cannot_be_read_leaves_the_epoch(make):
    first_id, later_id = epoch_ids(0)[0][0], epoch_ids(0)[2][0]
    cases = [(first_id, 0, 0), (later_id, 2, 1)]
    for broken, num_given, next_epoch in cases[:1] if make is worker_loader else cases:
        loader = make(ArrayStore([NUM_FRAMES], broken_frame_id=broken))
        batches, found = iter(loader), []
        with pytest.raises(OSError, match="cannot be read"):
            found.extend(batch.frame_ids.tolist() for batch in batches)
        assert f"next is epoch {next_epoch}" in repr(loader)
        assert loader.state_dict()["position"] == num_given * BATCH_SIZE


def test_an_epoch_set_meanwhile_stays_where_the_first_batch_fails():
    loader = frame_loader(ArrayStore([NUM_FRAMES], broken_frame_id=epoch_ids(0)[0][0]))
    batches = iter(loader)
    loader._store.read_frames = lambda ids, out: loader.set_epoch(6) or 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert "next is epoch 6" in repr(loader)


@pytest.mark.parametrize("epochs_said", [[], [0]], ids=["not said", "said"])
def test_a_state_of_the_last_batch_resumes_to_what_is_left_of_its_epoch_nothing(make, epochs_said):
    """A training loop that saved epoch 0 in its last step goes on with epoch 0: it must not see it again."""
    stopped, resumed = make(ArrayStore([NUM_FRAMES])), make(ArrayStore([NUM_FRAMES]))
    batches = iter(stopped)
    for _ in range(len(stopped)):
        next(batches)
    resumed.load_state_dict(stopped.state_dict())
    for epoch in epochs_said:
        resumed.set_epoch(epoch)
    assert ids_of(resumed) == []
    assert ids_of(resumed) == epoch_ids(1)
    assert list(batches) == []
    assert (stopped.state_dict()["epoch"], stopped.state_dict()["position"]) == (1, 0)


@pytest.mark.parametrize("remainder", ["drop", "uneven"])
def test_an_iteration_that_ends_is_the_end_of_the_epoch_for_every_rank(make, remainder):
    """34 of 40 frames are done. With `uneven` 6 are left: a short batch for rank 0, and none for rank 1."""
    state = make(ArrayStore([NUM_FRAMES])).state_dict() | {"epoch": 3, "position": 34}
    for rank in range(2):
        loader = make(ArrayStore([NUM_FRAMES]), rank=rank, world_size=2, remainder=remainder)
        loader.load_state_dict(state)
        left = ids_of(loader)
        assert [len(batch) for batch in left] == ([6] if (rank, remainder) == (0, "uneven") else [])
        assert loader.state_dict() == state | {"epoch": 4, "position": 0}
        loader.set_epoch(4)
        assert ids_of(loader) == epoch_ids(4, rank=rank, world_size=2, remainder=remainder)


def test_the_end_of_an_iteration_does_not_undo_what_was_said_meanwhile(make):
    loader = make(ArrayStore([NUM_FRAMES]))
    for step, _ in enumerate(loader, start=1):
        if step == len(loader):
            loader.set_epoch(7)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (7, 0)
    assert ids_of(loader) == epoch_ids(7)


def test_another_iteration_of_workers_ends_the_one_before():
    loader = worker_loader(ArrayStore([NUM_FRAMES]))
    before = iter(loader)
    assert next(before).frame_ids.tolist() == epoch_ids(0)[0]
    after = iter(loader)
    assert next(after).frame_ids.tolist() == epoch_ids(1)[0]
    assert ids_of(before) == []
    assert ids_of(after) == epoch_ids(1)[1:]


@pytest.mark.parametrize("make", [frame_loader, worker_loader], ids=["FrameLoader", "WorkerLoader"])
def test_the_repr_says_length_sampling_and_epoch(make):
    loader = make(ArrayStore([NUM_FRAMES]), seed=7)
    assert all(text in repr(loader) for text in ("40 frames", "5 batches of 8", "permutation", "seed=7"))
    assert "next is epoch 0" in repr(loader)
    iter(loader)
    assert "next is epoch 0" in repr(loader)
    next(iter(loader))
    assert "next is epoch 1" in repr(loader)
    loader.set_epoch(4)
    assert "next is epoch 4" in repr(loader)
    loader.load_state_dict(loader.state_dict() | {"epoch": 2, "position": 16})
    assert "next is epoch 2 from position 16 on" in repr(loader)
    loader.set_epoch(2)
    assert "next is epoch 2 from position 16 on" in repr(loader)
