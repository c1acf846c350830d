"""Which part of a frame `RandomResizedCrop` takes: torchvision's law, for all frames of a batch at once."""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loader.augment.values import RandomResizedCrop
from loader.sampling.orders import Words, integers_below, unit_floats, words_at

CropBoxes: TypeAlias = npt.NDArray[np.int64]
"""Shape (B, 4): top, left, height and width in pixels."""

NUM_ATTEMPTS: Final = 10
NUM_CROP_KEYS: Final = 2 + 2 * NUM_ATTEMPTS


def draw_crop_boxes(
    crop: RandomResizedCrop, *, keys: Words, counters: Words, height: int, width: int
) -> CropBoxes:
    """A box for each of `counters` (uint64, shape (B,)) in a frame of `height` x `width` pixels.

    `RandomResizedCrop.get_params` of torchvision: the area is uniform in `scale`, the logarithm of the aspect
    uniform in `ratio`, both sides are rounded. The first of ten attempts that fits is placed uniformly; where none
    fits, the box is `fallback_box`.

    `keys`, uint64 of shape (NUM_CROP_KEYS,), are one for each number drawn, so a box is a function of its counter.
    """
    num_boxes = len(counters)
    boxes = np.empty((num_boxes, 4), np.int64)
    boxes[:] = fallback_box(crop.ratio, height=height, width=width)
    fitted = np.zeros(num_boxes, np.bool_)
    low, high = np.log(crop.ratio)
    for area_key, aspect_key in keys[2:].reshape(NUM_ATTEMPTS, 2):
        areas = height * width * _uniform(words_at(area_key, counters), *crop.scale)
        aspects = np.exp(_uniform(words_at(aspect_key, counters), low, high))
        widths = np.rint(np.sqrt(areas * aspects)).astype(np.int64)
        heights = np.rint(np.sqrt(areas / aspects)).astype(np.int64)
        fits = ~fitted & (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
        boxes[fits, 2], boxes[fits, 3] = heights[fits], widths[fits]
        fitted |= fits
        if fitted.all():
            break
    for column, key, free in ((0, keys[0], height - boxes[:, 2]), (1, keys[1], width - boxes[:, 3])):
        offsets = integers_below(words_at(key, counters), free.astype(np.uint64) + np.uint64(1))
        boxes[fitted, column] = offsets[fitted].astype(np.int64)
    return boxes


def fallback_box(ratio: tuple[float, float], *, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height, width of the largest box in the middle whose aspect is within `ratio`.

    >>> fallback_box((3 / 4, 4 / 3), height=1080, width=1920)
    (0, 240, 1080, 1440)
    """
    low, high = ratio
    box_height, box_width = height, width
    if width / height < low:
        box_height = round(width / low)
    elif width / height > high:
        box_width = round(height * high)
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _uniform(words: Words, low: float, high: float) -> npt.NDArray[np.float64]:
    return low + (high - low) * unit_floats(words)
