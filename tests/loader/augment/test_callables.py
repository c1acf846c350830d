"""Any callable on the uint8 batch as `augment=`: its input, its output, and where its errors are raised."""

import gc
import threading
import weakref
from functools import partial

import pytest
import torch

from frame_store.protocol import DecodesInGroups
from loader import Augmentation, AugmentationError, FrameLoader, SamplingError, frame_loader
from loader.augment.callables import augmented_frames
from loader.batches import CpuReader, frame_sources
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids
from tests.support.gpu.device_streams import LateStreams
from tests.support.loaders import request_of

v2 = pytest.importorskip("torchvision.transforms.v2")


class LiveLike(ArrayStore):
    """A store that `lookahead` accepts."""

    def decode_groups(self, frame_ids):
        return frame_ids // 4 * 4

    def read_frames_into(self, frame_ids, outs):
        for out, frame in zip(outs, self.read_frames(frame_ids), strict=True):
            out[...] = frame


@pytest.fixture(params=["threads", "lookahead", "device"])
def make_loader(request, monkeypatch):
    """Every kind of loader that applies `augment`."""
    store = {"lookahead": LiveLike}.get(request.param, ArrayStore)([20, 33])
    options = {"batch_size": 8, "seed": 2, "num_threads": 2}
    if request.param == "lookahead":
        assert isinstance(store, DecodesInGroups)
        options["lookahead"] = 3
    if request.param == "device":
        monkeypatch.setattr(frame_loader, "CudaStreams", lambda device: LateStreams(is_late=False))
        monkeypatch.setattr(frame_loader, "check_cuda_usable_here", lambda ordinal: None)
        options["device"] = "cuda"
        monkeypatch.setattr(frame_loader, "chosen_device", lambda device, store: torch.device("cuda:0"))
    return partial(FrameLoader, store, **options)


def scaled(frames):
    return frames.to(torch.float32) / 255


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1 / 255))

    def forward(self, frames):
        return frames * self.weight


CALLABLES = {
    "a function": scaled,
    "a module with parameters": Scaled(),
    "torchvision": v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.RandomHorizontalFlip(p=0)]),
    "a partial": partial(torch.mul, other=1 / 255),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_what_it_returns_becomes_the_frames(make_loader, name):
    plain = list(make_loader())
    batches = list(make_loader(augment=CALLABLES[name]))
    assert len(batches) == len(plain)
    for batch, expected in zip(batches, plain, strict=True):
        assert torch.allclose(batch.frames, expected.frames / 255) and not batch.frames.requires_grad
        assert torch.equal(batch.frame_ids, expected.frame_ids)
        assert torch.equal(batch.video_ids, expected.video_ids)


@pytest.mark.parametrize(
    "returned",
    [
        lambda frames: frames,
        lambda frames: frames[:, :, 1:, ::2],
        lambda frames: frames.bfloat16(),
        lambda frames: frames.double().mean((-2, -1)),
        lambda frames: frames.neg_(),
        lambda frames: frames.contiguous(),
    ],
    ids=["the input", "a view", "bfloat16", "features", "changed in place", "another layout"],
)
def test_batches_that_are_kept_stay_as_they_were(make_loader, returned):
    """The memory of a callable's input is lent again only when nobody holds its output."""
    expected = [returned(batch.frames.clone()) for batch in make_loader()]
    kept = [batch.frames for _ in range(2) for batch in make_loader(augment=returned)]
    for frames, frames_expected in zip(kept, expected * 2, strict=True):
        assert frames.dtype == frames_expected.dtype and torch.equal(frames, frames_expected)


def test_it_gets_the_frames_as_they_were_read(make_loader):
    seen = []

    def augment(frames):
        seen.append((frames.dtype, frames.is_contiguous(memory_format=torch.channels_last), frames.shape[1:]))
        assert not torch.is_grad_enabled() and spelt_frame_ids(frames).max() < 53
        return frames

    batches = list(make_loader(augment=augment, next_epoch=False))
    assert seen == [(torch.uint8, True, (3, 4, 6))] * len(batches)


def test_windows_keep_their_dimension(make_loader):
    shapes = []

    def augment(windows):
        shapes.append(windows.shape)
        return windows.float().mean(1)

    batches = list(make_loader(augment=augment, clip_frames=3, batch_size=5))
    assert set(shapes) <= {(5, 3, 3, 4, 6), (batches[-1].frame_ids.shape[0], 3, 3, 4, 6)}
    assert batches[0].frames.shape == (5, 3, 4, 6) and batches[0].cache_ids.shape == (5, 3)


def test_it_runs_in_the_threads_that_read():
    threads = set()
    both = threading.Barrier(2)

    def augment(frames):
        threads.add(threading.current_thread())
        if len(frames) == 8:
            both.wait(60)  # neither goes on without the other: two are in it at once
        return frames

    list(FrameLoader(ArrayStore([32]), batch_size=8, num_threads=2, augment=augment, next_epoch=False))
    assert len(threads) == 2 and threading.main_thread() not in threads


