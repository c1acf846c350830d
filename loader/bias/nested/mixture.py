"""The design effect of a run of positions of a nested order, as a mixture over its halvings (SAMPLING.md).

Positions that are equal modulo 2^j lie in one stretch of N / 2^j neighbouring places. The positions of a run that are
alone in their stretch are spread over all of the circle, and two that share one are spread inside it. How many there
are of each depends on the length of the run alone.
"""

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Integers, Reals, check_batch_size
from loader.errors import SamplingError


def levels_of_run(num_positions: int) -> int:
    """The least j with 2^j >= M: after so many halvings every position of a run of M has a stretch of its own.

    >>> levels_of_run(128), levels_of_run(129)
    (7, 8)
    """
    check_batch_size(num_positions)
    return (num_positions - 1).bit_length()


def odd_counts(num_positions: int) -> Integers:
    """O_j, the residues modulo 2^j that an odd number of M neighbouring positions have (S64), for j from 0 on.

    int64, shape (J + 1,), J = `levels_of_run`. It does not depend on where the run begins. The last is M.

    >>> odd_counts(6).tolist()
    [0, 2, 2, 6]

    Raises:
        SamplingError: no position.
    """
    counts = []
    for halvings in range(levels_of_run(num_positions) + 1):
        each, rest = divmod(num_positions, 1 << halvings)
        counts.append(rest if each % 2 == 0 else (1 << halvings) - rest)
    return np.array(counts, np.int64)


def mixture_weights(num_positions: int) -> Reals:
    """c_j = (O_j - O_(j-1)) / M, what each halving contributes to the design effect of M positions (S64).

    float64, shape (J + 1,), J = `levels_of_run`. No weight is negative, and their sum is 1. A run of 2^J positions has
    c_J = 1 alone.

    >>> mixture_weights(3).tolist() == [1 / 3, 0, 2 / 3]
    True

    Raises:
        SamplingError: no position.
    """
    return np.diff(odd_counts(num_positions), prepend=0) / num_positions


def level_shares(num_positions: int) -> Reals:
    """Share of the pairs of M neighbouring positions whose difference is an odd multiple of 2^v, for v = 0, 1, ...

    Such a pair lies in the two halves of one node of level v. float64, shape (J,), J = `levels_of_run`. It does not
    depend on where the run begins, and is the same for points of spread visits.

    >>> level_shares(4).round(3).tolist()
    [0.667, 0.333]

    Raises:
        SamplingError: no position.
    """
    squares = []
    for level in range(levels_of_run(num_positions) + 1):
        each, rest = divmod(num_positions, 1 << level)
        squares.append(rest * (each + 1) ** 2 + ((1 << level) - rest) * each**2)
    shares: Reals = -np.diff(np.array(squares, np.float64)) / max(1, num_positions * (num_positions - 1))
    return shares


def mixed_design_effect(shares: npt.ArrayLike, *, num_positions: int) -> float:
    """Design effect of M neighbouring positions, sum_j c_j w_j (S64).

    `shares`, shape (J + 1,) or longer, has w_j, the share of the variance that is left inside stretches of a 2^j-th of
    the circle. Exact for N = 2^m frames, and for points on a continuous circle.

    >>> mixed_design_effect([1.0, 0.5, 0.25], num_positions=4)
    0.25

    Raises:
        SamplingError: no position, or too few shares.
    """
    weights, left = mixture_weights(num_positions), np.asarray(shares, np.float64)
    if len(left) < len(weights):
        raise SamplingError(
            f"expected {counted(len(weights), 'share')} for a run of {counted(num_positions, 'position')}, "
            f"found {len(left)}"
        )
    return float(weights @ left[: len(weights)])
