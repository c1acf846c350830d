"""The crop of the exercise is not random: of a 16:9 frame it is always the centre 4:3."""

import dataclasses
import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import transforms

from cache_builder.video.picture.geometry import FrameGeometry, Presentation, parse_aspect, place_frame
from loader import exercise_augmentation
from loader.augment.crop import resized_part
from loader.augment.draw import fallback_box
from tests.support.augmentation import hard_frames

PRESET = tomllib.loads((Path(__file__).parents[3] / "configs/exercise.toml").read_text(encoding="utf-8"))
WHOLE, CACHED = exercise_augmentation(cached=False), exercise_augmentation(cached=True)
WIDE_SIZES = [(144, 256), (240, 426), (360, 640), (480, 854), (720, 1280), (1080, 1920), (2160, 3840)]


def least_box_height(crop, *, height, width):
    """sqrt(area / aspect) before rounding; it is least for the least area and the greatest aspect."""
    return math.sqrt(crop.scale[0] * height * width / crop.ratio[1])


@pytest.mark.parametrize(("height", "width"), WIDE_SIZES)
def test_no_attempt_ever_fits_a_16_9_frame(height, width):
    # torchvision's float32 logarithm moves an aspect by less than 1e-6; rounding takes at most half a pixel.
    assert least_box_height(WHOLE.crop, height=height, width=width) * (1 - 1e-6) > height + 0.5
    assert least_box_height(WHOLE.crop, height=1, width=16 / 9) == pytest.approx(1.0954, abs=1e-4)


@pytest.mark.parametrize(("height", "width"), WIDE_SIZES)
def test_so_every_crop_is_the_centre_4_3_that_the_preset_caches(height, width):
    crop, image = WHOLE.crop, torch.empty(3, 1, 1).expand(3, height, width)
    torch.manual_seed(0)
    theirs = {transforms.RandomResizedCrop.get_params(image, crop.scale, crop.ratio) for _ in range(50)}
    boxes = WHOLE.parameters(np.arange(2000), epoch=0, frame_size=(height, width)).crop_boxes
    geometry = FrameGeometry(
        height=PRESET["size"],
        width=PRESET["size"],
        resize=PRESET["resize"],
        crop_aspect=parse_aspect(PRESET["crop_aspect"]),
    )
    placement = place_frame(geometry, coded_width=width, coded_height=height, presentation=Presentation())
    cached = (placement.crop_top, placement.crop_left, placement.crop_height, placement.crop_width)
    assert theirs == set(map(tuple, boxes.tolist())) == {cached}
    assert cached == fallback_box(crop.ratio, height=height, width=width)
    assert cached == (0, (width - round(height * 4 / 3)) // 2, height, round(height * 4 / 3))


@pytest.mark.parametrize(
    ("height", "width", "least"),
    [(224, 224, 300), (480, 640, 300), (480, 704, 2)],  # the last is 1.467 wide, where 1.481 never fits
)
def test_a_cached_square_and_other_frames_would_be_cropped_at_random(height, width, least):
    crop, image = WHOLE.crop, torch.empty(3, height, width)
    boxes = WHOLE.parameters(np.arange(500), epoch=0, frame_size=(height, width)).crop_boxes
    assert len(np.unique(boxes, axis=0)) >= least
    torch.manual_seed(0)
    theirs = {transforms.RandomResizedCrop.get_params(image, crop.scale, crop.ratio) for _ in range(500)}
    assert len(theirs) >= least


def test_what_is_cached_is_what_the_whole_chain_would_jitter():
    assert (CACHED.jitter, CACHED.crop) == (WHOLE.jitter, None)
    assert WHOLE.jitter.factor_ranges == ((0.5, 1.5), (0.5, 1.5), (0.5, 1.5), (-0.5, 0.5))
    frames = hard_frames(4, height=270, width=480)
    whole = dataclasses.replace(WHOLE, jitter=None)(frames, frame_ids=range(4), epoch=0)
    stored = [
        resized_part(frame, (0, 60, 270, 360), size=(224, 224)).round().to(torch.uint8) for frame in frames
    ]
    cached = dataclasses.replace(CACHED, jitter=None)(torch.stack(stored), frame_ids=range(4), epoch=0)
    assert whole.shape == cached.shape == (4, 3, 224, 224)
    assert (whole - cached).abs().max() <= 0.5 / 255 + 1e-6  # uint8 rounds, that is all


def test_the_seed_is_handed_on():
    assert exercise_augmentation(cached=True, seed=4).seed == 4