def test_an_iteration_that_its_own_threads_collect_ends_there(make_loader):
    """The garbage collector may run in a thread of the iteration while it makes a batch."""
    is_dropped, has_collected = threading.Event(), threading.Event()
    is_first = iter([True])

    def augment(frames):
        if not next(is_first, False):
            assert is_dropped.wait(60)
            gc.collect()
            has_collected.set()
        return frames

    batches = iter(make_loader(augment=augment, num_threads=1))
    next(batches)
    cycle = [batches]
    cycle.append(cycle)
    gone = weakref.ref(batches)
    del batches, cycle
    is_dropped.set()
    assert has_collected.wait(60) and gone() is None


def test_a_look_ahead_that_its_own_thread_collects_ends_there():
    """As above, while the thread plans what is decoded next."""
    is_given, is_dropped, has_collected = threading.Event(), threading.Event(), threading.Event()

    class Collecting(LiveLike):
        def decode_groups(self, frame_ids):
            if is_given.is_set():
                assert is_dropped.wait(60)
                gc.collect()
                has_collected.set()
            return super().decode_groups(frame_ids)

    def augment(frames):
        is_given.set()
        return frames

    loader = FrameLoader(Collecting([90]), batch_size=4, lookahead=3, num_threads=1, augment=augment)
    batches = iter(loader)
    next(batches)
    cycle = [batches]
    cycle.append(cycle)
    gone = weakref.ref(batches)
    del batches, cycle
    is_dropped.set()
    assert has_collected.wait(60) and gone() is None


def test_it_never_runs_in_the_thread_that_iterates(make_loader):
    threads = set()

    def augment(frames):
        threads.add((threading.current_thread(), torch.get_num_threads()))
        return frames

    list(make_loader(augment=augment))
    assert {num_threads for _, num_threads in threads} == {1}
    assert threading.main_thread() not in {thread for thread, _ in threads}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda frames: None, "found NoneType"),
        (lambda frames: [*frames], "found list"),
        (lambda frames: frames.numpy(), "found ndarray"),
        (lambda frames: frames[0], r"found uint8 \(3, 4, 6\) on cpu, made of uint8 \(8, 3, 4, 6\) on cpu"),
        (lambda frames: frames.float().mean(), r"found float32 \(\) on cpu"),
        (lambda frames: frames.to("meta"), r"on cpu, found uint8 \(8, 3, 4, 6\) on meta"),
    ],
)
def test_what_is_no_batch_is_an_error_that_names_the_callable(make_loader, returned, message):
    expected = rf"augment=.*<lambda> must return a tensor of first dimension 8 on cpu, {message}"
    with pytest.raises(AugmentationError, match=f"^{expected}" if message[:5] == "found" else message):
        next(iter(make_loader(augment=returned)))


def test_an_error_comes_where_its_batch_would_have_come(make_loader):
    wanted = [batch.frame_ids.tolist() for batch in make_loader()]

    def augment(frames):
        if wanted[2][0] in spelt_frame_ids(frames):
            raise KeyError("no such colour")
        return frames

    loader = make_loader(augment=augment)
    batches = iter(loader)
    assert [next(batches).frame_ids.tolist() for _ in range(2)] == wanted[:2]
    with pytest.raises(KeyError, match="no such colour") as error:
        next(batches)
    assert error.value.__notes__ == [
        "augment=test_an_error_comes_where_its_batch_would_have_come.<locals>.augment raised this on frames "
        "uint8 (8, 3, 4, 6) on cpu"
    ]
    del error
    gc.collect()


def test_what_looks_like_the_end_of_an_epoch_is_none(make_loader):
    exhausted = iter([])
    with pytest.raises(RuntimeError, match=r"StopIteration"):
        list(make_loader(augment=lambda frames: next(exhausted)))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (
            v2.RandomHorizontalFlip,
            r"found the class RandomHorizontalFlip: give augment=RandomHorizontalFlip\(...\)",
        ),
        (Augmentation, "found the class Augmentation"),
        ([v2.RandomHorizontalFlip()], "or take uint8 frames .* found list"),
        ("flip", "found str"),
    ],
)
def test_what_cannot_be_called_with_a_batch_is_refused_at_once(make_loader, augment, message):
    with pytest.raises(SamplingError, match=message):
        make_loader(augment=augment)


def test_names_are_those_that_its_author_gave():
    def nothing(frames, number):
        return None

    frames = torch.zeros(2, 3, 4, 6, dtype=torch.uint8)
    for augment, name in [
        (partial(partial(nothing), number=1), "test_names_are_those_that_its_author_gave.<locals>.nothing"),
        (v2.Compose([partial(nothing, number=2)]), "Compose"),
        (Nothing(), "Nothing"),
        (Nothing().forward, "Nothing.forward"),
    ]:
        with pytest.raises(AugmentationError, match=f"^augment={name} must return"):
            augmented_frames(augment, frames, frame_ids=[0, 1], epoch=0)


class Nothing(torch.nn.Module):
    def forward(self, frames):
        return None


def test_page_locked_batches_are_page_locked_after_it(monkeypatch):
    """So that `to("cuda", non_blocking=True)` overlaps with other work, as it does without `augment`."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    for pin_memory, expected in [(False, []), (True, [(2, 3, 2, 6)])]:
        store = ArrayStore([9])
        reader = CpuReader(
            store,
            sources=frame_sources(store, augment=lambda frames: frames[:, :, 1:3]),
            frames_per_batch=2,
            num_spare=1,
            pin_memory=pin_memory,
        )
        reader.read(request_of([3, 4]), epoch=0)
        assert [tensor.shape for tensor in pinned] == expected
