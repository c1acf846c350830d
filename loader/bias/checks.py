"""Array types of this room, and checks of what formulas are given."""

import operator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from loader.errors import SamplingError

Reals: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]


def check_distribution(probabilities: npt.ArrayLike) -> Reals:
    """A list of probabilities as a flat float64 array.

    Raises:
        SamplingError: it is not flat, a number in it is negative, or the sum is not 1.
    """
    checked = np.asarray(probabilities, np.float64)
    if checked.ndim != 1 or not checked.size or not (checked >= 0).all():
        raise SamplingError(f"expected a flat list of probabilities, found {checked!r}")
    if abs(checked.sum() - 1) > 1e-9:
        raise SamplingError(f"probabilities must sum to 1, found the sum {checked.sum()}")
    return checked


def check_probability(kappa: float) -> None:
    """Refuse a kappa outside [0, 1].

    Raises:
        SamplingError: kappa is not a probability.
    """
    if not 0 <= kappa <= 1:
        raise SamplingError(f"kappa is a probability, found {kappa}")


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch without slots.

    Raises:
        SamplingError: batch_size is below 1.
    """
    if operator.index(batch_size) < 1:
        raise SamplingError(f"batch_size must be 1 or more, found {batch_size}")
