"""Augmentation of 16-bit levels: crops and flips alone, and every value is a level of the frame."""

import numpy as np
import pytest
import torch

from loader import Augmentation, ColorJitter, FrameLoader, Normalize, RandomResizedCrop
from loader.errors import AugmentationError, SamplingError
from tests.support.caches.array_store import ArrayStore

LEVELS = np.arange(6 * 40 * 48).reshape(6, 40, 48, 1).astype(np.uint16) * 5 + 101
FRAMES = torch.from_numpy(LEVELS).movedim(-1, -3)
CROP = RandomResizedCrop(size=(24, 30), scale=(0.2, 0.7))
REFUSED = {
    "jitter changes colours": Augmentation(jitter=ColorJitter(brightness=0.1)),
    "normalize has the mean": Augmentation(normalize=Normalize(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))),
    "dtype float16 cannot tell 65,536 levels apart": Augmentation(dtype="float16"),
    "dtype bfloat16 cannot": Augmentation(flip_probability=0.5, dtype=torch.bfloat16),
}


def depth_store(*sizes):
    return ArrayStore(sizes, frame_shape=(40, 48, 1), frame_dtype=np.uint16)


def test_without_crop_every_level_is_kept():
    for top in (0, 65_535, 32_768, 1):
        frames = FRAMES.clone()
        frames[:, 0, 0, 0] = torch.tensor(top, dtype=torch.uint16)
        found = Augmentation()(frames, frame_ids=np.arange(6), epoch=0)
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), frames.numpy().astype(np.float32))


@pytest.mark.parametrize("flip_probability", [0.0, 0.5, 1.0])
def test_crops_take_the_nearest_pixels_and_flips_turn_them(flip_probability):
    augmentation = Augmentation(crop=CROP, flip_probability=flip_probability, seed=3)
    found = augmentation(FRAMES, frame_ids=np.arange(6), epoch=2)
    drawn = augmentation.parameters(np.arange(6), epoch=2, frame_size=(40, 48))
    assert found.shape == (6, 1, 24, 30)
    for index, (top, left, height, width) in enumerate(drawn.crop_boxes.tolist()):
        part = torch.from_numpy(LEVELS[index, top : top + height, left : left + width, 0].astype(np.float64))
        expected = torch.nn.functional.interpolate(part[None, None], size=(24, 30), mode="nearest-exact")[
            0, 0
        ]
        expected = expected.flip(-1) if drawn.flips[index] else expected
        torch.testing.assert_close(found[index, 0].double(), expected, rtol=0, atol=0)


def test_colour_and_depth_of_one_moment_share_crop_and_flip():
    """The same draws, with or without jitter: a colour that is its place in the frame shows where it came from."""
    place = (np.arange(40)[:, None] * 6 + np.zeros(48, int)).astype(np.uint8)
    colour = torch.from_numpy(np.repeat(place[None, None], 3, axis=1))
    depth = torch.from_numpy(place.astype(np.uint16)[None, None])
    for frame_id in range(20):
        parts = {"crop": CROP, "flip_probability": 0.5, "seed": 1}
        shown = Augmentation(**parts)(colour, frame_ids=[frame_id], epoch=0)[0, 0] * 255
        levels = Augmentation(**parts)(depth, frame_ids=[frame_id], epoch=0)[0, 0]
        assert (shown - levels)[1:-1].abs().max() <= 6  # a row


def test_windows_share_what_is_drawn():
    augmentation = Augmentation(crop=CROP, flip_probability=0.5)
    windows = FRAMES[:1].expand(4, -1, -1, -1)[None].repeat(3, 1, 1, 1, 1)
    found = augmentation(windows, frame_ids=[4, 5, 6], epoch=0)
    assert found.shape == (3, 4, 1, 24, 30)
    assert (found == found[:, :1]).all() and not torch.equal(found[0], found[1])


@pytest.mark.parametrize("message", REFUSED)
def test_what_would_change_levels_is_refused_when_the_loader_is_made(message):
    augmentation = REFUSED[message]
    with pytest.raises(
        SamplingError, match=rf"frames are 16-bit levels \(gray16\).*{message}.*crop and flip"
    ):
        FrameLoader(depth_store(10), batch_size=2, augment=augmentation)
    with pytest.raises(AugmentationError, match=message):
        augmentation(FRAMES, frame_ids=np.arange(6), epoch=0)
    FrameLoader(ArrayStore([10]), batch_size=2, augment=augmentation)


def test_a_camera_of_depths_is_named():
    from frame_store import group_cameras

    group = group_cameras({"front": ArrayStore([10]), "depth": depth_store(10)})
    jitter, flip = Augmentation(jitter=ColorJitter(hue=0.1)), Augmentation(flip_probability=1.0)
    with pytest.raises(
        SamplingError, match=r"camera 'depth': its frames are 16-bit .*augment=\{camera: \.\.\.\}"
    ):
        FrameLoader(group, batch_size=2, augment=jitter)
    (batch, *_) = FrameLoader(group, batch_size=2, augment={"front": jitter, "depth": flip})
    assert batch.frames["depth"].dtype == torch.float32
    plain = FrameLoader(group, batch_size=2)
    (raw, *_) = plain
    assert raw.frames["depth"].dtype == torch.uint16
    torch.testing.assert_close(batch.frames["depth"], raw.frames["depth"].float().flip(-1), rtol=0, atol=0)


def test_a_callable_is_the_users_own():
    store = depth_store(10)
    (batch, *_) = FrameLoader(
        store, batch_size=4, sampling="sequential", augment=lambda frames: frames.float() / 7
    )
    np.testing.assert_array_equal(batch.frames.numpy()[:, 0], store[:4][..., 0].astype(np.float32) / 7)


def test_other_frames_are_refused():
    for frames in (
        FRAMES.to(torch.int32),
        FRAMES.repeat(1, 3, 1, 1),
        torch.zeros((2, 1, 8, 8), dtype=torch.uint8),
    ):
        with pytest.raises(AugmentationError, match="or uint16 with 1 channel instead of 3"):
            Augmentation()(frames, frame_ids=np.arange(len(frames)), epoch=0)
