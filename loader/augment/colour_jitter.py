"""The four operations of the jitter on pixels, in place: torchvision's results, in fewer and smaller steps.

A factor is a number, or one for each image: a tensor of shape (n, 1, 1, 1). AUGMENTATION.md derives the formulas.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

Factor: TypeAlias = float | torch.Tensor
Planes: TypeAlias = tuple[torch.Tensor, ...]

WHITE: Final = 255.0
"""Largest value of a channel. Pixels stay in the unit of uint8 until the end, where the division writes the output."""

SCRATCH_PLANES: Final = 7
"""Temporary planes that the operations need beside the three planes of the pixels."""

GRAY_WEIGHTS: Final = (0.2989, 0.587, 0.114)
"""Weights of R, G, B in torchvision's `rgb_to_grayscale` (their sum is 0.9999)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelBlock:
    """Rows of one image, or many images, with the views that the operations use."""

    pixels: torch.Tensor
    """float32, shape (3, H, W) or (n, 3, H, W), values in [0, WHITE]."""
    planes: Planes
    """Views of R, G and B: (1, H, W) or (n, 1, H, W) each."""
    scratch: Planes
    """`SCRATCH_PLANES` tensors of the shape of a plane. Their values have no meaning between operations."""

    @classmethod
    def of(cls, pixels: torch.Tensor, scratch: torch.Tensor) -> "PixelBlock":
        """Over `pixels` and over `scratch`, (SCRATCH_PLANES, H, W) or (n, SCRATCH_PLANES, H, W)."""
        return cls(
            pixels=pixels, planes=pixels.chunk(3, -3), scratch=tuple(scratch.chunk(SCRATCH_PLANES, -3))
        )


def adjust_brightness(block: PixelBlock, factor: Factor) -> None:
    """pixels * factor, at most white."""
    block.pixels.mul_(factor)
    if isinstance(factor, torch.Tensor) or factor > 1:
        block.pixels.clamp_(max=WHITE)


def adjust_contrast(block: PixelBlock, factor: Factor, gray_mean: torch.Tensor) -> None:
    """factor * pixels + (1 - factor) * gray_mean; `gray_mean` is the mean gray of the whole current image.

    `gray_mean` is (1, 1, 1) or (n, 1, 1, 1), as `gray_mean_of` gives it.
    """
    _blend(gray_mean, block.pixels, factor)


def adjust_saturation(block: PixelBlock, factor: Factor) -> None:
    """factor * pixels + (1 - factor) * gray; `gray` is the gray of each pixel."""
    gray = block.scratch[0]
    red, green, blue = block.planes
    torch.mul(red, GRAY_WEIGHTS[0], out=gray)
    gray.add_(green, alpha=GRAY_WEIGHTS[1]).add_(blue, alpha=GRAY_WEIGHTS[2])
    _blend(gray, block.pixels, factor)


def gray_mean_of(channel_means: torch.Tensor) -> torch.Tensor:
    """Mean of the gray image from the means of its channels, (..., 3) -> (..., 1, 1, 1): gray is linear in them."""
    red, green, blue = channel_means[..., None, None, None].unbind(-4)
    return (
        red.mul(GRAY_WEIGHTS[0]).add_(green, alpha=GRAY_WEIGHTS[1]).add_(blue, alpha=GRAY_WEIGHTS[2])
    )  # scalars: a tensor of weights would have to be copied to the device


@dataclass(frozen=True, kw_only=True)
class HueShift:
    """A turn of the colour circle, written as a turn of at most 1/6 forwards in permuted channels, which is cheap.

    A turn by 1/3 permutes the channels. Exchanging green and blue mirrors the circle, so a turn backwards becomes a
    turn forwards.
    """

    sextants: float
    """The rest of the turn, in [0, 1] sixths of the circle."""
    sources: tuple[int, int, int]
    """The channels that are used as R, G and B."""
    targets: tuple[int, int, int]
    """The channels to which the turned R, G and B are written."""

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


def adjust_hue(block: PixelBlock, factor: float) -> None:
    """Turn the hue of one image by `factor` in [-0.5, 0.5] turns; value and saturation do not change."""
    shift = HueShift.of(factor)
    turn_hue(
        tuple(block.planes[channel] for channel in shift.sources),
        shift.sextants,
        out=tuple(block.planes[channel] for channel in shift.targets),
        scratch=block.scratch,
    )


def turn_hue(sources: Planes, sextants: Factor, *, out: Planes, scratch: Planes) -> None:
    """Turn hue forwards by `sextants` in [0, 1].

    M, D, m are the largest, middle and smallest channel of a pixel. For a channel X, whose neighbours on the circle are
    Y (next) and Z, the new value is exactly `2 X - D + sign(Z - Y) (M - m) sextants`, clamped to [m, M].

    `sources` and `out` are three planes each. They may be the same planes in any order.
    """
    red, green, blue = sources
    low, middle, high, swing, *turned = scratch
    torch.minimum(red, green, out=low)
    torch.maximum(red, green, out=high)
    torch.minimum(high, blue, out=middle)
    torch.maximum(high, blue, out=high)
    torch.maximum(low, middle, out=middle)
    torch.minimum(low, blue, out=low)
    torch.sub(high, low, out=swing).mul_(sextants)
    circle = ((red, green, blue), (green, blue, red), (blue, red, green))
    for (channel, next_, last), new in zip(circle, turned, strict=True):
        torch.sub(last, next_, out=new)
        torch.copysign(swing, new, out=new).sub_(middle).add_(channel, alpha=2)
    for new, plane in zip(turned, out, strict=True):
        torch.clamp(new, low, high, out=plane)


def _blend(other: torch.Tensor, pixels: torch.Tensor, factor: Factor) -> None:
    torch.lerp(other, pixels, factor, out=pixels)
    pixels.clamp_(0, WHITE)
