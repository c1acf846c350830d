"""Applies drawn parameters to frames: image by image on the CPU, whose caches are small, all at once on a device."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from loader.augment.colour_jitter import (
    SCRATCH_PLANES,
    WHITE,
    HueShift,
    PixelBlock,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    gray_mean_of,
    turn_hue,
)
from loader.augment.crop import resized_part
from loader.augment.draw import AugmentParameters
from loader.augment.values import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    IDENTITY_FACTORS,
    OPERATIONS,
    SATURATION,
    Normalize,
)

PIXELS_PER_BLOCK: Final = 65536
"""Pixels processed at a time on the CPU. A 224x224 image is one block; larger images are split into blocks. With
smaller blocks the calls would cost more than the cache saves, most of all with threads, which take turns to make calls.
"""

Step: TypeAlias = tuple[int, float]
"""The number of an operation in `OPERATIONS`, and its factor."""


def augment_images(
    frames: torch.Tensor, parameters: AugmentParameters, *, normalize: Normalize | None, out: torch.Tensor
) -> None:
    """Augment one image after another with torch, in blocks of rows. Buffers are made once a call.

    `frames` are uint8 (B, 3, H, W), `out` is float32, float16 or bfloat16 (B, 3, h, w).
    """
    height, width = out.shape[-2:]
    workspace = _Workspace.of(height=height, width=width)
    for index in range(len(out)):
        _augment_image(
            _source(frames, parameters, index, size=(height, width)),
            steps=_steps(parameters, index),
            workspace=workspace,
            normalize=normalize,
            out=out[index],
        )


def augment_batch(
    frames: torch.Tensor, parameters: AugmentParameters, *, normalize: Normalize | None, out: torch.Tensor
) -> None:
    """Augment all images at once. In each of the four steps, images with the same operation are processed together.

    The host knows which images these are, so it does not wait for the device.
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
    active = parameters.jitter_factors != IDENTITY_FACTORS
    for column in parameters.jitter_orders.T:
        for operation in range(len(OPERATIONS)):
            rows = np.flatnonzero((column == operation) & active[:, operation])
            if len(rows):
                _adjust_some(pixels, operation, rows=rows, factors=parameters.jitter_factors[rows, operation])
    _finish(pixels, normalize, out=out)


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Workspace:
    """Memory for one image, in blocks. Making the views once saves a third of the calls."""

    blocks: list[PixelBlock]
    rows: list[slice]
    """The rows of the image in each block."""
    channel_sums: torch.Tensor
    """Shape (blocks, 3)."""

    @classmethod
    def of(cls, *, height: int, width: int) -> "_Workspace":
        block_rows = min(height, max(1, PIXELS_PER_BLOCK // width))
        scratch = torch.empty(SCRATCH_PLANES, block_rows, width, device="cpu")
        image = torch.empty(3, height, width, device="cpu")
        rows = [slice(start, min(start + block_rows, height)) for start in range(0, height, block_rows)]
        return cls(
            blocks=[PixelBlock.of(image[:, part], scratch[:, : part.stop - part.start]) for part in rows],
            rows=rows,
            channel_sums=torch.empty(len(rows), 3, device="cpu"),
        )


def _augment_image(
    source: torch.Tensor,
    *,
    steps: list[Step],
    workspace: _Workspace,
    normalize: Normalize | None,
    out: torch.Tensor,
) -> None:
    """With a contrast, two passes over the blocks: the contrast needs the mean of the image after the first pass."""
    numbers = [number for number, _ in steps]
    turn = numbers.index(CONTRAST) if CONTRAST in numbers else len(steps)
    for index, (block, rows) in enumerate(zip(workspace.blocks, workspace.rows, strict=True)):
        block.pixels.copy_(source[:, rows])
        _adjust(block, steps[:turn])
        if turn < len(steps):
            workspace.channel_sums[index] = block.pixels.sum((-2, -1))
        else:
            _finish(block.pixels, normalize, out=out[:, rows])
    if turn < len(steps):
        gray_mean = gray_mean_of(workspace.channel_sums.sum(0) / source[0].numel())
        for block, rows in zip(workspace.blocks, workspace.rows, strict=True):
            adjust_contrast(block, steps[turn][1], gray_mean)
            _adjust(block, steps[turn + 1 :])
            _finish(block.pixels, normalize, out=out[:, rows])


def _adjust(block: PixelBlock, steps: list[Step]) -> None:
    for number, factor in steps:
        if number == BRIGHTNESS:
            adjust_brightness(block, factor)
        elif number == SATURATION:
            adjust_saturation(block, factor)
        else:
            adjust_hue(block, factor)


def _finish(pixels: torch.Tensor, normalize: Normalize | None, *, out: torch.Tensor) -> None:
    """Convert pixels in [0, 255] to the unit of the output, in float32, then cast; `out` may be `pixels`."""
    if normalize is not None:
        for plane, mean, std in zip(pixels.chunk(3, -3), normalize.mean, normalize.std, strict=True):
            plane.sub_(mean * WHITE).div_(std * WHITE)
        if out is not pixels:
            out.copy_(pixels)
    elif out.dtype == pixels.dtype:
        torch.div(pixels, WHITE, out=out)
    else:
        out.copy_(pixels.div_(WHITE))


def _adjust_some(
    pixels: torch.Tensor, operation: int, *, rows: npt.NDArray[np.int64], factors: npt.NDArray[np.float64]
) -> None:
    """Gather the images `rows` of `pixels`, adjust them and put them back. Hue permutes channels at both copies."""
    device = pixels.device
    shifts = [HueShift.of(factor) for factor in factors.tolist()] if operation == HUE else []
    if shifts:
        factors = np.array([shift.sextants for shift in shifts])
    where = _upload(rows[:, None], device)
    sources = _upload([shift.sources for shift in shifts] or [[0, 1, 2]], device)
    targets = _upload([shift.targets for shift in shifts] or [[0, 1, 2]], device)
    some = pixels[where, sources]
    block = PixelBlock.of(some, some.new_empty(len(rows), SCRATCH_PLANES, *some.shape[-2:]))
    factor = _upload(factors.astype(np.float32)[:, None, None, None], device)
    if operation == BRIGHTNESS:
        adjust_brightness(block, factor)
    elif operation == CONTRAST:
        adjust_contrast(block, factor, gray_mean_of(some.mean((-2, -1))))
    elif operation == SATURATION:
        adjust_saturation(block, factor)
    else:
        turn_hue(block.planes, factor, out=block.planes, scratch=block.scratch)
    pixels[where, targets] = some


def _upload(numbers: npt.ArrayLike, device: torch.device) -> torch.Tensor:
    """Copy to `device` from pinned memory: a copy from other memory would wait for the work queued on the device."""
    host = torch.as_tensor(np.asarray(numbers), device="cpu")
    host = host.pin_memory() if device.type == "cuda" else host
    return host.to(device, non_blocking=True)
