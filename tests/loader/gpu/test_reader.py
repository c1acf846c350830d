"""Batches on a device: everything but the device itself, which CPU memory replaces."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
import torch

from frame_store import DecodesInGroups
from frame_store.errors import CudaForkError, CudaUnavailableError
from frame_store.protocol import DecodesOnDevice
from frame_store.shared import cuda_guard
from loader import Augmentation, ColorJitter, FrameLoader, RandomResizedCrop, SamplingError, frame_loader
from loader.gpu import streams as cuda_streams
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids
from tests.support.gpu.device_streams import TENSORS, assert_same

AUGMENT = Augmentation(
    crop=RandomResizedCrop(size=5), flip_probability=0.5, jitter=ColorJitter(brightness=0.4, hue=0.2), seed=3
)


at_once = pytest.mark.parametrize("streams", [False], ids=["at once"], indirect=True)


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize(
    "options", [{}, {"clip_frames": 3, "batch_size": 5}, {"sampling": "shards", "shards_per_batch": 2}]
)
def test_batches_are_those_of_the_cpu(streams, options, num_threads):
    store = ArrayStore([20, 33])
    options = {"batch_size": 8, "seed": 2, **options}
    loader = FrameLoader(store, device="cuda", next_epoch=False, num_threads=num_threads, **options)
    expected = FrameLoader(store, **options)
    for _ in range(2):
        for one, other in zip(loader, expected, strict=True):
            assert_same(one, other)
    assert streams.num_in_use == 0


@at_once
@pytest.mark.parametrize("options", [{}, {"clip_frames": 3}])
def test_augmented_batches_are_those_of_the_cpu(streams, options):
    store = ArrayStore([20, 33])
    options = {"batch_size": 8, "augment": AUGMENT, **options}
    loader, expected = FrameLoader(store, device="cuda", **options), FrameLoader(store, **options)
    for _ in range(2):
        for one, other in zip(loader, expected, strict=True):
            assert one.frames.dtype == torch.float32
            assert_same(one, other)


def test_augmentation_runs_on_the_readers_stream(streams):
    seen = []

    class Seen(Augmentation):
        def __call__(self, frames, **arguments):
            seen.append((threading.current_thread(), streams.is_on_own_stream))
            return super().__call__(frames, **arguments)

    list(
        FrameLoader(
            ArrayStore([20]),
            device="cuda",
            next_epoch=False,
            batch_size=5,
            augment=Seen(jitter=ColorJitter(hue=0.1)),
        )
    )
    assert len(seen) == 4
    assert all(thread is not threading.main_thread() and on_stream for thread, on_stream in seen)


def test_a_batch_is_two_copies_of_hardly_more_than_its_pixels(streams):
    store = ArrayStore([12], frame_shape=(224, 224, 3))
    list(FrameLoader(store, device="cuda", next_epoch=False, batch_size=4))
    assert len(streams.uploaded_bytes) == 2 * 3
    assert 150_528 <= sum(streams.uploaded_bytes) / 12 <= 150_528 * 1.001
    assert not streams.pinned  # nothing more was asked for


def test_every_tensor_is_taken_over_where_it_is_handed_out_and_none_before(streams):
    batches = iter(FrameLoader(ArrayStore([80]), device="cuda", batch_size=4, num_threads=2, read_ahead=6))
    for number in range(1, 9):
        batch = next(batches)
        assert len(streams.taken_over) == number
        thread, tensors = streams.taken_over[-1]
        assert thread is threading.current_thread()
        storages = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        assert {getattr(batch, name).untyped_storage().data_ptr() for name in TENSORS} == storages
    batches.close()
    assert len(streams.taken_over) == 8


def test_batches_that_are_kept_stay_as_they_are(streams):
    loader = FrameLoader(ArrayStore([100]), device="cuda", batch_size=5, num_threads=3)
    kept = [batch for _ in range(2) for batch in loader]
    for batch in kept:
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()


def test_nothing_but_the_caller_holds_a_batch(streams):
    batches = iter(
        FrameLoader(ArrayStore([100]), device="cuda", next_epoch=False, batch_size=5, num_threads=2)
    )
    for _ in range(5):
        batch = next(batches)
        frames, rows = weakref.ref(batch.frames.untyped_storage()), weakref.ref(batch)
        streams.taken_over.clear()
        del batch
        assert rows() is None
        assert frames() is None


def test_an_error_comes_where_its_batch_would_have_come_and_frees_its_stream(streams):
    store = ArrayStore([40], broken_frame_id=25)
    batches = iter(FrameLoader(store, device="cuda", batch_size=10, sampling="sequential", num_threads=2))
    assert [next(batches).frame_ids.tolist() for _ in range(2)] == [list(range(10)), list(range(10, 20))]
    with pytest.raises(OSError, match="frame 25 cannot be read"):
        next(batches)
    assert streams.num_in_use == 0


@at_once
def test_an_error_of_the_augmentation_frees_the_stream_too(streams):
    class Broken(Augmentation):
        def __call__(self, frames, **arguments):
            raise RuntimeError("out of memory")

    batches = iter(FrameLoader(ArrayStore([40]), device="cuda", batch_size=10, augment=Broken()))
    with pytest.raises(RuntimeError, match="out of memory"):
        next(batches)
    assert streams.num_in_use == 0


def test_leaving_early_with_copies_queued_leaves_nothing(streams):
    loader = FrameLoader(
        ArrayStore([400]), device="cuda", next_epoch=False, batch_size=4, num_threads=3, read_ahead=9
    )
    for batch in loader:
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frame-loader")]
    assert streams.num_in_use == 0
    del batch
    gc.collect()
    assert len(list(loader)) == 100


def test_two_loaders_and_two_iterations_of_one_run_side_by_side(streams):
    store = ArrayStore([60])
    one, other = (FrameLoader(store, device="cuda", batch_size=7, seed=seed) for seed in (1, 2))
    for batches in zip(one, one, other, strict=True):
        for batch in batches:
            assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()


def test_a_loader_travels_without_its_streams(streams):
    loader = FrameLoader(ArrayStore([20]), device="cuda:1", batch_size=8)
    list(loader)
    assert [len(batch) for batch in pickle.loads(pickle.dumps(loader))] == [8, 8]


class GroupedStore(ArrayStore):
    """Decodes eight frames at a time, on the CPU."""

    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) - np.asarray(frame_ids) % 8

    def read_frames_into(self, frame_ids, outs):
        for frame, out in zip(self.read_frames(frame_ids), outs, strict=True):
            out[:] = frame


@pytest.mark.parametrize("options", [{}, {"clip_frames": 3}])
def test_look_ahead_on_the_cpu_reaches_the_device(streams, options):
    store = GroupedStore([80])
    assert isinstance(store, DecodesInGroups)
    options = {"batch_size": 6, "lookahead": 5, "seed": 1, **options}
    loader, expected = (
        FrameLoader(store, device="cuda", next_epoch=False, **options),
        FrameLoader(store, **options),
    )
    for one, other in zip(loader, expected, strict=True):
        assert_same(one, other)
    assert not streams.pinned and streams.num_in_use == 0


class DecodingStore(ArrayStore):
    """Makes frames in the stand-in's memory."""

    def __init__(self, *args, streams=None, **options):
        super().__init__(*args, **options)
        self.streams = streams
        self.calls = []

    device = property(lambda self: torch.device("cuda:0"))
    may_cross_fork = False

    def read_frames_on_device(self, frame_ids, out=None):
        self.calls.append((threading.current_thread(), self.streams.is_on_own_stream))
        assert out.device == self.streams.device
        return out.copy_(torch.from_numpy(super().read_frames(frame_ids)))

    def read_frames(self, frame_ids, out=None):
        self.calls.append("read_frames")
        return super().read_frames(frame_ids, out)


