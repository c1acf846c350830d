"""The jitter of a batch on a CPU, compiled by numba: the formulas of `colour_jitter`, row by row.

A row stays in the CPU's first cache from its first operation to its last, and one call takes a batch, without the GIL.
The operations of torch go over a whole image, some 35 times, and each of them gives up the GIL and waits for it.

Importing this module imports numba, which is optional.
"""

import math
from collections.abc import Callable
from typing import Final, ParamSpec, TypeAlias, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from loader.augment.colour_jitter import GRAY_WEIGHTS, WHITE
from loader.augment.values import BRIGHTNESS, CONTRAST, HUE, SATURATION

Floats: TypeAlias = npt.NDArray[np.float32]
Numbers: TypeAlias = npt.NDArray[np.int64]
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

NOTHING: Final = -1
"""In the place of an operation that changes nothing."""

_ZERO, _ONE, _TWO, _WHITE = (np.float32(number) for number in (0, 1, 2, WHITE))
_RED, _GREEN, _BLUE = (np.float32(weight) for weight in GRAY_WEIGHTS)


def compiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Let numba compile a function when it is first used by another."""
    return cast(Callable[_Parameters, _Result], numba.njit(nogil=True, error_model="numpy")(function))


def compiled_and_kept(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Let numba compile a function at its first call, and keep it on the disk with all that it calls.

    The first call for some types raises OSError where the disk is full; the function is compiled by then. numba
    compiles again when this file changes, and not when a module changes from which this file takes numbers.
    """
    try:
        kept = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder can be written
        return compiled(function)
    return cast(Callable[_Parameters, _Result], kept)


@compiled_and_kept
def jitter_images(
    frames: npt.NDArray[np.generic],
    is_channels_last: bool,
    flips: npt.NDArray[np.bool_],
    operations: Numbers,
    factors: Floats,
    sources: Numbers,
    targets: Numbers,
    shift: Floats,
    scale: Floats,
    out: Floats,
) -> None:
    """Adjust images, and write `(pixels - shift) / scale` to `out`.

    Args:
        frames: uint8 or float32, C-contiguous, values in [0, WHITE]; (n, H * W * 3) if `is_channels_last`, else
            (n, 3 * H * W).
        is_channels_last: whether the channels of a pixel lie side by side.
        flips: bool (n,), whether an image is mirrored left to right.
        operations: int64 (n, 4), numbers in `OPERATIONS` in the order in which they are applied, or NOTHING.
        factors: float32 (n, 4), those of `operations`; of the hue `HueShift.sextants`.
        sources: int64 (n, 3), of `HueShift`.
        targets: int64 (n, 3), of `HueShift`.
        shift: float32 (3,), of each channel.
        scale: float32 (3,), of each channel.
        out: float32 (n, 3, H, W), C-contiguous.
    """
    num_images, _, height, width = out.shape
    num_steps = operations.shape[1]
    rows, scratch = np.empty((3, width), np.float32), np.empty((3, width), np.float32)
    pixels = np.empty(3 * width, np.float32)
    for image in range(num_images):
        frame, steps, by, result = frames[image], operations[image], factors[image], out[image]
        turn, gray_mean = _place_of(CONTRAST, steps), _ZERO
        if turn >= 0:  # a contrast needs the mean of the image after the operations before it
            sums = np.zeros(width, np.float64)
            for y in range(height):
                _load(frame, y, is_channels_last, flips[image], rows, pixels)
                for step in range(turn):
                    _adjust(rows, steps[step], by[step], gray_mean, sources[image], targets[image], scratch)
                _gray(rows, scratch[0])
                _add(scratch[0], sums)
                for channel in range(3):
                    _copy(rows[channel], result[channel, y])
            gray_mean = np.float32(sums.sum() / (height * width))
        for y in range(height):
            if turn >= 0:
                for channel in range(3):
                    _copy(result[channel, y], rows[channel])
            else:
                _load(frame, y, is_channels_last, flips[image], rows, pixels)
            for step in range(max(turn, 0), num_steps):
                _adjust(rows, steps[step], by[step], gray_mean, sources[image], targets[image], scratch)
            for channel in range(3):
                _finish(rows[channel], shift[channel], scale[channel], result[channel, y])


@compiled
def _place_of(operation: int, steps: Numbers) -> int:
    """-1 if it is not there."""
    for place in range(steps.size):
        if steps[place] == operation:
            return place
    return -1


