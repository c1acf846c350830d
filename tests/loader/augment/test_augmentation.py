"""Input and output of an augmentation: shapes, buffers, determinism, errors."""

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from loader import (
    Augmentation,
    AugmentationError,
    ColorJitter,
    FrameBatch,
    Normalize,
    RandomResizedCrop,
    SamplingError,
)
from tests.support.augmentation import hard_frames

FULL = Augmentation(
    crop=RandomResizedCrop(size=(20, 28)),
    flip_probability=0.5,
    jitter=ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5),
    normalize=Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    seed=7,
)
FRAMES = hard_frames(12, height=40, width=32)
IDS = np.array([3, 10**9, 4, 0, 5, 77, 8, 9, 1, 2**62, 12, 13])


@pytest.fixture(scope="module")
def expected():
    return FULL(FRAMES, frame_ids=IDS, epoch=2)


def test_output_is_contiguous_floats(expected):
    assert expected.shape == (12, *FULL.output_shape((40, 32, 3))) == (12, 3, 20, 28)
    assert expected.dtype == torch.float32 and expected.is_contiguous()
    assert Augmentation().output_shape((40, 32, 3)) == (3, 40, 32)


def test_an_image_depends_on_its_id_alone_whatever_else_is_in_the_batch(expected):
    order = np.random.default_rng(0).permutation(12)
    shuffled = FULL(FRAMES[order], frame_ids=IDS[order], epoch=2)
    assert torch.equal(shuffled, expected[order])
    for index in range(12):
        alone = FULL(FRAMES[index : index + 1], frame_ids=IDS[index : index + 1], epoch=2)
        assert torch.equal(alone[0], expected[index])
    twice = FULL(FRAMES[[3, 3]], frame_ids=IDS[[3, 3]], epoch=2)
    assert torch.equal(twice[0], twice[1])


def test_another_epoch_seed_or_id_is_another_image(expected):
    assert torch.equal(FULL(FRAMES, frame_ids=IDS, epoch=2), expected)
    for other in (
        FULL(FRAMES, frame_ids=IDS, epoch=3),
        dataclasses.replace(FULL, seed=8)(FRAMES, frame_ids=IDS, epoch=2),
        FULL(FRAMES, frame_ids=IDS + 100, epoch=2),
    ):
        assert not any(
            torch.equal(one, another) for one, another in zip(other[3:], expected[3:], strict=True)
        )


def test_memory_layout_and_kind_of_ids_do_not_matter(expected):
    assert torch.equal(FULL(FRAMES.contiguous(), frame_ids=IDS.tolist(), epoch=2), expected)
    assert torch.equal(FULL(FRAMES, frame_ids=torch.from_numpy(IDS), epoch=2), expected)
    rows = np.zeros(12, [("video_id", "i8"), ("frame_in_video", "i8"), ("pts_seconds", "f8")])
    batch = FrameBatch.from_numpy(frames=FRAMES.permute(0, 2, 3, 1).numpy(), frame_ids=IDS, rows=rows)
    assert torch.equal(FULL(batch.frames, frame_ids=batch.frame_ids, epoch=2), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_reused_buffer_is_filled_and_returned(expected, dtype):
    augmentation = dataclasses.replace(FULL, dtype=dtype)
    out = torch.full((12, 3, 20, 28), torch.nan, dtype=dtype)
    assert augmentation(FRAMES, frame_ids=IDS, epoch=0, out=out) is out
    assert augmentation(FRAMES, frame_ids=IDS, epoch=2, out=out) is out
    assert torch.equal(out, expected.to(dtype))


def test_the_frames_are_not_touched():
    before = FRAMES.clone()
    FULL(FRAMES, frame_ids=IDS, epoch=0)
    Augmentation(flip_probability=1)(FRAMES, frame_ids=IDS, epoch=0)
    assert torch.equal(FRAMES, before)


def test_the_frames_of_a_window_are_augmented_alike(expected):
    windows, ids = FRAMES.unflatten(0, (4, 3)), IDS[::3]
    augmented = FULL(windows, frame_ids=ids, epoch=2)
    assert augmented.shape == (4, 3, 3, 20, 28)
    assert torch.equal(augmented[:, 0], expected.unflatten(0, (4, 3))[:, 0])
    alike = FULL(FRAMES, frame_ids=ids.repeat(3), epoch=2)
    assert torch.equal(augmented.flatten(0, 1), alike)
    out = torch.empty(4, 3, 3, 20, 28)
    assert FULL(windows, frame_ids=ids, epoch=2, out=out) is out and torch.equal(out, augmented)


def test_an_empty_batch():
    assert FULL(FRAMES[:0], frame_ids=[], epoch=0).shape == (0, 3, 20, 28)


def test_threads_share_an_object(expected):
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: FULL(FRAMES, frame_ids=IDS, epoch=2), range(24))
        assert all(torch.equal(result, expected) for result in results)


