"""Principal axes in whole numbers, with the same bits on every machine.

A product of matrices sums in an order that differs between libraries and processors. Here every factor is a whole
number, and every sum stays below 2^53: float64 then holds each partial sum exactly, so that the order does not matter.
Between products the numbers are scaled, rounded to whole ones, by single operations that IEEE 754 defines to the bit.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
"""Whole numbers in float64."""

_MATRIX_BITS: Final = 24
_VECTOR_BITS: Final = 20
"""A product of both, summed over up to 2^8 terms, stays below 2^53."""

MAX_SIDE: Final = 256


def whole_covariance(matrices: npt.NDArray[np.int64]) -> Reals:
    """Covariance matrices scaled by a power of two each, so that they are whole numbers of at most 24 bits.

    Args:
        matrices: int64, shape (..., D, D), symmetric, with the largest number of each on its diagonal.
    """
    largest = np.abs(matrices).max(axis=(-2, -1), keepdims=True).astype(np.float64)
    exponents = np.frexp(largest)[1]
    scaled: Reals = np.rint(np.ldexp(matrices.astype(np.float64), _MATRIX_BITS - exponents))
    return scaled


def whole_vectors(vectors: Reals, *, bits: int = _VECTOR_BITS) -> Reals:
    """Vectors scaled so that the largest number of each is 2^bits, and rounded. Vectors of zeros stay.

    Args:
        vectors: shape (..., D, P): vectors are columns.
        bits: at most 20.
    """
    largest = np.abs(vectors).max(axis=-2, keepdims=True)
    return np.rint(vectors / np.maximum(largest, 1.0) * float(1 << bits)) if bits else np.sign(vectors)


def leading_axes(covariance: npt.NDArray[np.int64], num_axes: int, *, num_rounds: int = 50) -> Reals:
    """The axes along which a population varies most, by subspace iteration.

    The axes are orthogonal up to rounding, the widest first. Every axis that is wider than the others by a tenth is
    found to the last bit that the rounding keeps; where two are equally wide, any two of their plane may come.

    Args:
        covariance: int64, shape (D, D), D at most 256.
        num_axes: at most D.
        num_rounds: products with the matrix.

    Returns:
        Shape (D, num_axes), scaled as `whole_vectors` scales them.
    """
    side = len(covariance)
    assert side <= MAX_SIDE
    matrix = whole_covariance(covariance)
    num_tried = min(side, num_axes + 4)  # four more than needed: the last ones wanted then settle, too
    axes = whole_vectors(_scattered(side, num_tried))
    for _ in range(num_rounds):
        axes = _orthogonal(whole_vectors(matrix @ axes))
    return axes[:, :num_axes]


def widest_axes(covariances: npt.NDArray[np.int64], *, num_rounds: int) -> Reals:
    """The widest axis of each of many populations, by power iteration.

    Args:
        covariances: int64, shape (G, P, P), P at most 256.
        num_rounds: products with the matrices.

    Returns:
        Shape (G, P), scaled as `whole_vectors` scales them; zeros where a population does not vary.
    """
    matrices = whole_covariance(covariances)
    widest = np.argmax(np.diagonal(matrices, axis1=1, axis2=2), axis=1)
    vectors = np.take_along_axis(matrices, widest[:, None, None], axis=2)
    for _ in range(num_rounds):
        vectors = matrices @ whole_vectors(vectors)
    return whole_vectors(vectors)[:, :, 0]


def _orthogonal(axes: Reals) -> Reals:
    """Gram-Schmidt, column after column; whole numbers again."""
    made: list[Reals] = []
    for column in axes.T:
        vector = column
        for other in made:
            length = float((other * other).sum())  # exact: at most 2^48
            if length:
                vector = vector - other * (float((other * vector).sum()) / length)
                vector = whole_vectors(vector[:, None])[:, 0]
        made.append(vector)
    return np.stack(made, axis=1)


def _scattered(side: int, num_axes: int) -> Reals:
    """Fixed numbers without a pattern, between -1 and 1 (a multiplicative hash of the position)."""
    words = np.arange(1, side * num_axes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (words >> np.uint64(11)).astype(np.float64).reshape(side, num_axes) * 2.0**-52 - 1.0


def as_whole(values: Any) -> npt.NDArray[np.int64]:  # noqa: ANN401 - an array of whole numbers
    """int64 of whole numbers in float64."""
    return np.asarray(values).astype(np.int64)
