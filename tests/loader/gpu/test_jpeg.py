"""JPEG decoded on the device: everything but nvJPEG itself, which libjpeg-turbo replaces."""

import numpy as np
import pytest
import simplejpeg
import torch

import frame_store
from frame_store.errors import CudaError, CudaUnavailableError, StoreDamagedError
from loader import FrameLoader, SamplingError
from loader.gpu import device as device_choice
from loader.gpu import jpeg as jpeg_on_gpu
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.gpu.device_streams import assert_same


@pytest.fixture
def jpeg_path(tmp_path):
    write_store(tmp_path / "cache", *GOLDEN_ENCODINGS["wds-jpeg"], golden_frames())
    return tmp_path / "cache"


def decode_on_the_cpu(payloads, device):
    """libjpeg-turbo in the place of nvJPEG: bit for bit the pixels of a cache's own decoder, as planes."""
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
    options = {"batch_size": 4, "seed": 1, "num_threads": 1, "remainder": "uneven", **options}
    loader = FrameLoader(store, device="cuda", jpeg_decode="gpu", next_epoch=False, **options)
    num_different = []
    for one, other in zip(loader, FrameLoader(store, **options), strict=True):
        assert_same(one, other)
        num_different.append(len(other.cache_ids.unique()))
    assert decoder == num_different  # windows that overlap: a frame is decoded once
    assert sum(decoder) < 8 * 2 if options.get("clip_frames") else sum(decoder) == 10
    assert max(streams.uploaded_bytes) <= 8 * 40  # ids and times: pixels do not go up


def test_a_damaged_jpeg_is_named(jpeg_path, streams, decoder):
    store = frame_store.open_store(jpeg_path)
    shard = store.generations[0].path / store.common.shards[1].name
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