@compiled
def _load(
    frame: npt.NDArray[np.generic],
    y: int,
    is_channels_last: bool,
    is_flipped: bool,
    rows: Floats,
    pixels: Floats,
) -> None:
    """Rows `y` of a frame, (3, W). `pixels` is scratch, (3 W,)."""
    width = rows.shape[1]
    if is_channels_last:
        first = y * pixels.size
        # Levels are converted before they are parted, which is three times as fast as both at once.
        for place in range(pixels.size):
            pixels[place] = frame[first + place]
        for x in range(width):
            rows[0, x] = pixels[3 * x]
            rows[1, x] = pixels[3 * x + 1]
            rows[2, x] = pixels[3 * x + 2]
    else:
        height = frame.size // pixels.size
        for channel in range(3):
            first = (channel * height + y) * width
            for x in range(width):
                rows[channel, x] = frame[first + x]
    if is_flipped:
        for channel in range(3):
            for x in range(width // 2):
                mirrored = width - 1 - x
                rows[channel, x], rows[channel, mirrored] = rows[channel, mirrored], rows[channel, x]


@compiled
def _copy(source: Floats, target: Floats) -> None:
    """As `target[:] = source`, which numba makes a slow loop of."""
    for x in range(source.size):
        target[x] = source[x]


@compiled
def _finish(row: Floats, shift: np.float32, scale: np.float32, out: Floats) -> None:
    for x in range(row.size):
        out[x] = (row[x] - shift) / scale


@compiled
def _adjust(
    rows: Floats,
    operation: int,
    factor: np.float32,
    gray_mean: np.float32,
    sources: Numbers,
    targets: Numbers,
    scratch: Floats,
) -> None:
    """Adjust the rows (3, W) of one image; `scratch` is (3, W), too."""
    if operation == BRIGHTNESS:
        for channel in range(3):
            _adjust_brightness(rows[channel], factor)
    elif operation in (CONTRAST, SATURATION):
        gray = scratch[0]
        if operation == CONTRAST:
            gray[:] = gray_mean
        else:
            _gray(rows, gray)
        for channel in range(3):
            _blend(rows[channel], gray, factor)
    elif operation == HUE:
        _turn_hue(
            rows[sources[0]], rows[sources[1]], rows[sources[2]], factor, scratch[0], scratch[1], scratch[2]
        )
        for channel in range(3):
            _copy(scratch[channel], rows[targets[channel]])


@compiled
def _adjust_brightness(row: Floats, factor: np.float32) -> None:
    for x in range(row.size):
        row[x] = _clamp(row[x] * factor, _ZERO, _WHITE)


@compiled
def _gray(rows: Floats, gray: Floats) -> None:
    for x in range(gray.size):
        gray[x] = rows[0, x] * _RED + rows[1, x] * _GREEN + rows[2, x] * _BLUE


@compiled
def _add(row: Floats, sums: npt.NDArray[np.float64]) -> None:
    for x in range(row.size):
        sums[x] += row[x]


@compiled
def _blend(row: Floats, gray: Floats, factor: np.float32) -> None:
    rest = _ONE - factor
    for x in range(row.size):
        row[x] = _clamp(row[x] * factor + gray[x] * rest, _ZERO, _WHITE)


@compiled
def _turn_hue(
    reds: Floats,
    greens: Floats,
    blues: Floats,
    sextants: np.float32,
    new_reds: Floats,
    new_greens: Floats,
    new_blues: Floats,
) -> None:
    """`turn_hue` of `colour_jitter`, which has the formula, for a row; the new values lie elsewhere."""
    for x in range(reds.size):
        red, green, blue = reds[x], greens[x], blues[x]
        first = red if red < green else green
        second = green if red < green else red
        low = first if first < blue else blue
        high = second if second > blue else blue
        middle = _clamp(blue, first, second)
        swing = (high - low) * sextants
        new_reds[x] = _clamp(math.copysign(swing, blue - green) - middle + red * _TWO, low, high)
        new_greens[x] = _clamp(math.copysign(swing, red - blue) - middle + green * _TWO, low, high)
        new_blues[x] = _clamp(math.copysign(swing, green - red) - middle + blue * _TWO, low, high)


@compiled
def _clamp(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    above = value if value > low else low
    return above if above < high else high
