"""Batches on a real GPU: streams that are late on purpose, counted copies, nvJPEG."""

import gc
import os
from contextlib import contextmanager
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

import frame_store
from frame_store.errors import CudaForkError, CudaUnavailableError
from frame_store.manifest import Encoding
from loader import (
    Augmentation,
    ColorJitter,
    FrameLoader,
    Normalize,
    RandomResizedCrop,
    SamplingError,
    make_dataloader,
)
from loader.gpu.jpeg import find_jpeg_decoder
from loader.gpu.streams import CudaStreams
from tests.gpu.copies import FRAME_BYTES, copies_of, smooth_frames
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids
from tests.support.caches.golden_stores import write_store

pytestmark = pytest.mark.gpu

TENSORS = ["frames", "frame_ids", "cache_ids", "video_ids", "frame_in_video", "pts_seconds"]
SHAPE = (224, 224, 3)
SLEEP_CYCLES = 20_000_000
"""About 10 ms of a stream's time: longer than the host takes for several batches."""

AUGMENT = Augmentation(
    crop=RandomResizedCrop(size=96, scale=(0.5, 1.0)),
    flip_probability=0.5,
    jitter=ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5),
    normalize=Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
    seed=3,
)


@pytest.fixture(scope="module")
def raw_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "raw"
    write_store(path, "wds", Encoding(name="raw"), smooth_frames(48))
    return frame_store.open_store(path)


