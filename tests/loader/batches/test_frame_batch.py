import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from frame_store.errors import FrameIdError
from frame_store.protocol import FrameStore
from loader import FrameBatch
from loader.batches import CpuReader
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids
from tests.support.loaders import request_of

TENSORS = ["frames", "frame_ids", "cache_ids", "video_ids", "frame_in_video", "pts_seconds"]


@pytest.fixture
def store():
    return ArrayStore([5, 15])


def read_frame_batch(store, frame_ids):
    return CpuReader(store).read(request_of(frame_ids), epoch=0).batch


def assert_same(batch, other):
    for name in TENSORS:
        assert torch.equal(getattr(batch, name).nan_to_num(-1), getattr(other, name).nan_to_num(-1)), name
    assert other.frames.stride() == batch.frames.stride()


def test_a_batch_says_of_each_frame_where_it_comes_from(store):
    assert isinstance(store, FrameStore)
    batch = read_frame_batch(store, [9, 3, 9])
    assert spelt_frame_ids(batch.frames).tolist() == [9, 3, 9]
    assert batch.frame_ids.tolist() == [9, 3, 9]
    assert batch.video_ids.tolist() == [1, 0, 1]
    assert batch.frame_in_video.tolist() == [2, 3, 2]
    assert batch.pts_seconds[1].item() == 3 / 25
    assert batch.pts_seconds.isnan().tolist() == [True, False, True]
    assert [getattr(batch, name).dtype for name in TENSORS] == [
        torch.uint8,
        *[torch.int64] * 4,
        torch.float64,
    ]


def test_frames_are_channels_last_and_not_copied():
    pixels = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    batch = FrameBatch.from_numpy(frames=pixels, frame_ids=[0, 1], rows=ArrayStore([2]).index)
    assert batch.frames.shape == (2, 3, 4, 6)
    assert batch.frames.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch.frames.permute(0, 2, 3, 1).numpy(), pixels)
    pixels[1, 2, 3] = [7, 8, 9]
    assert batch.frames[1, :, 2, 3].tolist() == [7, 8, 9]


@pytest.mark.parametrize("num_frames", [0, 1, 3])
def test_a_batch_of_any_length_travels(store, num_frames):
    batch = read_frame_batch(store, list(range(num_frames)))
    assert len(batch) == num_frames
    for other in [pickle.loads(pickle.dumps(batch)), batch.to("cpu"), batch.to("cpu", non_blocking=True)]:
        assert_same(batch, other)


def test_to_moves_every_tensor(store):
    moved = read_frame_batch(store, [1, 2]).to("meta")
    assert {getattr(moved, name).device.type for name in TENSORS} == {"meta"}
    assert moved.frames.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
def test_pinned_memory_and_the_device_keep_layout_and_content(store):
    batch = read_frame_batch(store, [9, 3, 9])
    pinned = batch.pin_memory()
    assert all(getattr(pinned, name).is_pinned() for name in TENSORS)
    on_device = pinned.to("cuda", non_blocking=True)
    for other in [pinned, on_device.to("cpu")]:
        assert_same(batch, other)


def test_samples_are_views(store):
    batch = read_frame_batch(store, [9, 3])
    sample = batch[1]
    assert {key: value.shape for key, value in sample.items()} == {
        "frame": (3, 4, 6),
        "frame_id": (),
        "cache_id": (),
        "video_id": (),
        "frame_in_video": (),
        "pts_seconds": (),
    }
    assert sample["frame_id"] == 3
    assert sample["frame"].data_ptr() == batch.frames[1].data_ptr()
    assert [sample["frame_id"].item() for sample in batch] == [9, 3]


def test_repr_shows_no_pixels(store):
    assert (
        repr(read_frame_batch(store, [1, 2])) == "FrameBatch(2 frames, uint8 (2, 3, 4, 6), 144 bytes on cpu)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": torch.zeros(3, 4, 6)}, r"first dimension 2, as frame_ids have, found .*\(3, 4, 6\)"),
        ({"frames": torch.zeros(())}, r"first dimension 2.* found torch.float32 \(\)"),
        ({"frame_ids": torch.zeros(2, dtype=torch.int32)}, "frame_ids must be torch.int64"),
        ({"frame_ids": torch.zeros(2, 1, dtype=torch.int64)}, r"frame_ids must have shape \(B,\)"),
        ({"cache_ids": torch.zeros(3, dtype=torch.int64)}, r"cache_ids must have shape \(2,\), or \(2, T\)"),
        (
            {"video_ids": torch.zeros(3, dtype=torch.int64)},
            r"video_ids must be .* shape \(2,\), found .*\(3,\)",
        ),
        ({"frame_in_video": torch.zeros(2, 1, dtype=torch.int64)}, "frame_in_video must be"),
        ({"pts_seconds": torch.zeros(2)}, "pts_seconds must be torch.float64"),
    ],
)
def test_a_batch_is_valid_from_birth(store, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(read_frame_batch(store, [1, 2]), **change)


@pytest.mark.parametrize("name", ["frames", "frame_ids", "pts_seconds"])
def test_an_array_is_no_tensor(store, name):
    batch = read_frame_batch(store, [1, 2])
    with pytest.raises(TypeError, match=f"{name} must be a torch.Tensor, found ndarray"):
        dataclasses.replace(batch, **{name: getattr(batch, name).numpy()})


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames.bfloat16(),  # numpy has no such type
        lambda frames: (frames / 255).to(torch.bfloat16, memory_format=torch.contiguous_format),
        lambda frames: frames[:, :, 1:3, ::2],
        lambda frames: frames.double().mean((-2, -1)),
        lambda frames: frames[:, 0] > 3,
    ],
    ids=["bfloat16", "bfloat16 contiguous", "cut out", "features", "masks"],
)
def test_with_frames_takes_what_has_the_batch_first_and_it_travels(store, change):
    batch = read_frame_batch(store, [9, 3, 9])
    changed = batch.with_frames(change(batch.frames))
    assert changed.frames.dtype == change(batch.frames).dtype and changed.frame_ids is batch.frame_ids
    assert f"{len(changed)} frames" in repr(changed) and changed[2]["frame"].shape == changed.frames.shape[1:]
    for other in [pickle.loads(pickle.dumps(changed)), changed.to("cpu"), *_through_a_worker(changed)]:
        assert_same(changed, other)
    with pytest.raises(ValueError, match="first dimension 3"):
        batch.with_frames(changed.frames[:2])


def _through_a_worker(batch):
    """Two batches of a DataLoader's worker, which come through shared memory."""
    return DataLoader(
        [batch, batch], batch_size=None, collate_fn=_same, num_workers=1, multiprocessing_context="fork"
    )


def _same(batch):
    return batch


def test_from_numpy_refuses_frames_that_do_not_fit_the_ids(store):
    for frames in (
        np.zeros((3, 4, 6, 3), np.uint8),
        np.zeros((2, 3, 4, 6), np.uint8),
        np.zeros((2, 4, 6, 3)),
    ):
        with pytest.raises(ValueError, match=r"frames must be uint8 \(2, H, W, 3\) or .*, found"):
            FrameBatch.from_numpy(frames=frames, frame_ids=[1, 2], rows=store.index[:2])


def test_a_batch_cannot_be_changed(store):
    with pytest.raises(dataclasses.FrozenInstanceError):
        read_frame_batch(store, [1]).frames = None


def test_an_id_outside_the_store_is_refused(store):
    with pytest.raises(FrameIdError):
        read_frame_batch(store, [20])
