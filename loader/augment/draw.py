"""The random parameters of each frame, as a pure function of (seed, epoch, frame id)."""

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loader.augment.values import IDENTITY_FACTORS, OPERATIONS, ColorJitter, RandomResizedCrop
from loader.errors import AugmentationError
from loader.sampling.orders import Words, epoch_keys, integers_below, unit_floats, words_at

ORDERS: Final = np.array(list(itertools.permutations(range(len(OPERATIONS)))), np.int64)
"""All 24 orders of the operations of the jitter, shape (24, 4)."""

AUGMENT_STREAM: Final = 1
"""Makes these draws independent of the samplers with the same seed (`random_words.epoch_keys`)."""

CropBoxes: TypeAlias = npt.NDArray[np.int64]
"""Shape (B, 4): top, left, height and width in pixels."""

NUM_ATTEMPTS: Final = 10
NUM_CROP_KEYS: Final = 2 + 2 * NUM_ATTEMPTS

# Each drawn number has its own key, at a fixed place: with or without a crop, the colours are the same.
_FLIP, _ORDER, _FIRST_FACTOR, _FIRST_CROP = 0, 1, 2, 2 + len(OPERATIONS)
_NUM_KEYS: Final = _FIRST_CROP + NUM_CROP_KEYS


@dataclass(frozen=True, kw_only=True, eq=False)
class AugmentParameters:
    """One row for each of B frames; `crop_boxes` is None if frames are not cropped.

    Raises:
        AugmentationError: arrays of another shape or dtype, orders that are not permutations, or factors that the
            operations do not take.
    """

    flips: npt.NDArray[np.bool_]
    """Shape (B,): mirrored left to right."""
    jitter_orders: npt.NDArray[np.int64]
    """Shape (B, 4): numbers in `OPERATIONS`, in the order in which they are applied."""
    jitter_factors: npt.NDArray[np.float64]
    """Shape (B, 4): factors of brightness, contrast, saturation (1 is neutral) and hue (in turns, 0 is neutral)."""
    crop_boxes: CropBoxes | None = field(default=None)
    """Shape (B, 4): top, left, height and width in pixels."""

    def __post_init__(self) -> None:
        """Check shapes, dtypes and values."""
        num_frames = len(self.flips)
        for name, dtype, shape in (
            ("flips", np.bool_, (num_frames,)),
            ("jitter_orders", np.int64, (num_frames, len(OPERATIONS))),
            ("jitter_factors", np.float64, (num_frames, len(OPERATIONS))),
            ("crop_boxes", np.int64, (num_frames, 4)),
        ):
            array = getattr(self, name)
            if array is not None and (array.dtype != dtype or array.shape != shape):
                raise AugmentationError(
                    f"{name} must be {np.dtype(dtype)} {shape}, found {array.dtype} {array.shape}"
                )
        if not np.array_equal(np.sort(self.jitter_orders), np.broadcast_to(range(4), (num_frames, 4))):
            raise AugmentationError("jitter_orders must hold each of 0, 1, 2, 3 once in every row")
        gains, hues = self.jitter_factors[:, :3], self.jitter_factors[:, 3]
        if not (np.isfinite(gains).all() and (gains >= 0).all() and (np.abs(hues) <= 0.5).all()):
            raise AugmentationError(
                "jitter_factors must be finite and 0 or more, those of hue in [-0.5, 0.5]"
            )
        if self.crop_boxes is not None and not (
            (self.crop_boxes[:, :2] >= 0).all() and (self.crop_boxes[:, 2:] >= 1).all()
        ):
            raise AugmentationError("crop_boxes must start at 0 or later and be 1 pixel or larger")

    def __len__(self) -> int:
        return len(self.flips)

    @property
    def has_jitter(self) -> bool:
        """Whether an operation changes a colour of a frame."""
        return bool((self.jitter_factors != IDENTITY_FACTORS).any())

    def repeated(self, times: int) -> "AugmentParameters":
        """Each row `times` times in a row, because the frames of a window share it."""
        return AugmentParameters(
            flips=self.flips.repeat(times),
            jitter_orders=self.jitter_orders.repeat(times, axis=0),
            jitter_factors=self.jitter_factors.repeat(times, axis=0),
            crop_boxes=None if self.crop_boxes is None else self.crop_boxes.repeat(times, axis=0),
        )


def draw_parameters(
    frame_ids: npt.NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    frame_size: tuple[int, int],
    crop: RandomResizedCrop | None,
    flip_probability: float,
    jitter: ColorJitter | None,
    camera: str | None = None,
) -> AugmentParameters:
    """Parameters of frames of `frame_size` (height, width); `frame_ids` has shape (B,), each 0 or more.

    The draws of each `camera` are independent of those of the others, and of those without a camera. The orders of the
    jitter are equally likely, its factors are uniform in their ranges.

    Raises:
        SamplingError: seed or epoch outside [0, 2**32).
    """
    stream = (AUGMENT_STREAM, *_words_of(camera))
    keys = epoch_keys(seed=seed, epoch=epoch, num_keys=_NUM_KEYS, stream=stream)
    counters = frame_ids.astype(np.uint64)
    orders = integers_below(words_at(keys[_ORDER], counters), len(ORDERS))
    return AugmentParameters(
        flips=unit_floats(words_at(keys[_FLIP], counters)) < flip_probability,
        jitter_orders=ORDERS[orders.astype(np.int64)],
        jitter_factors=_draw_factors(jitter, keys=keys[_FIRST_FACTOR:_FIRST_CROP], counters=counters),
        crop_boxes=None
        if crop is None
        else draw_crop_boxes(
            crop, keys=keys[_FIRST_CROP:], counters=counters, height=frame_size[0], width=frame_size[1]
        ),
    )


def _words_of(camera: str | None) -> list[int]:
    """Four words of 32 bits that name a camera, whatever its place among the cameras; none without a camera."""
    if camera is None:
        return []
    words: list[int] = np.frombuffer(hashlib.sha256(camera.encode()).digest()[:16], "<u4").tolist()
    return words


def _draw_factors(jitter: ColorJitter | None, *, keys: Words, counters: Words) -> npt.NDArray[np.float64]:
    factors = np.empty((len(counters), len(OPERATIONS)))
    factors[:] = IDENTITY_FACTORS
    if jitter is not None:
        for column, (key, (low, high)) in enumerate(zip(keys, jitter.factor_ranges, strict=True)):
            factors[:, column] = _uniform(words_at(key, counters), low, high)
    return factors


def draw_crop_boxes(
    crop: RandomResizedCrop, *, keys: Words, counters: Words, height: int, width: int
) -> CropBoxes:
    """A box for each of `counters` (uint64, shape (B,)) in a frame of `height` x `width` pixels.

    The distribution is that of `RandomResizedCrop.get_params` of torchvision: the area is uniform in `scale`, the
    logarithm of the aspect is uniform in `ratio`, both sides are rounded. The first of ten attempts that fits is placed
    uniformly. If none fits, the box is `fallback_box`.

    `keys`, uint64 of shape (NUM_CROP_KEYS,), has a key for each drawn number, so a box is a function of its counter.
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