@pytest.mark.parametrize("device", [None, "cuda", "cuda:0"])
def test_frames_decoded_on_the_device_never_see_the_host(streams, device):
    store = DecodingStore([50], streams=streams)
    assert isinstance(store, DecodesOnDevice)
    expected = FrameLoader(ArrayStore([50]), batch_size=8)
    for one, other in zip(
        FrameLoader(store, device=device, next_epoch=False, batch_size=8), expected, strict=True
    ):
        assert_same(one, other)
    assert len(store.calls) == 6
    assert all(thread is not threading.main_thread() and on_stream for thread, on_stream in store.calls)
    assert max(streams.uploaded_bytes) == 8 * 40  # ids and times


def test_asked_for_on_the_cpu_they_are_copied_there_once(streams):
    store = DecodingStore([50], streams=streams)
    for one, other in zip(
        FrameLoader(store, device="cpu", next_epoch=False, batch_size=8),
        FrameLoader(ArrayStore([50]), batch_size=8),
        strict=True,
    ):
        assert_same(one, other)
    assert store.calls == ["read_frames"] * 6
    assert not streams.uploaded_bytes


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_store_that_decodes_on_a_gpu_is_read_by_eight_threads_or_more(streams, monkeypatch, device):
    monkeypatch.setattr(frame_loader, "num_usable_cpus", lambda: 2)
    barrier = threading.Barrier(8, timeout=20)  # raises where it is not filled

    class MeetingStore(DecodingStore):
        def read_frames_on_device(self, frame_ids, out=None):
            barrier.wait()
            return super().read_frames_on_device(frame_ids, out)

        def read_frames(self, frame_ids, out=None):
            barrier.wait()
            return super().read_frames(frame_ids, out)

    store = MeetingStore([16], streams=streams)
    loader = FrameLoader(store, device=device, batch_size=1, next_epoch=False)
    assert len(list(loader)) == 16


