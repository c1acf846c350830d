"""Threads or worker processes give the same batches, and combinations that would fail are refused before a start."""

import gc
import multiprocessing

import pytest
import torch

from frame_store.errors import CudaForkError, CudaUnavailableError
from loader import Augmentation, FrameLoader, SamplingError, WorkerLoader, make_dataloader
from loader.torch_loader import worker_loader
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids
from tests.support.gpu.device_streams import LateStreams, assert_same


def ids_of(batches):
    ids = []
    for batch in batches:
        assert spelt_frame_ids(batch.frames.flatten(0, -4)).tolist() == batch.frame_ids.flatten().tolist()
        ids.append(batch.frame_ids.tolist())
    return ids


class CudaStore(ArrayStore):
    """A store that a forked process must not read."""

    may_cross_fork = False


@pytest.fixture
def no_process(monkeypatch):
    """Starting a process is an error: refusals come before that."""

    def start(self):
        raise AssertionError("a worker was started")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)


def test_no_workers_are_the_threads_of_frame_loader():
    loader = make_dataloader(ArrayStore([30, 20]), batch_size=8, seed=3)
    assert type(loader) is FrameLoader
    assert ids_of(loader) == ids_of(FrameLoader(ArrayStore([30, 20]), batch_size=8, seed=3))


# For a store that may cross a fork, the test names Python's default; for one that may not, the loader chooses spawn.
@pytest.mark.parametrize(("kind", "context"), [(ArrayStore, "fork"), (CudaStore, None)])
def test_workers_give_the_batches_of_the_threads(kind, context):
    store = kind([30, 20])
    options = {"batch_size": 8, "seed": 3}
    num_workers = 2 if context == "fork" else 1  # a spawned one takes seconds to import torch
    loader = make_dataloader(store, num_workers=num_workers, multiprocessing_context=context, **options)
    expected = FrameLoader(ArrayStore([30, 20]), **options)
    assert type(loader) is WorkerLoader and len(loader) == len(expected) == 6
    assert ids_of(loader) == ids_of(expected)  # epoch 0
    for steps, (one, other) in enumerate(zip(loader, expected, strict=True), start=1):  # epoch 1
        assert one.frame_ids.tolist() == other.frame_ids.tolist()
        assert one.frames.device.type == "cpu"
        assert loader.state_dict() == expected.state_dict()
        if steps == 3:
            break
    state = loader.state_dict()
    for both in (loader, expected):
        both.set_epoch(7)
    assert loader.state_dict() == expected.state_dict()
    assert ids_of(loader) == ids_of(expected)
    loader.load_state_dict(state)
    assert loader.state_dict() == state
    resumed = FrameLoader(ArrayStore([30, 20]), **options)
    resumed.load_state_dict(state)
    assert ids_of(loader) == ids_of(resumed)
    del loader, one
    gc.collect()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "augment", [Augmentation(flip_probability=0.5, dtype="bfloat16", seed=1), lambda frames: frames.flip(-1)]
)
def test_workers_augment_as_the_threads_do(augment):
    options = {"batch_size": 8, "seed": 3, "augment": augment}
    loader = make_dataloader(ArrayStore([30, 20]), num_workers=1, multiprocessing_context="fork", **options)
    expected = FrameLoader(ArrayStore([30, 20]), **options)
    for _ in range(2):  # the workers stay, and draw for the next epoch
        for one, other in zip(loader, expected, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("error", [KeyError("no such colour"), StopIteration()])
def test_what_a_callable_raises_in_a_worker_comes_out_here(error):
    def augment(frames):
        raise error

    batches = make_dataloader(
        ArrayStore([30]), num_workers=1, multiprocessing_context="fork", batch_size=8, augment=augment
    )
    kind = RuntimeError if isinstance(error, StopIteration) else KeyError
    with pytest.raises(kind, match=r"augment=.*augment raised"):
        next(iter(batches))


def test_a_store_that_may_not_cross_a_fork_is_spawned(no_process):
    loader = make_dataloader(CudaStore([50]), batch_size=8, num_workers=2)
    assert loader._batches.multiprocessing_context.get_start_method() == "spawn"
    assert loader._batches.persistent_workers
    assert (
        make_dataloader(ArrayStore([50]), batch_size=8, num_workers=2)._batches.multiprocessing_context
        is None
    )


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_than_a_fork_are_left_as_asked(no_process, method):
    for store in (CudaStore([50]), ArrayStore([50])):
        for context in (method, multiprocessing.get_context(method)):
            loader = make_dataloader(store, batch_size=8, num_workers=1, multiprocessing_context=context)
            assert loader._batches.multiprocessing_context.get_start_method() == method


@pytest.mark.parametrize("context", ["fork", multiprocessing.get_context("fork")])
def test_a_fork_of_a_store_that_does_not_survive_it_is_refused(no_process, context):
    with pytest.raises(CudaForkError) as error:
        make_dataloader(CudaStore([50]), num_workers=1, multiprocessing_context=context)
    for part in ("CudaStore uses CUDA", "CUDA_ERROR_NOT_INITIALIZED", "num_workers=0", "'spawn'"):
        assert part in str(error.value)


def test_a_default_of_forking_is_refused_where_it_is_handed_over(no_process, monkeypatch):
    default = multiprocessing.get_context()
    if default.get_start_method() != "fork":
        pytest.skip(f"Python's default is {default.get_start_method()} here")
    with pytest.raises(CudaForkError):
        make_dataloader(CudaStore([50]), num_workers=1, multiprocessing_context=default)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": -1}, "num_workers must be 0 or more, found -1"),
        ({"multiprocessing_context": "spawn"}, "is for worker processes, and num_workers is 0"),
        ({"num_workers": 1, "multiprocessing_context": "thread"}, "must be one of .*spawn.*, found 'thread'"),
        ({"num_workers": 1, "device": "gpu"}, "device must be"),
        ({"num_workers": 1, "batch_size": 0}, "batch_size"),
    ],
)
def test_what_contradicts_itself_is_refused(no_process, arguments, message):
    with pytest.raises(SamplingError, match=message):
        make_dataloader(ArrayStore([50]), **arguments)


