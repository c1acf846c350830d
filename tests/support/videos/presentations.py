"""How pictures are to be shown, and the effect of a display matrix, by the arithmetic of ISO/IEC 14496-12 alone."""

from fractions import Fraction

import numpy as np

from cache_builder.video.picture.geometry import WHOLE_PICTURE, ContainerCrop, Presentation
from cache_builder.video.picture.orientation import Orientation

ORIENTATIONS = tuple(
    Orientation(is_mirrored=is_mirrored, num_quarter_turns=turns)
    for is_mirrored in (False, True)
    for turns in range(4)
)

ONE = 1 << 16

SYMMETRIES = {
    "as stored": (ONE, 0, 0, ONE),
    "quarter turn clockwise": (0, ONE, -ONE, 0),
    "half turn": (-ONE, 0, 0, -ONE),
    "quarter turn counter-clockwise": (0, -ONE, ONE, 0),
    "left and right exchanged": (-ONE, 0, 0, ONE),
    "top and bottom exchanged": (ONE, 0, 0, -ONE),
    "rows and columns exchanged": (0, ONE, ONE, 0),
    "rows and columns exchanged, across": (0, -ONE, -ONE, 0),
}
"""(a, b, c, d) of the eight ways to show a rectangle."""


def matrix_of(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    """The nine numbers of a display matrix."""
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def presentation(
    rotation: int = 0,
    sar: Fraction | None = None,
    *,
    is_mirrored: bool = False,
    crop: ContainerCrop = WHOLE_PICTURE,
) -> Presentation:
    """Turned by `rotation` degrees counter-clockwise, a multiple of 90."""
    return Presentation(
        crop=crop,
        orientation=Orientation(is_mirrored=is_mirrored, num_quarter_turns=rotation // 90 % 4),
        sample_aspect_ratio=sar,
    )


def show_by_matrix(picture: np.ndarray, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Move each pixel of a picture (H, W, ...) to x' = a x + c y, y' = b x + d y, numbers in 16.16."""
    rows, columns = np.indices(picture.shape[:2])
    x, y = (np.rint((p * columns + q * rows) / ONE).astype(int) for p, q in ((a, c), (b, d)))
    x, y = x - x.min(), y - y.min()
    shown = np.zeros((int(y.max()) + 1, int(x.max()) + 1, *picture.shape[2:]), picture.dtype)
    shown[y, x] = picture
    return shown
