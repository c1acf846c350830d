"""Frames with values of any type of number as small pictures, and in words how values became shades."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.html import Picture, picture_of, shrunk
from frame_store.shared import counted

MOST_SIDE: Final = 112
"""Pixels of a picture's longer side, at most."""
_QUALITY: Final = 85
_THINNED: Final = 8 * MOST_SIDE
"""A frame with a longer side is thinned out to about this many pixels before means are taken."""

Pixels = npt.NDArray[Any]


def small(frame: Pixels) -> Pixels:
    """A frame (H, W, C) of any type of number with at most `MOST_SIDE` pixels a side; a copy.

    Pixels of stored frames, uint8 and uint16, keep their type. Means of other numbers are float32.
    """
    step = max(1, max(frame.shape[:2]) // _THINNED)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # sums beyond float32 become infinite, and are shown black
        shown = shrunk(frame[::step, ::step], MOST_SIDE)
    if frame.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return np.array(np.rint(shown), frame.dtype)
    return np.array(shown)


def pictures_of(frames: Sequence[Pixels]) -> tuple[list[Picture], str]:
    """Frames (H, W, C) of one type as pictures, and in words how values became shades; "" for uint8.

    C is 1 or 3. Values from 0 to 1 become black to white. All others but uint8 are scaled together: the least value of
    all small pictures is black and the greatest is white. Values that are no finite numbers are black.
    """
    shades, said = _shades([small(frame) for frame in frames])
    # Gray is written as colour: a gray JPEG of 8 bits would be one kind of picture more.
    return [
        picture_of(np.repeat(each, 3 // each.shape[2], axis=2), quality=_QUALITY) for each in shades
    ], said


def pictures_where_read(frames: Sequence[Pixels | str]) -> tuple[list[Picture | str], str]:
    """As `pictures_of`; a text, which says why a frame could not be read, stays in its place."""
    pictures, said = pictures_of([frame for frame in frames if not isinstance(frame, str)])
    following = iter(pictures)
    return [frame if isinstance(frame, str) else next(following) for frame in frames], said


def _shades(frames: Sequence[Pixels]) -> tuple[list[npt.NDArray[np.uint8]], str]:
    if not frames or frames[0].dtype == np.uint8:
        return [np.asarray(frame, np.uint8) for frame in frames], ""
    dtype = frames[0].dtype
    numbers = [frame.astype(np.float64) for frame in frames]
    finite = [frame[np.isfinite(frame)] for frame in numbers]
    num_lost = sum(frame.size - kept.size for frame, kept in zip(numbers, finite, strict=True))
    lost = f"{counted(num_lost, 'value')} not finite, shown black" if num_lost else ""
    kept = [values for values in finite if values.size]
    if not kept:
        return [np.zeros(frame.shape, np.uint8) for frame in frames], lost
    least, greatest = float(min(values.min() for values in kept)), float(max(values.max() for values in kept))
    if least >= 0 and greatest <= 1 and np.issubdtype(dtype, np.floating):
        least, greatest, said = 0.0, 1.0, "0 is black, 1 is white"
    elif least == greatest:
        said = f"every value is {least:.6g}"
    else:
        said = f"scaled to be seen: {least:.6g} is black, {greatest:.6g} is white"
    with np.errstate(over="ignore", invalid="ignore"):  # float64 from one end to the other
        span = (greatest - least) or 1.0
        shades = [np.nan_to_num((frame - least) / span, nan=0.0, posinf=0.0, neginf=0.0) for frame in numbers]
    return [np.rint(shade.clip(0, 1) * 255).astype(np.uint8) for shade in shades], "; ".join(
        filter(None, [said, lost])
    )
