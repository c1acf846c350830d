"""The reads of a loader go on into the next epoch; an iteration that begins elsewhere does not get them."""

import copy
import gc
import os
import threading
import time
import weakref
from itertools import chain

import pytest

from loader import Augmentation, ColorJitter, FrameLoader
from tests.loader.lookahead.test_reader import GroupedStore
from tests.support.caches.array_store import ArrayStore

NUM_FRAMES, BATCH_SIZE = 40, 8
JITTER = Augmentation(jitter=ColorJitter(hue=0.1))


def epochs_of(loader, number=3):
    return [[(batch.frame_ids.tolist(), batch.frames.tolist()) for batch in loader] for _ in range(number)]


def wait_until(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def threads_of_loaders():
    return {each for each in threading.enumerate() if each.name.startswith("frame-loader")}


@pytest.mark.parametrize(
    "options",
    [
        {"num_threads": 1},
        {"num_threads": 3, "read_ahead": 7, "remainder": "uneven"},
        {"sampling": "block", "shards_per_block": 1, "augment": JITTER},
        {"frame_offsets": (-1, 0), "rank": 1, "world_size": 2},
        {"lookahead": 4, "augment": JITTER},
        {"lookahead": 50, "lookahead_bytes": 500},
    ],
)
def test_epochs_are_those_of_a_loader_that_begins_each_of_them_anew(options):
    def loader(**more):
        store = GroupedStore(41) if "lookahead" in options else ArrayStore([25, 16])
        return FrameLoader(store, batch_size=BATCH_SIZE, **options, **more)

    assert epochs_of(loader()) == epochs_of(loader(next_epoch=False))


def test_between_epochs_the_first_batches_of_the_next_one_are_read_once():
    store = ArrayStore([NUM_FRAMES])
    loader = FrameLoader(store, batch_size=BATCH_SIZE, read_ahead=2, num_threads=1)
    for epoch in range(1, 4):
        list(loader)
        wait_until(lambda epoch=epoch: len(store.reads) >= 5 * epoch + 2)
        assert store.reads == [BATCH_SIZE] * (5 * epoch + 2), "and no more of them"


class DistantStore(ArrayStore):
    """Wants to know of 32 frames before they are read, and notes them."""

    frames_ahead = 4 * BATCH_SIZE

    def __init__(self):
        super().__init__([NUM_FRAMES])
        self.announced = []

    def prefetch(self, frame_ids):
        self.announced += frame_ids.tolist()
        return True


@pytest.mark.parametrize(("read_ahead", "num_announced"), [(1, 5), (3, 5), (6, 7)])
def test_a_distant_store_is_asked_further_ahead_than_batches_are_read(read_ahead, num_announced):
    store = DistantStore()
    loader = FrameLoader(store, batch_size=BATCH_SIZE, read_ahead=read_ahead, num_threads=2)
    drawn = [
        batch.frame_ids.tolist() for batch in FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE)
    ]
    batches, found = iter(loader), []
    for step in range(5):
        found.append(next(batches).frame_ids.tolist())
        assert len(store.announced) == BATCH_SIZE * (step + num_announced)
        wait_until(lambda step=step: len(store.reads) == step + 1 + read_ahead)
    assert found == drawn
    assert store.announced[:NUM_FRAMES] == [*chain(*drawn)], "in their order, each once"


def test_another_epoch_and_another_state_begin_anew():
    loader = FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE)
    zero, one, two = epochs_of(loader)
    loader.set_epoch(1)
    assert epochs_of(loader, 2) == [one, two]
    loader.set_epoch(3)  # the next one all the same
    loader.set_epoch(0)
    assert epochs_of(loader, 1) == [zero]
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    del batches
    loader.load_state_dict(state)
    assert epochs_of(loader, 2) == [one[1:], two]


def test_iterations_side_by_side_each_have_their_epoch():
    loader = FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE)
    expected = epochs_of(FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE))
    first, second = iter(loader), iter(loader)
    found = [[], []]
    for _ in range(5):
        for number, batches in enumerate((first, second)):
            batch = next(batches)
            found[number].append((batch.frame_ids.tolist(), batch.frames.tolist()))
    assert [*found, *epochs_of(loader, 1)] == expected


@pytest.mark.parametrize("lookahead", [0, 3])
def test_an_error_of_the_next_epoch_waits_for_that_epoch(lookahead):
    store = GroupedStore(NUM_FRAMES) if lookahead else ArrayStore([NUM_FRAMES])
    loader = FrameLoader(store, batch_size=BATCH_SIZE, lookahead=lookahead, sampling="sequential")
    drawn = loader._epochs.requests

    def fails(epoch, **options):
        if epoch:
            raise OSError("the index cannot be read")
        return drawn(epoch, **options)

    object.__setattr__(loader._epochs, "requests", fails)
    assert len(list(loader)) == 5
    with pytest.raises(OSError, match="the index cannot be read"):
        next(iter(loader))
    object.__delattr__(loader._epochs, "requests")
    assert len(list(loader)) == 5
    assert loader.state_dict()["epoch"] == 2, "the epoch that could not begin was given back"


@pytest.mark.parametrize("lookahead", [0, 3])
def test_a_loader_that_is_dropped_ends_its_threads(lookahead):
    before = threads_of_loaders()
    store = GroupedStore(NUM_FRAMES) if lookahead else ArrayStore([NUM_FRAMES])
    loader = FrameLoader(store, batch_size=BATCH_SIZE, lookahead=lookahead, num_threads=2)
    list(loader)
    assert threads_of_loaders() - before
    reference = weakref.ref(loader)
    del loader
    gc.collect()
    assert reference() is None
    assert not threads_of_loaders() - before, "threads of earlier tests may have ended meanwhile"


def test_a_copy_and_a_forked_child_begin_anew():
    loader = FrameLoader(ArrayStore([NUM_FRAMES]), batch_size=BATCH_SIZE)
    (_, expected) = epochs_of(copy.deepcopy(loader), 2)
    list(loader)
    assert epochs_of(copy.deepcopy(loader), 1) == [expected]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"equal" if epochs_of(loader, 1) == [expected] else b"other")
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 5) == b"equal"
    os.close(reading)
    os.waitpid(child, 0)
    assert epochs_of(loader, 1) == [expected]
