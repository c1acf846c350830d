"""torchvision's chain on one image, and images and parameters that are hard cases for it."""

import itertools

import numpy as np
import torch
import torchvision.transforms.functional as tv

from loader import AugmentParameters

ADJUST = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
ORDERS = list(itertools.permutations(range(4)))


def torchvision_chain(frame, parameters, index, *, size=None, normalize=None):
    """float32 (3, h, w) of uint8 (3, H, W): ToTensor, resized_crop, hflip, ColorJitter, Normalize."""
    pixels = frame.contiguous().to(torch.float32).div(255)
    if parameters.crop_boxes is not None:
        pixels = tv.resized_crop(pixels, *parameters.crop_boxes[index].tolist(), list(size), antialias=True)
    if parameters.flips[index]:
        pixels = tv.hflip(pixels)
    for operation in parameters.jitter_orders[index].tolist():
        pixels = ADJUST[operation](pixels, float(parameters.jitter_factors[index, operation]))
    if normalize is not None:
        pixels = tv.normalize(pixels, normalize.mean, normalize.std)
    return pixels


def hard_frames(num_frames, *, height, width, seed=0):
    """uint8 (B, 3, H, W), channels_last: noise, grays, primaries and their mixtures, two equal channels, edges."""
    chance = np.random.default_rng(seed)
    frames = chance.integers(0, 256, (num_frames, height, width, 3), np.uint8)
    rows = np.array_split(np.arange(height), 8)
    frames[:, rows[1]] = frames[:, rows[1]][..., :1]  # grays
    frames[:, rows[2]] = chance.choice([0, 255], frames[:, rows[2]].shape)  # black, white and saturated
    frames[:, rows[3]] = chance.choice([0, 1, 254, 255], frames[:, rows[3]].shape)
    frames[:, rows[4], :, 1] = frames[:, rows[4], :, 2]
    frames[:, rows[5], :, 0] = frames[:, rows[5], :, 1]
    if num_frames >= 3:  # whole images of one value
        frames[0], frames[1], frames[2] = 0, 255, 128
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def random_parameters(num_frames, *, height, width, crop=False, seed=0):
    """Every order in turn, factors in and at the ends of wide ranges, any boxes."""
    chance = np.random.default_rng(seed)
    factors = chance.uniform(0, 2, (num_frames, 4))
    factors[:, 3] = chance.uniform(-0.5, 0.5, num_frames)
    extremes = np.array([[0, 0.5, 1, 1.5, 3]] * 3 + [[-0.5, -1 / 3, 0, 1 / 6, 0.5]])
    chosen = chance.random((num_frames, 4)) < 0.2
    factors[chosen] = extremes[np.arange(4), chance.integers(0, 5, (num_frames, 4))][chosen]
    boxes = None
    if crop:
        sizes = chance.integers(1, [height + 1, width + 1], (num_frames, 2))
        boxes = np.hstack([chance.integers(0, [height, width] - sizes + 1), sizes])
    return AugmentParameters(
        flips=chance.random(num_frames) < 0.5,
        jitter_orders=np.array([ORDERS[index % 24] for index in range(num_frames)]),
        jitter_factors=factors,
        crop_boxes=boxes,
    )
