"""Applies drawn parameters on a CPU with the compiled jitter. Importing it imports numba, which is optional."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from loader.augment.colour_jitter import WHITE, HueShift
from loader.augment.compiled_jitter import NOTHING, Floats, Numbers, jitter_images
from loader.augment.crop import resized_part
from loader.augment.draw import AugmentParameters
from loader.augment.values import HUE, IDENTITY_FACTORS, Normalize


def augment_images_compiled(
    frames: torch.Tensor, parameters: AugmentParameters, *, normalize: Normalize | None, out: torch.Tensor
) -> None:
    """Augment the images of a batch in one call, or one by one if they are cropped or the output is not float32.

    `frames` are uint8 (B, 3, H, W), `out` is float32, float16 or bfloat16 (B, 3, h, w).
    """
    steps = _Steps.of(parameters)
    if parameters.crop_boxes is None and out.dtype == torch.float32:
        _apply(frames, steps, normalize, out=out)
        return
    image = torch.empty(1, *out.shape[1:], device="cpu")
    for index in range(len(out)):
        source = frames[index]
        if parameters.crop_boxes is not None:
            height, width = image.shape[-2:]
            source = resized_part(source, parameters.crop_boxes[index].tolist(), size=(height, width))
        _apply(source[None], steps.of_image(index), normalize, out=image)
        out[index] = image[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps:
    """Flips and jitter of n images, as `jitter_images` takes them."""

    flips: npt.NDArray[np.bool_]
    operations: Numbers
    factors: Floats
    sources: Numbers
    targets: Numbers

    @classmethod
    def of(cls, parameters: AugmentParameters) -> "_Steps":
        shifts = [HueShift.of(turn) for turn in parameters.jitter_factors[:, HUE].tolist()]
        factors = parameters.jitter_factors.copy()
        factors[:, HUE] = [shift.sextants for shift in shifts]
        orders = parameters.jitter_orders.astype(np.int64)
        is_active = np.take_along_axis(parameters.jitter_factors != IDENTITY_FACTORS, orders, 1)
        return cls(
            flips=parameters.flips.astype(np.bool_),
            operations=np.where(is_active, orders, NOTHING),
            factors=np.take_along_axis(factors, orders, 1).astype(np.float32),
            sources=np.array([shift.sources for shift in shifts], np.int64),
            targets=np.array([shift.targets for shift in shifts], np.int64),
        )

    def of_image(self, index: int) -> "_Steps":
        """Those of one image; the arrays have its row alone."""
        one = slice(index, index + 1)
        return _Steps(
            flips=self.flips[one],
            operations=self.operations[one],
            factors=self.factors[one],
            sources=self.sources[one],
            targets=self.targets[one],
        )


def _apply(frames: torch.Tensor, steps: _Steps, normalize: Normalize | None, *, out: torch.Tensor) -> None:
    """`frames` are uint8 or float32 (n, 3, H, W) in any layout, `out` is contiguous float32 of this shape."""
    is_channels_last = not frames.is_contiguous()
    in_order = (frames.permute(0, 2, 3, 1) if is_channels_last else frames).contiguous()
    mean, std = ((0.0,) * 3, (1.0,) * 3) if normalize is None else (normalize.mean, normalize.std)
    arguments = (
        in_order.numpy().reshape(len(frames), -1),
        is_channels_last,
        steps.flips,
        steps.operations,
        steps.factors,
        steps.sources,
        steps.targets,
        np.array(mean, np.float32) * np.float32(WHITE),
        np.array(std, np.float32) * np.float32(WHITE),
        out.numpy(),
    )
    try:
        jitter_images(*arguments)
    except OSError:  # it has been compiled, and could not be kept on the disk for other processes
        jitter_images(*arguments)
