import gc
import os
import pickle
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import FrameLoader
from loader.batches.buffers import BatchBuffers
from loader.sampling.plan import make_plan
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids


def lend(buffers, fill, shape=(4, 6)):
    tensor = buffers.lend(shape, torch.uint8)
    tensor.fill_(fill)
    return tensor


def test_memory_is_used_again_when_its_tensor_is_gone():
    buffers = BatchBuffers(24, num_spare=2, pin_memory=False)
    tensor = lend(buffers, 1)
    address = tensor.data_ptr()
    del tensor
    assert lend(buffers, 2).data_ptr() == address


@pytest.mark.parametrize(
    "view_of",
    [
        lambda tensor: tensor[1],
        lambda tensor: tensor.movedim(-1, 0),
        lambda tensor: tensor.numpy(),
        lambda tensor: tensor.numpy()[2:, 1],
        lambda tensor: torch.from_numpy(tensor.numpy()[1]),
        lambda tensor: tensor.untyped_storage(),
        lambda tensor: memoryview(tensor.numpy()),
        torch.utils.dlpack.from_dlpack,
        lambda tensor: {"frame": [tensor.view(torch.int8)]},
    ],
)
def test_memory_stays_whoever_holds_a_view(view_of):
    buffers = BatchBuffers(24, num_spare=2, pin_memory=False)
    tensor = lend(buffers, 1)
    address, view = tensor.data_ptr(), view_of(tensor)
    del tensor
    gc.collect()
    others = [lend(buffers, 2) for _ in range(4)]
    assert address not in {other.data_ptr() for other in others}
    del view
    gc.collect()
    assert lend(buffers, 3).data_ptr() == address


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
@settings(max_examples=50)
def test_no_two_holders_share_memory(steps):
    buffers, held = BatchBuffers(24, num_spare=3, pin_memory=False), {}
    for number, (keeps, which) in enumerate(steps):
        if keeps:
            held[number % 256] = lend(buffers, number % 256)
        elif held:
            held.pop(list(held)[which % len(held)])
        for fill, tensor in held.items():
            assert (tensor == fill).all()


def test_no_more_spare_memory_is_kept_than_asked_for():
    buffers = BatchBuffers(24, num_spare=2, pin_memory=False)
    many = [lend(buffers, 1) for _ in range(9)]
    del many
    assert len(buffers._spare) == 2 and not buffers._lent


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 3), torch.float32), ((5,), torch.uint8), ((0, 3), torch.uint8), ((50,), torch.uint8)],
)
def test_any_shape_and_dtype_can_be_lent(shape, dtype):
    tensor = BatchBuffers(24, num_spare=1, pin_memory=False).lend(shape, dtype)
    assert tensor.shape == shape and tensor.dtype == dtype and tensor.is_contiguous()
    tensor.fill_(3)
    assert (tensor == 3).all()


def test_threads_may_borrow_and_give_back_at_once():
    buffers, failures = BatchBuffers(24, num_spare=3, pin_memory=False), []

    def borrow(fill):
        for _ in range(2000):
            tensor = lend(buffers, fill)
            if not (tensor == fill).all():
                failures.append(fill)

    threads = [threading.Thread(target=borrow, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_pools_may_go_before_their_tensors():
    tensor = lend(BatchBuffers(24, num_spare=2, pin_memory=False), 7)
    gc.collect()
    assert (tensor == 7).all()


def test_an_epoch_goes_through_a_few_buffers_and_kept_batches_stay_as_they_are():
    loader = FrameLoader(ArrayStore([200]), batch_size=4, num_threads=2, read_ahead=3)
    addresses = {batch.frames.data_ptr() for _ in range(3) for batch in loader}
    assert len(addresses) <= 3 + 3  # read ahead, handed out, and the one the caller lets go of
    kept = list(loader)
    for batch in kept:
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()
    assert len({batch.frames.data_ptr() for batch in kept}) == len(kept)


def test_samples_outlive_their_batch():
    samples = [
        batch[1]["frame"] for batch in FrameLoader(ArrayStore([200]), batch_size=4, sampling="sequential")
    ]
    for number, sample in enumerate(samples):
        assert spelt_frame_ids(sample[None]).tolist() == [4 * number + 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_pinned_batches_reach_the_gpu_as_they_are():
    for batch in FrameLoader(ArrayStore([400]), batch_size=8, pin_memory=True):
        assert batch.frames.is_pinned()
        there = batch.to("cuda", non_blocking=True)
        del batch
        assert np.array_equal(spelt_frame_ids(there.frames), there.frame_ids.cpu())


def test_a_forked_child_writes_into_memory_of_its_own():
    buffers = BatchBuffers(24, num_spare=2, pin_memory=False)
    tensor = lend(buffers, 1)
    child = os.fork()
    if child == 0:
        tensor.fill_(2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tensor == 1).all()


def test_a_batch_size_beyond_the_store_takes_no_more_memory_than_the_store():
    assert make_plan([12, 8], batch_size=1000).frames_per_batch == 20
    (batch,) = FrameLoader(ArrayStore([20]), batch_size=1000)
    assert batch.frames.untyped_storage().nbytes() == 20 * 4 * 6 * 3


def test_loaders_travel_after_an_iteration_too():
    loader = FrameLoader(ArrayStore([20]), batch_size=8)
    list(loader)
    assert [len(batch) for batch in pickle.loads(pickle.dumps(loader))] == [8, 8]
