"""Reading with look-ahead: frames in the given order, errors in the place of their batch, no thread left."""

import os
import random
import signal
import threading
import time
import weakref
from contextlib import closing

import numpy as np
import pytest
import torch
from frame_cache_tools.samples.numbered_videos import read_frame

import cache_builder
from frame_store import DecodesInGroups
from loader import FrameLoader
from loader.lookahead.reader import read_with_lookahead
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import request_of

GROUP_FRAMES = 8


class GroupedStore(ArrayStore):
    """Frames in groups of eight; counts what is decoded, and can fail, wait or be slow."""

    def __init__(self, num_frames=80, *, broken_frame_id=None, delay_s=0.0):
        super().__init__([num_frames], broken_frame_id=broken_frame_id)
        self.calls = []
        self.num_running = self.most_running = 0
        self.delay_s = delay_s
        self.lock = threading.Lock()

    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) - np.asarray(frame_ids) % GROUP_FRAMES

    def read_frames_into(self, frame_ids, outs):
        with self.lock:
            self.calls.append(list(map(int, frame_ids)))
            self.num_running += 1
            self.most_running = max(self.most_running, self.num_running)
        try:
            time.sleep(random.random() * self.delay_s)
            for frame, out in zip(self.read_frames(frame_ids), outs, strict=True):
                out[:] = frame
        finally:
            with self.lock:
                self.num_running -= 1


def read(store, batches, **options):
    def lend_pixels(num_frames):
        return torch.empty((num_frames, *store.frame_shape), dtype=torch.uint8)

    options = {"lookahead": 6, "capacity": 40, "num_threads": 4, "lend_pixels": lend_pixels, **options}
    return read_with_lookahead(store, map(request_of, batches), **options)


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("frame-loader")]


def spelt(frames):
    corner = np.ascontiguousarray(frames.numpy()[..., 0, :4, 0])
    return corner.view("<u4")[..., 0].astype(np.int64)


def random_batches(num_frames, *, seed, num_batches=30, batch_size=6):
    return list(np.random.default_rng(seed).integers(0, num_frames, (num_batches, batch_size)))


@pytest.mark.parametrize("steps_in_flight", [1, 2, 5])
@pytest.mark.parametrize("capacity", [0, 7, 100])
def test_frames_come_in_the_order_given(steps_in_flight, capacity):
    store = GroupedStore(delay_s=0.002)
    assert isinstance(store, DecodesInGroups)
    batches = random_batches(len(store), seed=capacity)
    got = list(read(store, batches, steps_in_flight=steps_in_flight, capacity=capacity))
    assert len(got) == len(batches)
    for (request, frames), batch in zip(got, batches, strict=True):
        assert request.cache_ids is batch
        assert spelt(frames).tolist() == batch.tolist()


def test_every_group_is_decoded_once_where_all_fits():
    store = GroupedStore()
    batches = list(np.random.default_rng(1).permutation(80).reshape(-1, 8))
    list(read(store, batches, lookahead=10, capacity=80))
    assert len(store.calls) == 10
    assert sum(map(len, store.calls)) == 80


def test_groups_of_several_batches_are_decoded_at_once():
    store = GroupedStore(delay_s=0.02)
    batches = [np.array([i * GROUP_FRAMES]) for i in range(10)]
    list(read(store, batches, steps_in_flight=3))
    assert 2 <= store.most_running <= 3


def test_windows():
    store = GroupedStore()
    windows = np.arange(24).reshape(2, 3, 4)
    for (request, frames), batch in zip(read(store, windows), windows, strict=True):
        assert request.cache_ids.shape == (3, 4)
        assert frames.shape == (12, *store.frame_shape)
        assert spelt(frames).tolist() == batch.reshape(-1).tolist()


def read_until_error(store, batches, **options):
    """Ids of the batches given, checked against their frames, and the error that ended them."""
    given = []
    try:
        for request, frames in read(store, batches, **options):
            ids = request.cache_ids.tolist()
            assert spelt(frames).tolist() == ids
            given.append(ids)
    except OSError as error:
        return given, str(error)
    return given, None


def test_an_error_is_raised_where_its_batch_would_have_come():
    # 3 is read in advance with 0 and with 4: both succeed.
    store = GroupedStore(broken_frame_id=3)
    batches = [np.array(ids) for ids in ([0, 9], [4, 10], [1, 16], [3, 17], [2, 18])]
    given, error = read_until_error(store, batches)
    assert given == [[0, 9], [4, 10], [1, 16]]
    assert error == "frame 3 cannot be read"
    assert store.num_running == 0


def test_a_slot_that_could_not_be_filled_serves_again():
    store = GroupedStore(broken_frame_id=3)
    batches = [np.array([i]) for i in (0, 1, 8, 9, 2, 3)]
    given, error = read_until_error(store, batches, capacity=8, steps_in_flight=1)
    assert given == [[0], [1], [8], [9], [2]]
    assert error == "frame 3 cannot be read"
    # 9 waits in the slot that was planned for 1.
    assert store.calls == [[0, 1, 2, 3], [0], [1], [8, 9], [2], [3]]


