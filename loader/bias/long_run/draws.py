"""What a position of an order draws: a frame, or the window around it; by features of which few columns are kept."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Reals
from loader.bias.distributions import WindowsOfVideos, offsets_of
from loader.sampling.orders import epoch_keys, words_at

KEPT_AXES: Final = 48
RANDOM_AXES: Final = 16
_SMALLEST_AXIS: Final = 1e-10
"""Axes of less than this share of the largest one are left to the random directions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """The features of all frames or windows that a position may draw."""

    centred: Reals
    """By id, minus the mean that a position draws: shape (N, D)."""
    variance: float
    """Mean square length of what is drawn, minus its mean."""
    reference: float
    """What stands for sigma^2: the variance of the frames that are shown, divided by the slots of a window (S62)."""
    differ: bool
    """Whether not all frames that are shown are alike."""

    @classmethod
    def of(
        cls, features: Reals, *, windows: WindowsOfVideos | None = None, target: Reals | None = None
    ) -> "Draws":
        """Of `features`, shape (N, D), of each frame id.

        `windows` are shown around the frames that are drawn. `target`, shape (N,), has the probability of each frame
        under weights; None draws every frame, or window, alike.
        """
        shares = np.full(len(features), 1 / len(features)) if target is None else target
        slots, drawn = 1, features
        if windows is not None:
            slots = len(offsets_of(windows.spec))
            drawn, times = windows.means(features)
            shares = times / times.sum()
        centred = features - shares @ features
        reference = float(shares @ np.square(centred).sum(axis=1)) / slots
        differ = bool(np.ptp(features[shares > 0], axis=0).any())
        variance = reference
        if windows is not None:
            centred = drawn - drawn.mean(axis=0)
            variance = float(np.square(centred).sum(axis=1).mean())
        return cls(centred=centred, variance=variance, reference=reference, differ=differ)

    @cached_property
    def few_columns(self) -> tuple[npt.NDArray[np.float32], int]:
        """`centred` in at most 64 columns, and how many of them, the last ones, are sums over random directions.

        Of more columns, 48 axes along which the rows vary most are kept, and 16 random directions stand for what is
        left: sums of squares over them are right in the mean.
        """
        num_columns = self.centred.shape[1]
        if num_columns <= KEPT_AXES + RANDOM_AXES:
            return self.centred.astype(np.float32), 0
        signs = _signs(num_columns, KEPT_AXES + RANDOM_AXES)
        axes = signs[:, :KEPT_AXES]
        for _ in range(2):  # steps of a subspace iteration; any axes would do, these leave little to chance
            axes = _orthonormal(self.centred.T @ (self.centred @ axes))
        directions = signs[:, KEPT_AXES:] / np.sqrt(RANDOM_AXES)
        kept = self.centred @ axes
        rest = self.centred @ directions - kept @ (axes.T @ directions)
        return np.concatenate([kept, rest], axis=1).astype(np.float32), RANDOM_AXES


def _orthonormal(vectors: Reals) -> Reals:
    """An orthonormal basis of the columns of (D, k), by the eigenvectors of their k x k products."""
    vectors = vectors / np.abs(vectors).max()
    lengths, turns = np.linalg.eigh(vectors.T @ vectors)
    held = lengths > _SMALLEST_AXIS * lengths[-1]
    basis: Reals = vectors @ turns[:, held] / np.sqrt(lengths[held])
    return basis


def _signs(num_rows: int, num_columns: int) -> Reals:
    """-1 and 1 at random, the same in every run: shape (num_rows, num_columns), at most 64 columns."""
    (key,) = epoch_keys(seed=0, epoch=0, num_keys=1)
    words = words_at(key, np.arange(num_rows, dtype=np.uint64))
    bits = (words[:, None] >> np.arange(num_columns, dtype=np.uint64)) & np.uint64(1)
    return 1.0 - 2.0 * bits
