"""Drawn parameters applied to frames: image by image where caches are small (CPU), all at once on a device."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from loader.augment_parameters import AugmentParameters
from loader.augment_values import IDENTITY_FACTORS, OPERATIONS, Normalize
from loader.color_jitter import (
    SCRATCH_PLANES,
    HueShift,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    gray_sums,
    planes_of,
    turn_hue,
)

PIXELS_PER_BLOCK: Final = 16384
"""Pixels worked on at a time on CPU: with the temporaries 655 KB, of which an operation touches a part.

Smaller blocks pay more for calls, larger ones fall out of a 512 KB cache (`tests/bench/bench_augment.py`)."""

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(len(OPERATIONS))

Step: TypeAlias = tuple[int, float]
"""An operation's number in `OPERATIONS`, and its factor."""


def augment_images(
    frames: torch.Tensor, parameters: AugmentParameters, *, normalize: Normalize | None, out: torch.Tensor
) -> None:
    """One image after another, each in blocks of rows, in buffers that are made once a call.

    `frames` are uint8 (B, 3, H, W), `out` is float32 or float16 (B, 3, h, w).
    """
    height, width = out.shape[-2:]
    block_rows = min(height, max(1, PIXELS_PER_BLOCK // width))
    scratch = torch.empty(SCRATCH_PLANES, block_rows, width)
    image = None if out.dtype == torch.float32 else torch.empty(3, height, width)
    for index in range(len(out)):
        _augment_image(
            _source(frames, parameters, index, size=(height, width)),
            pixels=out[index] if image is None else image,
            steps=_steps(parameters, index),
            scratch=scratch,
            normalize=normalize,
            out=out[index],
        )


def augment_batch(
    frames: torch.Tensor, parameters: AugmentParameters, *, normalize: Normalize | None, out: torch.Tensor
) -> None:
    """The same, all images at once: those that share an operation in a step of their orders go together.

    Nothing waits for the device: which images those are is known on the host.
    """
    pixels = out if out.dtype == torch.float32 else torch.empty(out.shape, device=out.device)
    if parameters.crop_boxes is None:
        pixels.copy_(frames)
    else:
        for index, box in enumerate(parameters.crop_boxes.tolist()):
            pixels[index] = resized_part(frames[index], box, size=(out.shape[-2], out.shape[-1]))
    if parameters.flips.any():
        flipped = _upload(np.flatnonzero(parameters.flips), pixels.device)
        pixels[flipped] = pixels[flipped].flip(-1)
    pixels.div_(255)
    active = parameters.jitter_factors != IDENTITY_FACTORS
    for column in parameters.jitter_orders.T:
        for operation in range(len(OPERATIONS)):
            rows = np.flatnonzero((column == operation) & active[:, operation])
            if len(rows):
                _adjust_some(pixels, operation, rows=rows, factors=parameters.jitter_factors[rows, operation])
    _normalize(pixels, normalize)
    if pixels is not out:
        out.copy_(pixels)


def resized_part(frame: torch.Tensor, box: Sequence[int], *, size: tuple[int, int]) -> torch.Tensor:
    """The part `box` (top, left, height, width) of uint8 (3, H, W), resized: float32 (3, *size) in [0, 255]."""
    top, left, height, width = box
    part = frame[:, top : top + height, left : left + width]
    part = part.to(torch.float32, memory_format=torch.contiguous_format)
    if (height, width) == size:
        return part
    return torch.nn.functional.interpolate(
        part[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]


def _source(
    frames: torch.Tensor, parameters: AugmentParameters, index: int, *, size: tuple[int, int]
) -> torch.Tensor:
    source = frames[index]
    if parameters.crop_boxes is not None:
        source = resized_part(source, parameters.crop_boxes[index].tolist(), size=size)
    return source.flip(-1) if parameters.flips[index] else source


def _steps(parameters: AugmentParameters, index: int) -> list[Step]:
    factors = parameters.jitter_factors[index].tolist()
    order = parameters.jitter_orders[index].tolist()
    return [(number, factors[number]) for number in order if factors[number] != IDENTITY_FACTORS[number]]


def _augment_image(
    source: torch.Tensor,
    *,
    pixels: torch.Tensor,
    steps: list[Step],
    scratch: torch.Tensor,
    normalize: Normalize | None,
    out: torch.Tensor,
) -> None:
    """Two passes over the blocks where there is a contrast: it needs the mean of the image as the first leaves it."""
    numbers = [number for number, _ in steps]
    turn = numbers.index(_CONTRAST) if _CONTRAST in numbers else len(steps)
    height, width = pixels.shape[-2:]
    gray_sum = torch.zeros(1, 1, 1)
    block_rows = scratch.shape[-2]
    blocks = [slice(start, min(start + block_rows, height)) for start in range(0, height, block_rows)]
    for rows in blocks:
        block = pixels[:, rows]
        block.copy_(source[:, rows]).div_(255)
        _adjust(block, steps[:turn], scratch=scratch)
        if turn < len(steps):
            gray_sum += gray_sums(block)
        else:
            _finish(block, normalize, out=out[:, rows])
    if turn < len(steps):
        gray_mean = gray_sum / (height * width)
        for rows in blocks:
            block = pixels[:, rows]
            adjust_contrast(block, steps[turn][1], gray_mean)
            _adjust(block, steps[turn + 1 :], scratch=scratch)
            _finish(block, normalize, out=out[:, rows])


def _adjust(block: torch.Tensor, steps: list[Step], *, scratch: torch.Tensor) -> None:
    scratch = scratch[:, : block.shape[-2]]
    for number, factor in steps:
        if number == _BRIGHTNESS:
            adjust_brightness(block, factor)
        elif number == _SATURATION:
            adjust_saturation(block, factor, scratch)
        else:
            shift, planes = HueShift.of(factor), planes_of(block)
            turn_hue(
                [planes[channel] for channel in shift.sources],
                shift.sextants,
                out=[planes[channel] for channel in shift.targets],
                scratch=scratch,
            )


def _finish(block: torch.Tensor, normalize: Normalize | None, *, out: torch.Tensor) -> None:
    _normalize(block, normalize)
    if out.dtype != block.dtype:
        out.copy_(block)


def _normalize(pixels: torch.Tensor, normalize: Normalize | None) -> None:
    if normalize is not None:
        for plane, mean, std in zip(planes_of(pixels), normalize.mean, normalize.std, strict=True):
            plane.sub_(mean).div_(std)


def _adjust_some(
    pixels: torch.Tensor, operation: int, *, rows: npt.NDArray[np.int64], factors: npt.NDArray[np.float64]
) -> None:
    """Gather the images `rows` of `pixels`, adjust them and put them back; hue permutes channels on both ways."""
    device = pixels.device
    shifts = [HueShift.of(factor) for factor in factors.tolist()] if operation == _HUE else []
    if shifts:
        factors = np.array([shift.sextants for shift in shifts])
    where = _upload(rows[:, None], device)
    sources = _upload([shift.sources for shift in shifts] or [[0, 1, 2]], device)
    targets = _upload([shift.targets for shift in shifts] or [[0, 1, 2]], device)
    some = pixels[where, sources]
    factor = _upload(factors.astype(np.float32)[:, None, None, None], device)
    scratch = some.new_empty(len(rows), SCRATCH_PLANES, *some.shape[-2:])
    if operation == _BRIGHTNESS:
        adjust_brightness(some, factor)
    elif operation == _CONTRAST:
        adjust_contrast(some, factor, gray_sums(some) / some[0, 0].numel())
    elif operation == _SATURATION:
        adjust_saturation(some, factor, scratch)
    else:
        turn_hue(planes_of(some), factor, out=planes_of(some), scratch=scratch)
    pixels[where, targets] = some


def _upload(numbers: npt.ArrayLike, device: torch.device) -> torch.Tensor:
    """To `device`; from pinned memory, as a copy from other memory would wait for the device's work so far."""
    host = torch.as_tensor(np.asarray(numbers))
    host = host.pin_memory() if device.type == "cuda" else host
    return host.to(device, non_blocking=True)