def test_a_gpu_that_is_not_there_is_refused_before_workers_start(no_process, monkeypatch):
    monkeypatch.setattr("frame_store.shared.cuda_guard.cuda_driver", lambda: None)
    for num_workers in (0, 2):
        with pytest.raises(CudaUnavailableError, match="no NVIDIA driver"):
            make_dataloader(ArrayStore([50]), batch_size=8, num_workers=num_workers, device="cuda")


def test_workers_batches_are_uploaded_by_the_process_that_iterates(monkeypatch):
    store = ArrayStore([50])
    loader, streams = loader_over_streams(monkeypatch, LateStreams(), store)
    assert ids_of(loader) == ids_of(FrameLoader(store, batch_size=8, seed=3))
    assert len(streams.taken_over) == 6 and len(streams.uploaded_bytes) == 6 * 6
    assert not streams.pinned and streams.num_in_use == 0


@pytest.mark.parametrize("augment", [Augmentation(flip_probability=0.5, seed=1), lambda frames: frames / 255])
def test_workers_batches_are_augmented_after_the_upload(monkeypatch, augment):
    store, on_stream = ArrayStore([50]), []

    class Seen(Augmentation):
        def __call__(self, frames, **arguments):
            on_stream.append(streams.is_on_own_stream)
            return augment(frames, **arguments) if isinstance(augment, Augmentation) else augment(frames)

    loader, streams = loader_over_streams(monkeypatch, LateStreams(is_late=False), store, augment=Seen())
    expected = FrameLoader(store, batch_size=8, seed=3, augment=augment)
    for _ in range(2):  # epoch 1, too
        for one, other in zip(loader, expected, strict=True):
            assert_same(one, other)
    assert on_stream == [True] * 12


def loader_over_streams(monkeypatch, streams, store, **options):
    """A loader as with workers and `device="cuda"`, but without workers and without a GPU."""

    class PinnedLoader:
        """As a DataLoader with `pin_memory=True`, but without the processes."""

        def __init__(self, dataset, *, batch_sampler, pin_memory, **options):
            assert pin_memory
            self.batch_sampler, self.dataset = batch_sampler, dataset

        def __iter__(self):
            for planned in self.batch_sampler:
                batch = self.dataset.__getitems__(planned)
                for tensor in batch.tensors().values():
                    streams.pinned[tensor.data_ptr()] = tensor.nbytes
                yield batch

    monkeypatch.setattr(worker_loader, "DataLoader", PinnedLoader)
    monkeypatch.setattr(worker_loader, "chosen_device", lambda device, store: torch.device("cuda:0"))
    monkeypatch.setattr(worker_loader, "check_cuda_usable_here", lambda ordinal: None)
    monkeypatch.setattr(worker_loader, "CudaStreams", lambda device: streams)
    loader = make_dataloader(store, num_workers=2, device="cuda", batch_size=8, seed=3, **options)
    return loader, streams


def test_a_forked_child_is_told_so_where_it_iterates(monkeypatch, no_process):
    monkeypatch.setattr(worker_loader, "chosen_device", lambda device, store: torch.device("cpu"))
    loader = make_dataloader(ArrayStore([50]), batch_size=8, num_workers=1)
    loader._device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(CudaForkError, match="does not survive a fork"):
        iter(loader)
