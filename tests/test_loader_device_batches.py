"""Batches on a device: everything but the device itself, for which CPU memory stands in."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
import simplejpeg
import torch
from frame_cache_tools.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store

import frame_store
from frame_store import DecodesInGroups, cuda_guard
from frame_store.errors import CudaError, CudaForkError, CudaUnavailableError, StoreDamagedError
from frame_store.protocol import DecodesOnDevice
from loader import (
    Augmentation,
    ColorJitter,
    FrameBatch,
    FrameLoader,
    RandomResizedCrop,
    SamplingError,
    cuda_streams,
    device_choice,
    frame_loader,
    jpeg_on_gpu,
)
from tests.support.array_store import ArrayStore, spelt_frame_ids
from tests.support.device_streams import LateStreams

TENSORS = ["frames", "frame_ids", "video_ids", "frame_in_video", "pts_seconds"]
AUGMENT = Augmentation(
    crop=RandomResizedCrop(size=5), flip_probability=0.5, jitter=ColorJitter(brightness=0.4, hue=0.2), seed=3
)


@pytest.fixture(params=[True], ids=["late"])
def streams(request, monkeypatch):
    """What `FrameLoader(device="cuda")` works on in this test."""
    stand_in = LateStreams(is_late=request.param)
    monkeypatch.setattr(
        device_choice, "usable_cuda_device", lambda device: torch.device("cuda", device.index or 0)
    )
    monkeypatch.setattr(frame_loader, "check_cuda_usable_here", lambda ordinal: None)
    monkeypatch.setattr(frame_loader, "CudaStreams", lambda device: stand_in)
    return stand_in


at_once = pytest.mark.parametrize("streams", [False], ids=["at once"], indirect=True)


def assert_same(one: FrameBatch, other: FrameBatch):
    for name in TENSORS:
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype and left.stride() == right.stride(), name
        assert torch.equal(left.nan_to_num(-1), right.nan_to_num(-1)), name


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize(
    "options", [{}, {"clip_frames": 3, "batch_size": 5}, {"sampling": "shards", "shards_per_batch": 2}]
)
def test_batches_are_those_of_the_cpu(streams, options, num_threads):
    store = ArrayStore([20, 33])
    options = {"batch_size": 8, "seed": 2, **options}
    loader = FrameLoader(store, device="cuda", num_threads=num_threads, **options)
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
        FrameLoader(ArrayStore([20]), device="cuda", batch_size=5, augment=Seen(jitter=ColorJitter(hue=0.1)))
    )
    assert len(seen) == 4
    assert all(thread is not threading.main_thread() and on_stream for thread, on_stream in seen)


def test_a_batch_is_two_copies_of_hardly_more_than_its_pixels(streams):
    store = ArrayStore([12], frame_shape=(224, 224, 3))
    list(FrameLoader(store, device="cuda", batch_size=4))
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
    batches = iter(FrameLoader(ArrayStore([100]), device="cuda", batch_size=5, num_threads=2))
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
    loader = FrameLoader(ArrayStore([400]), device="cuda", batch_size=4, num_threads=3, read_ahead=9)
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
    assert [len(batch) for batch in pickle.loads(pickle.dumps(loader))] == [8, 8, 4]


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
    loader, expected = FrameLoader(store, device="cuda", **options), FrameLoader(store, **options)
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
    for one, other in zip(FrameLoader(store, device=device, batch_size=8), expected, strict=True):
        assert_same(one, other)
    assert len(store.calls) == 7
    assert all(thread is not threading.main_thread() and on_stream for thread, on_stream in store.calls)
    assert max(streams.uploaded_bytes) == 8 * 32  # ids and times


def test_asked_for_on_the_cpu_they_are_copied_there_once(streams):
    store = DecodingStore([50], streams=streams)
    for one, other in zip(
        FrameLoader(store, device="cpu", batch_size=8),
        FrameLoader(ArrayStore([50]), batch_size=8),
        strict=True,
    ):
        assert_same(one, other)
    assert store.calls == ["read_frames"] * 7
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

    loader = FrameLoader(MeetingStore([16], streams=streams), device=device, batch_size=1)
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
    with pytest.raises(CudaUnavailableError, match="cuda:3: this process may use 1 GPUs"):
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


@pytest.fixture
def jpeg_path(tmp_path):
    write_store(tmp_path / "cache", *GOLDEN_ENCODINGS["wds-jpeg"], golden_frames())
    return tmp_path / "cache"


def decode_on_the_cpu(payloads, device):
    """libjpeg-turbo in the place of nvJPEG, bit for bit what a cache's own decoder gives; planes, as nvJPEG's."""
    assert device == torch.device("cpu") and all(payload.device == device for payload in payloads)
    try:
        images = [simplejpeg.decode_jpeg(payload.numpy()) for payload in payloads]
    except ValueError as error:
        raise RuntimeError("nvJPEG error") from error
    return [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]


@pytest.fixture
def decoder(monkeypatch, streams):
    def decode(payloads, device):
        assert streams.is_on_own_stream and streams.drained == len(calls) + 1
        calls.append(len(payloads))
        return decode_on_the_cpu(payloads, device)

    calls = []
    monkeypatch.setattr(device_choice, "find_jpeg_decoder", lambda: decode)
    return calls


@pytest.mark.parametrize("options", [{}, {"clip_frames": 2}])
def test_jpeg_goes_up_as_it_is_stored(jpeg_path, streams, decoder, options):
    store = frame_store.open_store(jpeg_path)
    options = {"batch_size": 4, "seed": 1, "num_threads": 1, **options}
    loader = FrameLoader(store, device="cuda", jpeg_decode="gpu", **options)
    for one, other in zip(loader, FrameLoader(store, **options), strict=True):
        assert_same(one, other)
    assert sum(decoder) == (8 if options.get("clip_frames") else 10)
    assert max(streams.uploaded_bytes) <= 8 * 32  # ids and times: pixels do not go up


def test_a_damaged_jpeg_is_named(jpeg_path, streams, decoder):
    store = frame_store.open_store(jpeg_path)
    shard = jpeg_path / store.manifest.shards[1].name
    with shard.open("r+b") as file:
        file.seek(int(store.index["byte_offset"][6]))
        file.write(bytes(100))
    batches = iter(FrameLoader(store, device="cuda", jpeg_decode="gpu", sampling="sequential", batch_size=4))
    assert next(batches).frame_ids.tolist() == [0, 1, 2, 3]
    with pytest.raises(StoreDamagedError, match="frame 6"):
        next(batches)
    assert streams.num_in_use == 0


def test_an_error_of_the_decoder_alone_stays_its_own(jpeg_path, streams, monkeypatch):
    def decode(payloads, device):
        raise RuntimeError("nvJPEG is out of memory")

    monkeypatch.setattr(device_choice, "find_jpeg_decoder", lambda: decode)
    loader = FrameLoader(frame_store.open_store(jpeg_path), device="cuda", jpeg_decode="gpu")
    with pytest.raises(RuntimeError, match="nvJPEG is out of memory"):
        next(iter(loader))


def test_an_image_of_another_size_is_named():
    images = [torch.zeros(3, 16, 24, dtype=torch.uint8), torch.zeros(1, 16, 24, dtype=torch.uint8)]
    with pytest.raises(CudaError, match=r"frame 8: the GPU made torch.uint8 \(1, 16, 24\).*\(3, 16, 24\)"):
        jpeg_on_gpu.stack_images(images, frame_ids=[7, 8], frame_shape=(16, 24, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("wds-raw", {}, "CacheStore holds raw frames"),
        ("zarr-zstd", {}, "CacheStore holds zstd frames"),
        (None, {}, "ArrayStore holds no encoded frames"),
        ("wds-jpeg", {"device": "cpu"}, "needs batches on a GPU, and device is 'cpu'"),
        ("wds-jpeg", {"jpeg_decode": "nvjpeg"}, "must be 'cpu' or 'gpu', found 'nvjpeg'"),
    ],
)
def test_jpeg_that_a_gpu_cannot_decode_is_refused(tmp_path, streams, name, arguments, message):
    store = ArrayStore([9])
    if name is not None:
        write_store(tmp_path / "cache", *GOLDEN_ENCODINGS[name], golden_frames())
        store = frame_store.open_store(tmp_path / "cache")
    with pytest.raises(SamplingError, match=message):
        FrameLoader(store, **{"device": "cuda", "jpeg_decode": "gpu", **arguments})


class Module:
    """Of a name, with or without a decoder."""

    def __init__(self, **content):
        self.__dict__.update(content)


@pytest.mark.parametrize(
    ("torchcodec", "torchvision", "found"),
    [
        (Module(decode_jpeg=1), Module(decode_jpeg=1), "_decode_with_torchcodec"),
        (Module(), Module(decode_jpeg=1), "_decode_with_torchvision"),
        (ImportError("No module"), Module(decode_jpeg=1), "_decode_with_torchvision"),
        (RuntimeError("Could not load\nlibtorchcodec"), Module(decode_jpeg=1), "_decode_with_torchvision"),
        (Module(), ImportError("No module named 'torchvision'"), None),
    ],
)
def test_torchcodec_comes_before_torchvision(monkeypatch, torchcodec, torchvision, found):
    def import_module(name):
        module = {"torchcodec.decoders": torchcodec, "torchvision.io": torchvision}[name]
        if isinstance(module, Exception):
            raise module
        return module

    monkeypatch.setattr(jpeg_on_gpu, "import_module", import_module)
    if found is not None:
        assert jpeg_on_gpu.find_jpeg_decoder() is getattr(jpeg_on_gpu, found)
    else:
        message = r"frame-cache\[gpu\].*torchcodec.decoders has no decode_jpeg; No module named 'torchvision'"
        with pytest.raises(CudaUnavailableError, match=message):
            jpeg_on_gpu.find_jpeg_decoder()


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
def test_torchvision_is_called_as_it_wants_to_be(jpeg_path):
    store = frame_store.open_store(jpeg_path)
    payloads = [torch.from_numpy(payload) for payload in store.read_encoded(range(10))]
    images = jpeg_on_gpu._decode_with_torchvision(payloads, torch.device("cpu"))
    frames = jpeg_on_gpu.stack_images(images, frame_ids=range(10), frame_shape=(16, 24, 3))
    assert frames.is_contiguous() and frames.shape == (10, 16, 24, 3)
    assert np.abs(frames.numpy().astype(int) - golden_frames()).mean() < 2
