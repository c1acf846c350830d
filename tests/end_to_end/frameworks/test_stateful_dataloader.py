"""torchdata's `StatefulDataLoader` over our sampler: a run that is stopped anywhere goes on at the very next batch."""

import itertools
import pickle

import pytest

pytest.importorskip("torchdata.stateful_dataloader")

from torchdata.stateful_dataloader import StatefulDataLoader

from loader import FrameBatchSampler, FrameDataset, FrameLoader, frame_batch_collate
from tests.support.caches.array_store import ArrayStore

# What torchdata itself calls of torch.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

NUM_FRAMES, BATCH_SIZE, SEED = 50, 8, 3
NUM_BATCHES = 6

WORKERS = {"num_workers": 2, "multiprocessing_context": "fork"}


def stateful_loader(**options):
    store = ArrayStore([NUM_FRAMES])
    return StatefulDataLoader(
        FrameDataset(store),
        batch_sampler=FrameBatchSampler(store, batch_size=BATCH_SIZE, seed=SEED),
        collate_fn=frame_batch_collate,
        **options,
    )


def ids_of(batches):
    return [batch.frame_ids.tolist() for batch in batches]


def epochs(num_epochs):
    loader = FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE, seed=SEED)
    return [ids_of(loader) for _ in range(num_epochs)]


@pytest.mark.parametrize(
    ("num_batches", "workers"),
    [
        *((num_batches, {}) for num_batches in (0, 1, 4, NUM_BATCHES)),
        (4, WORKERS),
        (4, WORKERS | {"snapshot_every_n_steps": 3, "persistent_workers": True}),
        (0, WORKERS),
    ],
)
def test_a_run_goes_on_at_the_next_batch(num_batches, workers):
    """Stopped in epoch 1, resumed in a new process (here: by a new loader), and run into epoch 2."""
    expected = epochs(3)
    stopped = stateful_loader(**workers)
    assert ids_of(stopped) == expected[0]
    batches = iter(stopped)
    assert ids_of(itertools.islice(batches, num_batches)) == expected[1][:num_batches]
    state = pickle.loads(pickle.dumps(stopped.state_dict()))
    del batches, stopped
    resumed = stateful_loader(**workers)
    resumed.load_state_dict(state)
    assert ids_of(resumed) == expected[1][num_batches:]
    assert ids_of(resumed) == expected[2]


@pytest.mark.parametrize("workers", [{}, WORKERS])
def test_a_run_that_saved_after_an_epoch_goes_on_with_the_next(workers):
    expected = epochs(2)
    stopped, resumed = stateful_loader(**workers), stateful_loader(**workers)
    assert ids_of(stopped) == expected[0]
    resumed.load_state_dict(stopped.state_dict())
    assert ids_of(resumed) == expected[1]


def test_the_state_before_the_first_batch_of_an_epoch_is_its_start():
    stopped = stateful_loader()
    next(iter(stopped))
    iter(stopped)
    resumed = stateful_loader()
    resumed.load_state_dict(stopped.state_dict())
    assert ids_of(resumed) == epochs(2)[1]


def test_set_epoch_is_for_the_sampler():
    loader = stateful_loader()
    loader.batch_sampler.set_epoch(2)
    next(iter(loader))
    resumed = stateful_loader()
    resumed.load_state_dict(loader.state_dict())
    batches = iter(resumed)
    resumed.batch_sampler.set_epoch(2)  # as a training loop does before the epoch that it resumes
    assert ids_of(batches) == epochs(3)[2][1:]


def test_a_plain_sampler_over_the_dataset_works_too():
    def loader():
        return StatefulDataLoader(FrameDataset(ArrayStore([NUM_FRAMES])), batch_size=BATCH_SIZE)

    stopped, resumed = loader(), loader()
    got = [batch["frame_id"].tolist() for batch in itertools.islice(stopped, 2)]
    resumed.load_state_dict(stopped.state_dict())
    got += [batch["frame_id"].tolist() for batch in resumed]
    assert list(itertools.chain.from_iterable(got)) == list(range(NUM_FRAMES))