def test_breaking_off_leaves_nothing_running():
    store = GroupedStore(delay_s=0.02)
    frames = read(store, random_batches(80, seed=4), steps_in_flight=5)
    next(frames)
    frames.close()
    assert store.num_running == 0
    num_calls = len(store.calls)
    time.sleep(0.05)
    assert len(store.calls) == num_calls
    assert not decoding_threads()


def test_an_error_of_the_buffers_owner_leaves_nothing_running():
    store = GroupedStore(delay_s=0.02)
    given = []

    def lend_pixels(num_frames):
        if len(given) == 3:
            raise MemoryError("no more")
        given.append(torch.empty((num_frames, *store.frame_shape), dtype=torch.uint8))
        return given[-1]

    frames = read(
        store,
        random_batches(80, seed=5),
        lookahead=4,
        capacity=20,
        lend_pixels=lend_pixels,
        steps_in_flight=4,
    )
    with pytest.raises(MemoryError, match="no more"):
        next(frames)
    assert store.num_running == 0 and not decoding_threads()


def test_only_so_many_buffers_are_out_at_once():
    store = GroupedStore()
    num_made = 0

    def lend_pixels(num_frames):
        nonlocal num_made
        num_made += 1
        return torch.empty((num_frames, *store.frame_shape), dtype=torch.uint8)

    frames = read(
        store,
        random_batches(80, seed=6),
        lookahead=4,
        capacity=20,
        lend_pixels=lend_pixels,
        steps_in_flight=2,
    )
    for num_given, _ in enumerate(frames, start=1):
        assert num_made <= num_given + 1


def test_a_batch_given_is_the_callers_alone():
    batches = read(GroupedStore(), random_batches(80, seed=8))
    for _ in range(4):
        _, frames = next(batches)
        is_held = weakref.ref(frames)
        del frames
        for _ in range(500):  # a worker drops its last task only after its result is out
            if is_held() is None:
                break
            time.sleep(0.01)
        assert is_held() is None
    batches.close()


def test_numbers_out_of_range():
    with pytest.raises(ValueError, match="steps_in_flight must be 1 or more"):
        read(GroupedStore(), [], steps_in_flight=0)
    with pytest.raises(ValueError, match="lookahead and capacity"):
        read(GroupedStore(), [], capacity=-1)


def test_live_frames_spell_what_was_asked_for(sample_folder):
    store = cache_builder.open_videos(sample_folder.path, size=96)
    order = np.random.default_rng(7).permutation(len(store))[:240]
    batches = np.split(order, range(16, 240, 16))
    index = store.index
    for request, frames in read(store, batches, lookahead=8, capacity=100):
        for frame_id, frame in zip(request.cache_ids, frames.numpy(), strict=True):
            row = index[frame_id]
            assert read_frame(frame) == (row["video_id"], row["frame_in_video"])
    store.close()


def test_no_more_memory_is_asked_for_than_the_window_can_fill():
    store = GroupedStore()
    loader = FrameLoader(store, batch_size=8, lookahead=3, lookahead_bytes=1 << 60)
    assert sum(len(batch) for batch in loader) == len(store)


def test_what_is_left_of_an_epoch_may_hold_no_whole_batch():
    store = GroupedStore()
    loader = FrameLoader(store, batch_size=8, remainder="drop")
    for _ in zip(range(9), loader, strict=False):
        pass
    later = FrameLoader(store, batch_size=16, remainder="drop", lookahead=3)
    later.load_state_dict(loader.state_dict())
    assert [len(list(later)) for _ in range(2)] == [0, 5]


class GatedStore(GroupedStore):
    """The first group is decoded at once, the others when the gate opens."""

    def __init__(self):
        super().__init__()
        self.begun, self.gate, self.then = threading.Event(), threading.Event(), lambda: None

    def read_frames_into(self, frame_ids, outs):
        if frame_ids[0] >= GROUP_FRAMES:
            self.begun.set()
            assert self.gate.wait(60)
            self.then()
        super().read_frames_into(frame_ids, outs)


def begin(store, **options):
    batches = read(store, [np.array([i * GROUP_FRAMES]) for i in range(4)], **options)
    next(batches)
    assert store.begun.wait(60)
    return batches


def test_breaking_off_cancels_what_has_not_begun():
    store = GatedStore()
    batches = begin(store, num_threads=1, steps_in_flight=4)
    closing_thread = threading.Thread(target=batches.close)
    closing_thread.start()
    time.sleep(0.1)
    assert closing_thread.is_alive()  # it waits for the read that has begun
    store.gate.set()
    closing_thread.join(60)
    assert store.calls == [[0], [GROUP_FRAMES]]


def test_a_forked_child_does_not_wait_for_threads_it_has_not():
    store = GatedStore()
    with closing(begin(store, num_threads=2)) as batches:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            batches.close()
            os._exit(0)
        store.gate.set()
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(batches)) == 3


def test_a_decoding_thread_may_be_the_one_that_drops_the_iteration():
    store, held = GatedStore(), []
    held.append(begin(store, num_threads=1))
    store.then = held.clear
    (thread,) = decoding_threads()
    store.gate.set()
    thread.join(60)
    assert not held and not thread.is_alive()