@contextmanager
def syncs_are_errors():
    """In every thread, because the mode belongs to the process."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def assert_same(there, here):
    for name in TENSORS:
        left, right = getattr(there, name), getattr(here, name)
        assert left.device.type == "cuda" and left.dtype == right.dtype and left.stride() == right.stride()
        assert torch.equal(left.cpu().nan_to_num(-1), right.nan_to_num(-1)), name


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize(
    "options", [{}, {"clip_frames": 3}, {"frame_offsets": (-2, 0, 5)}, {"batch_size": 5, "read_ahead": 1}]
)
def test_batches_are_those_of_the_cpu_bit_for_bit(raw_store, options, num_threads):
    options = {"batch_size": 8, "seed": 2, **options}
    loader = FrameLoader(raw_store, device="cuda", num_threads=num_threads, **options)
    expected = FrameLoader(raw_store, **options)
    for _ in range(3):
        for there, here in zip(loader, expected, strict=True):
            assert_same(there, here)


@pytest.mark.parametrize("options", [{}, {"clip_frames": 3}])
def test_augmented_values_agree_with_the_cpu(raw_store, options):
    options = {"batch_size": 8, "augment": AUGMENT, **options}
    for there, here in zip(
        FrameLoader(raw_store, device="cuda", **options), FrameLoader(raw_store, **options), strict=True
    ):
        assert there.frames.dtype == torch.float32 and there.frames.is_contiguous()
        assert torch.equal(there.frame_ids.cpu(), here.frame_ids)
        assert torch.allclose(there.frames.cpu(), here.frames, rtol=0, atol=1e-3)  # / 0.2, the least std


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_the_host_waits_for_nothing(raw_store, augment):
    loader = FrameLoader(raw_store, device="cuda", batch_size=8, augment=augment)
    total = torch.zeros((), device="cuda")
    list(loader)  # the first epoch may wait, for example for memory
    with syncs_are_errors():
        for batch in loader:
            total += batch.frames.sum(dtype=torch.float32)
            del batch
    assert total.isfinite()


def sums_of(batches, *, stream=None, sleep_cycles=0):
    """Queue a sum of each batch on `stream` after a sleep, and drop the batch at once."""
    sums = []
    with torch.cuda.stream(stream):  # None does nothing
        for batch in batches:
            if sleep_cycles:
                torch.cuda._sleep(sleep_cycles)
            sums.append((batch.frame_ids.sum(), batch.frames.sum(dtype=torch.int64)))
            del batch
    torch.cuda.synchronize()
    return [(int(ids), int(pixels)) for ids, pixels in sums]


def expected_sums(store, **options):
    return [
        (int(batch.frame_ids.sum()), int(batch.frames.sum(dtype=torch.int64)))
        for batch in FrameLoader(store, **options)
    ]


def test_memory_is_not_used_again_before_the_callers_stream_is_done_with_it(raw_store):
    options = {"batch_size": 2, "num_threads": 2}
    loader, stream = FrameLoader(raw_store, device="cuda", **options), torch.cuda.Stream()
    expected = expected_sums(raw_store, **options)
    assert sums_of(loader, stream=stream, sleep_cycles=SLEEP_CYCLES) == expected


def late_uploads(monkeypatch, sleep_cycles=SLEEP_CYCLES):
    upload = CudaStreams.upload

    def upload_late(streams, host):
        torch.cuda._sleep(sleep_cycles)  # on the stream that copies
        return upload(streams, host)

    monkeypatch.setattr(CudaStreams, "upload", upload_late)


@pytest.mark.parametrize("on_default_stream", [True, False])
def test_a_batch_handed_out_while_its_copy_is_under_way_is_waited_for(
    raw_store, monkeypatch, on_default_stream
):
    late_uploads(monkeypatch)
    options = {"batch_size": 2, "num_threads": 3}
    stream = None if on_default_stream else torch.cuda.Stream()
    loader = FrameLoader(raw_store, device="cuda", **options)
    assert sums_of(loader, stream=stream) == expected_sums(raw_store, **options)


def test_leaving_early_with_copies_under_way_harms_nobody(raw_store, monkeypatch):
    late_uploads(monkeypatch)
    loader = FrameLoader(raw_store, device="cuda", batch_size=2, num_threads=4, read_ahead=8)
    options = {"batch_size": 2, "num_threads": 4}
    for epoch in range(4):
        kept = list(islice(loader, epoch))  # closed by the garbage collector, copies and all
        gc.collect()
        for batch in kept:
            rows = raw_store.read_frames(batch.frame_ids.cpu().numpy())
            assert torch.equal(batch.frames.cpu(), torch.from_numpy(rows).movedim(-1, -3))
    expected = FrameLoader(raw_store, **options)
    expected.set_epoch(4)
    for there, here in zip(loader, expected, strict=True):
        assert_same(there, here)


def test_an_error_after_queued_copies_comes_in_its_place(monkeypatch):
    late_uploads(monkeypatch, SLEEP_CYCLES // 4)
    store = ArrayStore([40], frame_shape=SHAPE, broken_frame_id=25)
    loader = FrameLoader(store, device="cuda", batch_size=10, sampling="sequential", num_threads=2)
    batches = iter(loader)
    assert [next(batches).frame_ids.tolist() for _ in range(2)] == [list(range(10)), list(range(10, 20))]
    with pytest.raises(OSError, match="frame 25 cannot be read"):
        next(batches)
    torch.cuda.synchronize()  # raises if a copy failed


def test_two_loaders_feed_two_streams(raw_store):
    one, other = (FrameLoader(raw_store, device="cuda", batch_size=4, seed=seed) for seed in (1, 2))
    streams, sums = (torch.cuda.Stream(), torch.cuda.Stream()), ([], [])
    batches = (iter(one), iter(other))
    for _ in range(len(one)):
        for number in (0, 1):
            with torch.cuda.stream(streams[number]):
                batch = next(batches[number])
                torch.cuda._sleep(SLEEP_CYCLES // 4)
                sums[number].append(batch.frames.sum(dtype=torch.int64))
                del batch
    torch.cuda.synchronize()
    for number in (0, 1):
        expected = [pixels for _, pixels in expected_sums(raw_store, batch_size=4, seed=number + 1)]
        assert [int(pixels) for pixels in sums[number]] == expected


def test_no_memory_is_left_on_the_device(raw_store):
    loader = FrameLoader(raw_store, device="cuda", batch_size=8, augment=AUGMENT)
    list(loader)
    gc.collect()
    before = allocated_bytes()
    for number in range(6):
        batches = iter(loader)
        for _ in range(number):
            next(batches)
        batches.close()
        del batches
    gc.collect()
    assert allocated_bytes() == before


def allocated_bytes():
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # looks after the memory that waited for a stream
    return torch.cuda.memory_allocated()


@pytest.mark.filterwarnings("ignore")  # the profiler has a few of its own
@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_a_frame_goes_up_as_its_bytes_and_nothing_comes_down(raw_store, tmp_path, augment):
    loader = FrameLoader(raw_store, device="cuda", batch_size=16, augment=augment)
    list(loader)
    copies = copies_of(lambda: list(loader), tmp_path, num_images=len(raw_store))
    assert FRAME_BYTES <= copies["HtoD"] <= FRAME_BYTES * 1.01
    assert copies["DtoH"] == 0


class DecodingStore(ArrayStore):
    """A store that makes frames on the device, late, on the stream of the caller."""

    may_cross_fork = False
    device = property(lambda self: torch.device("cuda:0"))

    def read_frames_on_device(self, frame_ids, out=None):
        frames = torch.from_numpy(super().read_frames(frame_ids)).pin_memory()
        torch.cuda._sleep(SLEEP_CYCLES // 4)
        return out.copy_(frames, non_blocking=True)

    def read_frames(self, frame_ids, out=None):
        raise AssertionError("frames of the device were copied to the host")


@pytest.mark.parametrize("device", [None, "cuda:0"])
def test_frames_decoded_on_the_device_stay_there(device):
    expected = FrameLoader(ArrayStore([60], frame_shape=SHAPE), batch_size=4)
    loader = FrameLoader(DecodingStore([60], frame_shape=SHAPE), device=device, batch_size=4)
    for _ in range(2):
        for there, here in zip(loader, expected, strict=True):
            assert there.frames.device == torch.device("cuda:0")
            assert_same(there, here)


class GroupedStore(ArrayStore):
    """A store that decodes eight frames at a time, on the CPU."""

    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) - np.asarray(frame_ids) % 8

    def read_frames_into(self, frame_ids, outs):
        for frame, out in zip(self.read_frames(frame_ids), outs, strict=True):
            out[:] = frame


def test_look_ahead_on_the_cpu_reaches_the_device(monkeypatch):
    late_uploads(monkeypatch, SLEEP_CYCLES // 4)
    store = GroupedStore([80], frame_shape=SHAPE)
    options = {"batch_size": 6, "lookahead": 5}
    for there, here in zip(
        FrameLoader(store, device="cuda", **options), FrameLoader(store, **options), strict=True
    ):
        assert_same(there, here)


@pytest.fixture(params=["444", "420"])
def jpeg_store(request, tmp_path):
    try:
        find_jpeg_decoder()
    except CudaUnavailableError as error:
        pytest.skip(str(error))
    encoding = Encoding(name="jpeg", quality=90, chroma=request.param)
    write_store(tmp_path / "jpeg", "wds", encoding, smooth_frames(48))
    return frame_store.open_store(tmp_path / "jpeg")


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
@pytest.mark.parametrize("num_threads", [1, 4])
def test_nvjpeg_agrees_with_the_cpu(jpeg_store, num_threads):
    options = {"batch_size": 4, "num_threads": num_threads}
    loader = FrameLoader(jpeg_store, device="cuda", jpeg_decode="gpu", **options)
    # The stream of the caller is late. nvJPEG must not decode into memory that this stream still reads.
    stream, pixels = torch.cuda.Stream(), []
    for _ in range(3):
        with torch.cuda.stream(stream):
            for batch in loader:
                torch.cuda._sleep(SLEEP_CYCLES // 4)
                pixels.append((batch.frame_ids.clone(), batch.frames.clone()))
                del batch
    torch.cuda.synchronize()
    for frame_ids, frames in pixels:
        expected = torch.from_numpy(jpeg_store.read_frames(frame_ids.cpu().numpy())).movedim(-1, -3)
        assert frames.stride() == expected.stride()
        assert (frames.cpu().int() - expected.int()).abs().float().mean((1, 2, 3)).max() <= 2


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
def test_nvjpegs_frames_augmented_on_the_same_stream_are_whole(jpeg_store):
    options = {"batch_size": 4, "num_threads": 4}
    augment = Augmentation(flip_probability=1.0)
    loader = FrameLoader(jpeg_store, device="cuda", jpeg_decode="gpu", augment=augment, **options)
    for _ in range(3):
        for batch in loader:
            expected = torch.from_numpy(jpeg_store.read_frames(batch.frame_ids.cpu().numpy())).movedim(-1, -3)
            difference = batch.frames.cpu().mul(255) - expected.flip(-1)
            assert difference.abs().mean((1, 2, 3)).max() <= 2


def test_a_forked_child_gets_an_error(raw_store):
    loader = FrameLoader(raw_store, device="cuda", batch_size=8)
    list(loader)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for use in (partial(iter, loader), partial(FrameLoader, raw_store, device="cuda")):
            try:
                use()
                os.write(writing, b"no error;")
            except CudaForkError:
                os.write(writing, b"CudaForkError;")
            except BaseException as error:  # noqa: BLE001 - asserted by the parent
                os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 1 << 16) == b"CudaForkError;" * 2
    os.close(reading)


def test_forked_workers_may_read_for_a_gpu_that_their_parent_uses():
    store = ArrayStore([40], frame_shape=SHAPE)
    loader = make_dataloader(
        store, num_workers=2, multiprocessing_context="fork", device="cuda", batch_size=8
    )
    expected = FrameLoader(store, batch_size=8)
    for _ in range(2):
        for there, here in zip(loader, expected, strict=True):
            assert there.frames.device.type == "cuda"
            assert_same(there, here)


def test_another_gpu():
    store = ArrayStore([40], frame_shape=SHAPE)
    if torch.cuda.device_count() < 2:
        with pytest.raises(CudaUnavailableError, match="cuda:1"):
            FrameLoader(store, device="cuda:1")
        pytest.skip("one GPU")
    for batch in FrameLoader(store, device="cuda:1", batch_size=8, augment=AUGMENT):
        assert batch.frames.device == torch.device("cuda:1")
    assert torch.cuda.current_device() == 0
    for batch in FrameLoader(store, device="cuda:1", batch_size=8):
        assert spelt_frame_ids(batch.frames).tolist() == batch.frame_ids.tolist()
    with pytest.raises(SamplingError, match="decodes on cuda:0"):
        FrameLoader(DecodingStore([40]), device="cuda:1")