def test_it_travels_to_worker_processes(expected):
    copy = pickle.loads(pickle.dumps(FULL))
    assert copy == FULL
    assert torch.equal(copy(FRAMES, frame_ids=IDS, epoch=2), expected)


def test_values_stay_in_range_before_normalising():
    jitter = ColorJitter(brightness=3, contrast=3, saturation=3, hue=0.5)
    result = Augmentation(jitter=jitter)(hard_frames(48, height=16, width=16), frame_ids=range(48), epoch=0)
    assert result.min() >= 0 and result.max() <= 1 + 1e-6


@pytest.mark.gpu
def test_on_a_device_it_is_what_the_cpu_gives(expected):
    result = FULL(FRAMES.to("cuda"), frame_ids=IDS, epoch=2)
    assert result.device.type == "cuda" and result.is_contiguous()
    assert torch.allclose(result.cpu(), expected, rtol=0, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_device_is_not_waited_for():
    frames = FRAMES.to("cuda")
    FULL(frames, frame_ids=IDS, epoch=0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = FULL(frames, frame_ids=IDS, epoch=1)  # it raises where the host waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.device == frames.device


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (FRAMES.float(), r"uint8 \(B, 3, H, W\).*float32"),
        (FRAMES[0], r"found torch.uint8 \(3, 40, 32\)"),
        (FRAMES.permute(0, 2, 3, 1), r"found torch.uint8 \(12, 40, 32, 3\)"),
        (FRAMES[None, :0].transpose(0, 1), r"frame_ids must have shape \(0,\)"),
    ],
)
def test_frames_that_are_none_are_refused(frames, message):
    with pytest.raises(AugmentationError, match=message):
        FULL(frames, frame_ids=IDS, epoch=0)


@pytest.mark.parametrize("ids", [IDS[:5], IDS.astype(float), -1 - IDS, IDS.reshape(3, 4)])
def test_ids_that_do_not_fit_are_refused(ids):
    with pytest.raises(AugmentationError, match="frame_ids must"):
        FULL(FRAMES, frame_ids=ids, epoch=0)


def test_windows_without_frames_are_refused():
    with pytest.raises(AugmentationError, match="T = 0"):
        FULL(FRAMES[:, None][:, :0], frame_ids=np.arange(12), epoch=0)


@pytest.mark.parametrize(
    "out",
    [
        torch.empty(12, 3, 28, 20),
        torch.empty(12, 3, 20, 28, dtype=torch.float16),
        torch.empty(12, 20, 28, 3).permute(0, 3, 1, 2),
        torch.empty(12, 3, 20, 28, device="meta"),
    ],
)
def test_a_buffer_that_does_not_fit_is_refused(out):
    with pytest.raises(
        AugmentationError, match=r"out must be contiguous torch.float32 \(12, 3, 20, 28\) on cpu"
    ):
        FULL(FRAMES, frame_ids=IDS, epoch=0, out=out)


def test_parameters_that_do_not_fit_are_refused():
    parameters = FULL.parameters(IDS, epoch=0, frame_size=(40, 32))
    with pytest.raises(AugmentationError, match="of 11 frames, found 12"):
        FULL.apply(FRAMES[:11], parameters)
    with pytest.raises(AugmentationError, match="inside the frames of 20x32"):
        FULL.apply(FRAMES[:, :, :20], parameters)
    with pytest.raises(AugmentationError, match="found crop None and crop_boxes"):
        Augmentation().apply(FRAMES, parameters)
    with pytest.raises(AugmentationError, match=r"found crop RandomResizedCrop.* and no crop_boxes"):
        FULL.apply(FRAMES, dataclasses.replace(parameters, crop_boxes=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip_probability": 1.1}, "flip_probability must be in"),
        ({"flip_probability": float("nan")}, "flip_probability must be in"),
        ({"dtype": "float64"}, "float32, float16 or bfloat16, found 'float64'"),
        ({"dtype": torch.float64}, "found torch.float64"),
        ({"dtype": ["float32"]}, r"bfloat16, found \['float32'\]"),
        ({"seed": 2**32}, "seed must be in"),
        ({"seed": "1"}, "seed must be a whole number, found '1'"),
        ({"flip_probability": "0.5"}, "flip_probability must be in"),
        ({"crop": 224}, r"crop must be a loader.RandomResizedCrop\(...\) or None, found 224"),
        ({"jitter": 0.4}, r"jitter must be a loader.ColorJitter\(...\) or None, found 0.4"),
        ({"normalize": True}, r"normalize must be a loader.Normalize\(...\) or None, found True"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(AugmentationError, match=message):
        Augmentation(**options)


def test_an_epoch_out_of_range_is_refused():
    with pytest.raises(SamplingError, match="epoch must be in"):
        FULL(FRAMES, frame_ids=IDS, epoch=-1)


def test_a_default_device_changes_nothing(expected):
    torch.set_default_device("meta")
    try:
        found = FULL(FRAMES, frame_ids=IDS, epoch=2)
    finally:
        torch.set_default_device(None)
    assert torch.equal(found, expected)