def test_another_gpu_than_the_stores_is_refused(streams):
    with pytest.raises(
        SamplingError, match=r"DecodingStore decodes on cuda:0, and device is cuda:1.*device='cuda:0'"
    ):
        FrameLoader(DecodingStore([50]), device="cuda:1")


def test_look_ahead_is_not_for_frames_on_a_device(streams):
    class Grouped(DecodingStore, GroupedStore):
        pass

    with pytest.raises(SamplingError, match=r"lookahead=3 keeps frames on the host .* on cuda:0"):
        FrameLoader(Grouped([50]), lookahead=3)
    assert len(FrameLoader(Grouped([50]), lookahead=3, device="cpu")) == 1


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "mps", "meta", 3.5, torch.device("meta")])
def test_what_is_no_device_is_refused(device):
    with pytest.raises(SamplingError, match="device must be"):
        FrameLoader(ArrayStore([9]), device=device)


@pytest.mark.parametrize("device", [None, "cpu", "cpu:0", torch.device("cpu")])
def test_on_the_cpu_cuda_is_left_alone(monkeypatch, device):
    monkeypatch.setattr(frame_loader, "check_cuda_usable_here", None)
    monkeypatch.setattr(cuda_streams, "check_cuda_usable_here", None)
    monkeypatch.setattr(cuda_guard, "cuda_driver", None)
    assert len(list(FrameLoader(ArrayStore([9]), device=device))) == 1


def test_unpinned_memory_for_a_gpu_is_refused(streams):
    with pytest.raises(SamplingError, match="pin_memory=False is for batches on the CPU; device='cuda:0'"):
        FrameLoader(ArrayStore([9]), device="cuda", pin_memory=False)
    FrameLoader(ArrayStore([9]), device="cuda", pin_memory=True)


class Driver:
    """Of a machine with one GPU."""

    def start(self):
        return 0

    def num_devices(self):
        return 1


@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda:1")])
def test_without_a_driver_the_loader_says_so_where_it_is_made(monkeypatch, device):
    monkeypatch.setattr(cuda_guard, "cuda_driver", lambda: None)
    with pytest.raises(CudaUnavailableError, match="no NVIDIA driver: libcuda"):
        FrameLoader(ArrayStore([9]), device=device)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(cuda_guard, "cuda_driver", Driver)
    with pytest.raises(CudaUnavailableError, match="cuda:3: this process may use 1 GPU,"):
        FrameLoader(ArrayStore([9]), device="cuda:3")


@pytest.mark.parametrize(
    ("version", "message"), [(None, "is built without CUDA"), ("13.0", r"\(CUDA 13.0\) cannot use it")]
)
def test_a_torch_that_cannot_use_the_gpu_is_named(monkeypatch, version, message):
    monkeypatch.setattr(cuda_guard, "cuda_driver", Driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", version)
    with pytest.raises(CudaUnavailableError, match=message):
        FrameLoader(ArrayStore([9]), device="cuda")


def test_cuda_without_a_number_is_torchs_current_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(cuda_streams, "check_cuda_usable_here", asked.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert cuda_streams.usable_cuda_device(torch.device("cuda")) == torch.device("cuda:2")
    assert cuda_streams.usable_cuda_device(torch.device("cuda:5")) == torch.device("cuda:5")
    assert asked == [0, 5]


def test_a_forked_child_is_told_so_where_it_iterates(streams, monkeypatch):
    loader = FrameLoader(ArrayStore([9]), device="cuda")
    monkeypatch.setattr(frame_loader, "check_cuda_usable_here", cuda_guard.check_cuda_usable_here)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(CudaForkError, match="does not survive a fork"):
        iter(loader)


def test_a_forked_child_is_told_so_where_it_makes_a_loader(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(CudaForkError, match="does not survive a fork"):
        FrameLoader(ArrayStore([9]), device="cuda")
