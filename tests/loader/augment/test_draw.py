"""Drawn numbers have torchvision's distributions and are independent of each other, of the epoch and of the order."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torchvision import transforms

from loader import (
    Augmentation,
    AugmentationError,
    AugmentParameters,
    ColorJitter,
    Normalize,
    RandomResizedCrop,
)
from loader.augment.draw import AUGMENT_STREAM, ORDERS, fallback_box
from loader.augment.values import OPERATIONS
from loader.sampling.orders.epoch import epoch_order
from loader.sampling.orders.random_words import epoch_keys, unit_floats
from tests.support.statistics.chi_squared import ALPHA, p_value

NUM_FRAMES = 24_000
JITTER = ColorJitter(brightness=0.5, contrast=(0.2, 3), saturation=1.5, hue=(-0.1, 0.5))
RANGES = [(0.5, 1.5), (0.2, 3), (0, 2.5), (-0.1, 0.5)]


def drawn(*, num_frames=NUM_FRAMES, epoch=0, frame_size=(60, 80), **options):
    return Augmentation(**options).parameters(np.arange(num_frames), epoch=epoch, frame_size=frame_size)


def bins_of(numbers, low, high, num_bins):
    return np.clip(((numbers - low) / (high - low) * num_bins).astype(int), 0, num_bins - 1)


def independence_p_value(first, second, num_first, num_second):
    """Test of two uniform columns of bins: are all pairs equally likely?"""
    pairs = np.bincount(first * num_second + second, minlength=num_first * num_second)
    return p_value(pairs, len(first) / (num_first * num_second))


@pytest.mark.parametrize("operation", range(4))
def test_factors_are_uniform_in_torchvisions_ranges(operation):
    factors, (low, high) = drawn(jitter=JITTER).jitter_factors[:, operation], RANGES[operation]
    assert low <= factors.min() < factors.max() <= high
    assert p_value(np.bincount(bins_of(factors, low, high, 100)), NUM_FRAMES / 100) > ALPHA
    theirs = transforms.ColorJitter(brightness=0.5, contrast=(0.2, 3), saturation=1.5, hue=(-0.1, 0.5))
    assert getattr(theirs, OPERATIONS[operation]) == (low, high) == JITTER.factor_ranges[operation]


def test_all_orders_are_equally_likely():
    assert len({tuple(order) for order in ORDERS.tolist()}) == 24
    numbers = drawn(jitter=JITTER).jitter_orders @ [64, 16, 4, 1]
    kinds, counts = np.unique(numbers, return_counts=True)
    assert len(kinds) == 24
    assert p_value(counts, NUM_FRAMES / 24) > ALPHA


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_flips_come_with_their_probability(probability):
    flips = drawn(flip_probability=probability).flips
    deviation = abs(flips.sum() - NUM_FRAMES * probability)
    assert deviation <= -NormalDist().inv_cdf(ALPHA / 2) * math.sqrt(
        NUM_FRAMES * probability * (1 - probability)
    )


def test_what_is_drawn_for_a_frame_is_independent():
    parameters = drawn(jitter=JITTER, flip_probability=0.5)
    columns = {
        name: (bins_of(parameters.jitter_factors[:, k], *RANGES[k], 6), 6)
        for k, name in enumerate(OPERATIONS)
    }
    columns["first"] = parameters.jitter_orders[:, 0], 4
    columns["flip"] = parameters.flips.astype(int), 2
    for (first, num_first), (second, num_second) in itertools.combinations(columns.values(), 2):
        assert independence_p_value(first, second, num_first, num_second) > ALPHA / 15


@pytest.mark.parametrize("what", ["next frame", "next epoch", "next seed", "place in the epoch"])
def test_what_is_drawn_is_independent_of(what):
    first = drawn(jitter=JITTER, seed=5)
    columns = [bins_of(first.jitter_factors[:, k], *RANGES[k], 6) for k in range(4)]
    if what == "next frame":
        others = [np.roll(column, 1) for column in columns]
    elif what == "place in the epoch":  # of the same seed: early frames must not be the bright ones
        places = np.empty(NUM_FRAMES, np.int64)
        places[epoch_order([NUM_FRAMES], seed=5, epoch=0).ids(0, NUM_FRAMES)] = np.arange(NUM_FRAMES)
        others = [bins_of(places, 0, NUM_FRAMES, 6)] * 4
    else:
        second = drawn(jitter=JITTER, seed=5 + (what == "next seed"), epoch=int(what == "next epoch"))
        others = [bins_of(second.jitter_factors[:, k], *RANGES[k], 6) for k in range(4)]
    for column, other in zip(columns, others, strict=True):
        assert independence_p_value(column, other, 6, 6) > ALPHA


def test_no_key_is_one_of_the_samplers():
    for seed, epoch in itertools.product([0, 1, 2**32 - 1], repeat=2):
        ours = epoch_keys(seed=seed, epoch=epoch, num_keys=64, stream=AUGMENT_STREAM)
        assert not set(ours.tolist()) & set(epoch_keys(seed=seed, epoch=epoch, num_keys=64).tolist())
    assert epoch_keys(seed=3, epoch=5, num_keys=1, stream=1).tolist() == [10806904273150068678]


def test_an_operation_more_or_less_leaves_the_others_as_they_were():
    full = drawn(jitter=JITTER, flip_probability=0.5, crop=RandomResizedCrop(size=8))
    assert np.array_equal(drawn(jitter=JITTER).jitter_factors, full.jitter_factors)
    assert np.array_equal(drawn(flip_probability=0.5).flips, full.flips)
    assert np.array_equal(drawn(crop=RandomResizedCrop(size=99)).crop_boxes, full.crop_boxes)
    only_hue = drawn(jitter=ColorJitter(hue=(-0.1, 0.5)))
    assert np.array_equal(only_hue.jitter_factors[:, 3], full.jitter_factors[:, 3])
    assert (only_hue.jitter_factors[:, :3] == 1).all()


def test_parameters_are_pinned():
    # Resumed and repeated runs need these values.
    parameters = Augmentation(
        crop=RandomResizedCrop(size=8),
        flip_probability=0.5,
        jitter=ColorJitter(brightness=0.5, hue=0.5),
        seed=3,
    ).parameters([0, 1, 2**62], epoch=5, frame_size=(60, 80))
    assert parameters.crop_boxes.tolist() == [[1, 30, 57, 47], [8, 1, 50, 53], [1, 6, 58, 72]]
    assert parameters.flips.tolist() == [False, False, False]
    assert parameters.jitter_orders.tolist() == [[0, 3, 2, 1], [2, 0, 1, 3], [1, 0, 3, 2]]
    assert np.allclose(
        parameters.jitter_factors[:, [0, 3]],
        [[1.499450305, -0.310659189], [0.608243081, -0.161839318], [1.259468494, 0.207765763]],
        rtol=0,
        atol=1e-9,
    )


def exact_box_sizes(crop, *, height, width, steps=1500):
    """P(height, width of the box) as an array, and P(fallback): attempts enumerated on a fine grid of midpoints."""
    middles = (np.arange(steps) + 0.5) / steps
    areas = height * width * (crop.scale[0] + (crop.scale[1] - crop.scale[0]) * middles[:, None])
    low, high = np.log(crop.ratio)
    aspects = np.exp(low + (high - low) * middles)
    widths, heights = (np.rint(np.sqrt(x)).astype(int) for x in (areas * aspects, areas / aspects))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    once = (
        np.bincount((heights * (width + 1) + widths)[fits], minlength=(height + 1) * (width + 1)) / steps**2
    )
    fallback = (1 - once.sum()) ** 10
    return once / once.sum() * (1 - fallback), fallback


@pytest.mark.parametrize(
    ("height", "width", "crop"),
    [
        (12, 20, RandomResizedCrop(size=4, scale=(0.5, 1))),
        (9, 9, RandomResizedCrop(size=4)),
        (20, 11, RandomResizedCrop(size=4, scale=(0.6, 1), ratio=(0.5, 2))),
        (10, 14, RandomResizedCrop(size=4, scale=(0.8, 1.4), ratio=(1, 1.2))),
    ],
)
def test_crop_boxes_follow_the_law_of_torchvisions_code(height, width, crop):
    boxes = drawn(crop=crop, frame_size=(height, width)).crop_boxes
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= (height, width)).all()
    law, fallback = exact_box_sizes(crop, height=height, width=width)
    law = law.reshape(height + 1, width + 1)
    law[fallback_box(crop.ratio, height=height, width=width)[2:]] += fallback
    counts = np.zeros_like(law)
    np.add.at(counts, (boxes[:, 2], boxes[:, 3]), 1)
    common = law * NUM_FRAMES >= 10
    observed, expected = [*counts[common], counts[~common].sum()], [*law[common], law[~common].sum()]
    if expected[-1] * NUM_FRAMES < 10:
        observed, expected = observed[:-1], np.array(expected[:-1]) / sum(expected[:-1])
    assert (
        p_value(observed, np.array(expected) * sum(observed), scale=0.98) > ALPHA
    )  # the grid is off by up to 1%


def test_area_and_log_aspect_are_uniform_up_to_their_ends():
    crop, side = RandomResizedCrop(size=4, scale=(0.1, 0.3)), 30_000  # so large that rounding is not seen
    boxes = drawn(crop=crop, frame_size=(side, side)).crop_boxes.astype(float)
    areas, aspects = boxes[:, 2] * boxes[:, 3] / side**2, boxes[:, 3] / boxes[:, 2]
    for numbers, (low, high) in ((areas, crop.scale), (np.log(aspects), np.log(crop.ratio))):
        shares = (numbers - low) / (high - low)
        assert -1e-3 < shares.min() < 1e-3 and 1 - 1e-3 < shares.max() < 1 + 1e-3
        assert p_value(np.bincount(bins_of(shares, 0, 1, 50)), NUM_FRAMES / 50) > ALPHA


def test_crop_boxes_are_placed_uniformly():
    boxes = drawn(
        crop=RandomResizedCrop(size=4, scale=(0.3, 0.3), ratio=(1, 1)), frame_size=(12, 13)
    ).crop_boxes
    assert np.unique(boxes[:, 2:], axis=0).tolist() == [[7, 7]]
    assert independence_p_value(boxes[:, 0], boxes[:, 1], 6, 7) > ALPHA


def test_crop_boxes_are_those_that_torchvision_draws():
    crop, (height, width) = RandomResizedCrop(size=4, scale=(0.4, 1)), (10, 15)
    ours = drawn(crop=crop, frame_size=(height, width), num_frames=4000).crop_boxes
    torch.manual_seed(1)
    image = torch.empty(3, height, width)
    theirs = [transforms.RandomResizedCrop.get_params(image, crop.scale, crop.ratio) for _ in range(4000)]
    for columns in ([0, 2], [1, 3]):  # top with height, left with width
        both = np.concatenate([ours, theirs])[:, columns] @ [100, 1]
        kinds, cells = np.unique(both, return_inverse=True)
        counts = np.stack([np.bincount(half, minlength=len(kinds)) for half in np.split(cells, 2)])
        held = counts.sum(0) >= 20
        counts = np.hstack(
            [counts[:, held], counts[:, ~held].sum(1, keepdims=True) + 10]
        )  # 10: never too few
        expected = np.broadcast_to(counts.sum(0) / 2, counts.shape)
        assert p_value(counts, expected, degrees_of_freedom=counts.shape[1]) > ALPHA


@pytest.mark.parametrize(("height", "width"), [(7, 30), (30, 7), (11, 13), (1, 1), (1080, 1920)])
def test_fallback_is_torchvisions(height, width):
    impossible = (1.5, 1.5)  # no such box fits
    theirs = transforms.RandomResizedCrop.get_params(
        torch.empty(3, height, width), impossible, (3 / 4, 4 / 3)
    )
    assert fallback_box((3 / 4, 4 / 3), height=height, width=width) == theirs
    crop = RandomResizedCrop(size=4, scale=impossible)
    assert drawn(crop=crop, num_frames=1, frame_size=(height, width)).crop_boxes.tolist() == [list(theirs)]


def test_unit_floats_reach_from_zero_to_just_below_one():
    words = np.array([0, 2**11, 2**63, 2**64 - 1], np.uint64)
    assert unit_floats(words).tolist() == [0, 2**-53, 0.5, 1 - 2**-53]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomResizedCrop(size=0), "size must be"),
        (lambda: RandomResizedCrop(size=(3, 4, 5)), "size must be"),
        (lambda: RandomResizedCrop(size=1.5), "size must be"),
        (lambda: RandomResizedCrop(size=8, scale=(1, 0.5)), "scale must be"),
        (lambda: RandomResizedCrop(size=8, scale=(0, 0)), "scale must end above 0"),
        (lambda: RandomResizedCrop(size=8, scale=0.5), "scale must be two numbers"),
        (lambda: RandomResizedCrop(size=8, ratio=(0, 1)), "ratio must start above 0"),
        (lambda: RandomResizedCrop(size=8, ratio=(1, math.inf)), "ratio must be"),
        (lambda: Normalize(mean=(0, 0), std=(1, 1, 1)), "mean must be three"),
        (lambda: Normalize(mean=0.5, std=0.2), "mean must be three finite numbers, found 0.5"),
        (lambda: Normalize(mean=(0, 0, 0), std=("a", "b", "c")), "std must be three finite"),
        (lambda: Normalize(mean=(0, 0, 0), std=(1, 0, 1)), "std must be above 0"),
        (lambda: Normalize(mean=(0, 0, math.nan), std=(1, 1, 1)), "mean must be three finite"),
        (lambda: ColorJitter(brightness=math.inf), "brightness as a single number"),
    ],
)
def test_values_are_valid_from_birth(make, message):
    with pytest.raises(AugmentationError, match=message):
        make()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "value",
    [0, 0.3, 0.5, 0.6, 2, -0.1, (0.1, 0.2), (0.2, 0.1), (-0.2, 0.3), (-0.6, 0), (0, 0.7), (1, 1), "x", (1,)],
)
def test_a_jitter_takes_what_torchvision_takes(operation, value):
    try:
        theirs = getattr(transforms.ColorJitter(**{operation: value}), operation)
    except (ValueError, TypeError):
        with pytest.raises(AugmentationError, match=operation):
            ColorJitter(**{operation: value})
        return
    neutral = (0, 0) if operation == "hue" else (1, 1)
    ours = ColorJitter(**{operation: value}).factor_ranges[OPERATIONS.index(operation)]
    assert ours == (theirs or neutral)  # None of theirs is off


def parameters_with(**arrays):
    ones = {
        "flips": np.zeros(2, np.bool_),
        "jitter_orders": ORDERS[:2],
        "jitter_factors": np.ones((2, 4)) / 2,
    }
    return AugmentParameters(**{**ones, **arrays})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"flips": np.zeros(2)}, r"flips must be bool \(2,\), found float64"),
        ({"jitter_orders": ORDERS[:3]}, r"jitter_orders must be int64 \(2, 4\)"),
        ({"jitter_orders": ORDERS[:2] // 2}, "each of 0, 1, 2, 3 once"),
        ({"jitter_factors": np.ones((2, 4))}, "hue in"),
        ({"jitter_factors": np.full((2, 4), -0.1)}, "0 or more"),
        ({"jitter_factors": np.full((2, 4), np.nan)}, "finite"),
        ({"crop_boxes": np.array([[0, 0, 1, 1], [0, 0, 0, 1]])}, "1 pixel or larger"),
        ({"crop_boxes": np.array([[0, -1, 1, 1], [0, 0, 1, 1]])}, "start at 0"),
        ({"crop_boxes": np.zeros((2, 3), int)}, "crop_boxes must be int64"),
    ],
)
def test_parameters_are_valid_from_birth(arrays, message):
    assert len(parameters_with()) == 2
    with pytest.raises(AugmentationError, match=message):
        parameters_with(**arrays)
