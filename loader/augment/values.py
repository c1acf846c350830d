"""The parts of an augmentation: checked values with the meaning that they have in torchvision, without torch."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from loader.errors import AugmentationError

Range: TypeAlias = tuple[float, float]

OPERATIONS: Final = ("brightness", "contrast", "saturation", "hue")
"""The operations of the jitter by number, as torchvision's `ColorJitter.get_params` numbers them."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(OPERATIONS))

IDENTITY_FACTORS: Final = (1.0, 1.0, 1.0, 0.0)
"""The factor of each operation that changes nothing."""


@dataclass(frozen=True, kw_only=True)
class RandomResizedCrop:
    """A random part of the frame, resized bilinearly with antialiasing; `loader.augment.draw` gives its distribution.

    Raises:
        AugmentationError: a size below 1, or a range that is not low <= high within its bounds.
    """

    size: int | tuple[int, int]
    """Pixels of the output: (height, width), or one number for both."""
    scale: Range = (0.08, 1.0)
    """Area of the part, as a share of the area of the frame."""
    ratio: Range = (3 / 4, 4 / 3)
    """Width over height of the part, before it is resized."""

    def __post_init__(self) -> None:
        """Check the size and both ranges."""
        sides = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        try:
            valid = len(sides) == 2 and all(operator.index(side) >= 1 for side in sides)
        except TypeError:
            valid = False
        if not valid:
            raise AugmentationError(
                f"size must be a whole number of 1 or more, or (height, width), found {self.size!r}"
            )
        _checked_range("scale", self.scale, bounds=(0.0, math.inf))
        if self.scale[1] <= 0:
            raise AugmentationError(f"scale must end above 0, found {self.scale!r}")
        if _checked_range("ratio", self.ratio, bounds=(0.0, math.inf))[0] <= 0:
            raise AugmentationError(f"ratio must start above 0, found {self.ratio!r}")

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of the output in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue, in a random order.

    Each is a number or a range of its factor. A number x means the range [max(0, 1 - x), 1 + x]; for hue, in turns of
    the colour circle, it means [-x, x]. A range with only the neutral factor turns the operation off.

    Raises:
        AugmentationError: a negative number, or a range outside [0, inf), for hue outside [-0.5, 0.5].
    """

    brightness: float | Range = 0.0
    contrast: float | Range = 0.0
    saturation: float | Range = 0.0
    hue: float | Range = 0.0

    def __post_init__(self) -> None:
        """Check every range."""
        _ = self.factor_ranges

    @property
    def factor_ranges(self) -> tuple[Range, ...]:
        """(low, high) of the four factors, in the order of `OPERATIONS`."""
        return (
            _factor_range("brightness", self.brightness),
            _factor_range("contrast", self.contrast),
            _factor_range("saturation", self.saturation),
            _hue_range(self.hue),
        )


@dataclass(frozen=True, kw_only=True)
class Normalize:
    """(channel - mean) / std for the channels R, G, B, with values in [0, 1].

    Raises:
        AugmentationError: not three finite numbers each, or a std that is not above 0.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Check counts and ranges."""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if not _are_three_numbers(numbers):
                raise AugmentationError(f"{name} must be three finite numbers, found {numbers!r}")
        if min(self.std) <= 0:
            raise AugmentationError(f"std must be above 0 for every channel, found {self.std!r}")


def _are_three_numbers(numbers: Sequence[float]) -> bool:
    try:
        return len(numbers) == 3 and all(math.isfinite(number) for number in numbers)
    except TypeError:
        return False


def _factor_range(name: str, value: float | Range) -> Range:
    if isinstance(value, int | float):
        if not 0 <= value < math.inf:
            raise AugmentationError(f"{name} as a single number must be 0 or more, found {value!r}")
        return max(0.0, 1.0 - value), 1.0 + value
    return _checked_range(name, value, bounds=(0.0, math.inf))


def _hue_range(value: float | Range) -> Range:
    if isinstance(value, int | float):
        if not 0 <= value <= 0.5:
            raise AugmentationError(f"hue as a single number must be in [0, 0.5], found {value!r}")
        return -float(value), float(value)
    return _checked_range("hue", value, bounds=(-0.5, 0.5))


def _checked_range(name: str, value: Sequence[float], *, bounds: Range) -> Range:
    try:
        low, high = (float(number) for number in value)
    except (TypeError, ValueError):
        raise AugmentationError(f"{name} must be two numbers (low, high), found {value!r}") from None
    if not (bounds[0] <= low <= high <= bounds[1] and math.isfinite(high)):
        raise AugmentationError(
            f"{name} must be (low, high) with {bounds[0]} <= low <= high <= {bounds[1]}, finite, found {value!r}"
        )
    return low, high
