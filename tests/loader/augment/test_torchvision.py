"""Each image agrees with torchvision's float tensors for the same parameters, on both paths."""

import colorsys
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loader import Augmentation, AugmentParameters, Normalize, RandomResizedCrop
from loader.augment import apply as augment_chain
from loader.augment.apply_compiled import augment_images_compiled
from loader.augment.colour_jitter import WHITE, PixelBlock, adjust_hue
from loader.augment.values import IDENTITY_FACTORS
from tests.support.augmentation import ORDERS, hard_frames, random_parameters, torchvision_chain

CLOSE = 5e-6
"""On a scale of 0 to 1; the requirement is 2/255."""

PATHS = {
    "compiled": augment_images_compiled,
    "images": augment_chain.augment_images,
    "batch": augment_chain.augment_batch,
}


@pytest.fixture(params=["compiled", "images", "blocks", "batch"])
def path(request, monkeypatch):
    """The paths of the CPU, by numba and by torch in one block and in several, and the path of a device, on the CPU."""
    if request.param != "compiled":
        monkeypatch.setattr("loader.augment.augmentation.compiled_augment", lambda: None)
    if request.param == "batch":
        monkeypatch.setattr("loader.augment.augmentation.augment_images", augment_chain.augment_batch)
    if request.param == "blocks":
        monkeypatch.setattr(augment_chain, "PIXELS_PER_BLOCK", 300)
    return request.param


def largest_deviation(augmentation, frames, parameters):
    result = augmentation.apply(frames, parameters)
    size = None if augmentation.crop is None else augmentation.crop.output_size
    expected = [
        torchvision_chain(frame, parameters, index, size=size, normalize=augmentation.normalize)
        for index, frame in enumerate(frames)
    ]
    return (result - torch.stack(expected)).abs().max().item()


def one_operation(operation, factor):
    factors = np.array([IDENTITY_FACTORS])
    factors[0, operation] = factor
    return AugmentParameters(
        flips=np.zeros(1, np.bool_), jitter_orders=np.array([[3, 1, 0, 2]]), jitter_factors=factors
    )


@pytest.mark.usefixtures("path")
def test_jitter_in_every_order_on_hard_pixels():
    parameters = random_parameters(96, height=41, width=29)
    assert {tuple(order) for order in parameters.jitter_orders.tolist()} == set(ORDERS)
    assert largest_deviation(Augmentation(), hard_frames(96, height=41, width=29), parameters) < CLOSE


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "size", [(16, 40), (30, 52), (70, 20)]
)  # smaller, the frame's own, larger and smaller
def test_the_whole_chain(size):
    augmentation = Augmentation(
        crop=RandomResizedCrop(size=size), normalize=Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 1.0))
    )
    frames = hard_frames(24, height=30, width=52, seed=1)
    parameters = random_parameters(24, height=30, width=52, crop=True, seed=2)
    parameters.crop_boxes[3] = (0, 0, 30, 52)
    assert largest_deviation(augmentation, frames, parameters) < CLOSE / 0.2


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    ("operation", "factor"),
    [*itertools.product(range(3), [0.0, 0.3, 1.0, 1.5, 4.0]), *((3, turn / 12) for turn in range(-6, 7))],
)
def test_one_operation_alone(operation, factor):
    frames = hard_frames(4, height=24, width=23, seed=operation)[3:]
    parameters = one_operation(operation, factor)
    assert largest_deviation(Augmentation(), frames, parameters) < CLOSE
    changed = Augmentation().apply(frames, parameters) - frames / 255
    assert (changed.abs().max() > 0.05) == (factor != IDENTITY_FACTORS[operation])


@pytest.mark.usefixtures("path")
def test_without_any_operation_it_is_to_tensor():
    frames = hard_frames(4, height=9, width=14)
    assert torch.equal(Augmentation()(frames, frame_ids=range(4), epoch=0), frames.contiguous() / 255)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_cast_last(dtype):
    frames, parameters = hard_frames(24, height=20, width=31), random_parameters(24, height=20, width=31)
    normalize = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    single, half = (
        Augmentation(normalize=normalize, dtype=name).apply(frames, parameters)
        for name in ("float32", str(dtype).removeprefix("torch."))
    )
    assert half.dtype == dtype
    assert torch.equal(half, single.to(dtype))


def test_a_batch_at_once_is_what_image_by_image_gives():
    frames = hard_frames(72, height=33, width=60, seed=5)
    parameters = random_parameters(72, height=33, width=60, crop=True, seed=6)
    results = [torch.empty(72, 3, 24, 20) for _ in PATHS]
    for result, augment in zip(results, PATHS.values(), strict=True):
        augment(frames, parameters, normalize=None, out=result)
    for result in results[1:]:
        assert torch.allclose(result, results[0], rtol=0, atol=2e-6)


channels = st.integers(0, 255)


@given(st.lists(st.tuples(channels, channels, channels), min_size=1, max_size=9), st.floats(-0.5, 0.5))
def test_hue_is_that_of_the_textbook(pixels, factor):
    block = PixelBlock.of(
        torch.tensor(pixels, dtype=torch.float32).T.reshape(3, 1, -1).contiguous(),
        torch.empty(7, 1, len(pixels)),
    )
    adjust_hue(block, factor)
    for new, old in zip((block.pixels[:, 0].T / WHITE).tolist(), pixels, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in old))
        assert new == pytest.approx(colorsys.hsv_to_rgb((hue + factor) % 1, saturation, value), abs=2e-6)


@given(st.floats(-0.5, 0.5))
def test_hue_there_and_back(factor):
    pixels = hard_frames(4, height=8, width=8)[3].to(torch.float32)
    block = PixelBlock.of(pixels.contiguous().clone(), torch.empty(7, 8, 8))
    adjust_hue(block, factor)
    adjust_hue(block, -factor)
    assert torch.allclose(block.pixels, pixels, rtol=0, atol=2e-3)
