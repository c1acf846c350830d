"""The jitter's four operations on pixels in [0, 1], in place: torchvision's results, in fewer and smaller steps.

Pixels are float32 tensors whose third dimension from the end is R, G, B: one image or a block of its rows (3, H, W),
or many images (n, 3, H, W). A factor is a number, or of shape (n, 1, 1, 1), one for each image.

`scratch` has `SCRATCH_PLANES` in place of the 3. AUGMENTATION.md derives the formulas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

Factor: TypeAlias = float | torch.Tensor

SCRATCH_PLANES: Final = 7
"""Temporary planes that an operation needs beside the three of the pixels."""

GRAY_WEIGHTS: Final = (0.2989, 0.587, 0.114)
"""Luma of R, G, B as torchvision's `rgb_to_grayscale` weighs them (their sum is 0.9999)."""


def planes_of(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Views of its channels, each (..., 1, H, W)."""
    return pixels.chunk(pixels.shape[-3], -3)


def adjust_brightness(pixels: torch.Tensor, factor: Factor) -> None:
    """pixels * factor, at most 1."""
    pixels.mul_(factor)
    if isinstance(factor, torch.Tensor) or factor > 1:
        pixels.clamp_(max=1)


def gray_sums(pixels: torch.Tensor) -> torch.Tensor:
    """Sum of the gray image: (1, 1, 1), or (n, 1, 1, 1). Gray is linear, so three sums do."""
    red, green, blue = planes_of(pixels.sum((-2, -1), keepdim=True))
    return GRAY_WEIGHTS[0] * red + GRAY_WEIGHTS[1] * green + GRAY_WEIGHTS[2] * blue


def adjust_contrast(pixels: torch.Tensor, factor: Factor, gray_mean: torch.Tensor) -> None:
    """Away from the mean gray of the whole image, as it is now: factor * pixels + (1 - factor) * gray_mean."""
    _blend(gray_mean, pixels, factor)


def adjust_saturation(pixels: torch.Tensor, factor: Factor, scratch: torch.Tensor) -> None:
    """Away from each pixel's own gray: factor * pixels + (1 - factor) * gray."""
    red, green, blue = planes_of(pixels)
    gray = scratch.narrow(-3, 0, 1)
    torch.mul(red, GRAY_WEIGHTS[0], out=gray)
    gray.add_(green, alpha=GRAY_WEIGHTS[1]).add_(blue, alpha=GRAY_WEIGHTS[2])
    _blend(gray, pixels, factor)


@dataclass(frozen=True, kw_only=True)
class HueShift:
    """A turn of the colour circle as a turn of at most 1/6 forwards in permuted channels, which is cheap.

    Turning by 1/3 permutes the channels; exchanging green and blue mirrors the circle, so backwards is forwards.
    """

    sextants: float
    """What is left to turn, in [0, 1] sixths of the circle."""
    sources: tuple[int, int, int]
    """The channel that is to be taken for R, for G and for B."""
    targets: tuple[int, int, int]
    """Where the turned R, G and B belong."""

    @classmethod
    def of(cls, factor: float) -> "HueShift":
        """The shift by `factor` in [-0.5, 0.5] turns.

        >>> HueShift.of(0.5)  # 3 sextants: 4 forwards (an exchange), 1 back
        HueShift(sextants=1.0, sources=(0, 2, 1), targets=(2, 1, 0))
        """
        thirds = round(3 * factor)
        rest = 6 * factor - 2 * thirds
        sources = (0, 1, 2) if rest >= 0 else (0, 2, 1)
        red, green, blue = ((channel + thirds) % 3 for channel in sources)
        return cls(sextants=abs(rest), sources=sources, targets=(red, green, blue))


def turn_hue(
    sources: Sequence[torch.Tensor], sextants: Factor, *, out: Sequence[torch.Tensor], scratch: torch.Tensor
) -> None:
    """Turn hue forwards by `sextants` in [0, 1]; value and saturation stay.

    With the largest, middle and smallest channel M, D, m of a pixel, the new channel X, whose neighbours on the
    circle are Y (next) and Z, is exactly `2 X - D + sign(Z - Y) (M - m) sextants` clamped to [m, M].

    `sources` and `out` are three planes each, (1, H, W) or (n, 1, H, W), and may be the same ones in any order.
    """
    red, green, blue = sources
    low, middle, high, swing, *turned = planes_of(scratch)
    torch.minimum(red, green, out=low)
    torch.maximum(red, green, out=high)
    torch.minimum(high, blue, out=middle)
    torch.maximum(high, blue, out=high)
    torch.maximum(low, middle, out=middle)
    torch.minimum(low, blue, out=low)
    torch.sub(high, low, out=swing).mul_(sextants)
    for channel, next_, last, new in zip(
        sources, (green, blue, red), (blue, red, green), turned, strict=True
    ):
        torch.sub(last, next_, out=new)
        torch.copysign(swing, new, out=new).sub_(middle).add_(channel, alpha=2)
    for new, plane in zip(turned, out, strict=True):
        torch.clamp(new, low, high, out=plane)


def _blend(other: torch.Tensor, pixels: torch.Tensor, factor: Factor) -> None:
    torch.lerp(other, pixels, factor, out=pixels)
    pixels.clamp_(0, 1)
