"""The long-run design effect of any order, over simulated epochs of the real sampler (S43)."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Reals
from loader.bias.long_run.closed import check_horizon
from loader.bias.long_run.draws import Draws
from loader.sampling import BatchPlan

ROWS: Final = 1 << 20
"""Frames that the simulated orders show together, unless the least number of orders shows more."""
FEWEST_ORDERS: Final = 16
MOST_ORDERS: Final = 128


class Simulated(NamedTuple):
    """The noise v over simulated orders, and its standard error."""

    noise: float
    standard_error: float
    num_orders: int


def num_orders_of(num_frames: int) -> int:
    """Orders to simulate: 2^20 / N, at least 16 and at most 128; a function of N alone."""
    return min(MOST_ORDERS, max(FEWEST_ORDERS, ROWS // max(1, num_frames)))


def simulated_long_run(plan: BatchPlan, draws: Draws, *, horizon: float) -> Simulated:
    """v over the epochs 0, 1, ... of `plan`, whose batches are those of all ranks together.

    The spread over random directions (`Draws.few_columns`) is a part of the standard error.
    """
    a = check_horizon(horizon)
    features, num_random = draws.few_columns
    by_order = np.array(
        [_noise_of_columns(plan, features, epoch, a) for epoch in range(num_orders_of(plan.num_positions))]
    )
    totals = by_order.sum(axis=1)
    variance = float(totals.var(ddof=1)) / len(totals)
    if num_random:
        variance += num_random * float(by_order[:, -num_random:].mean(axis=0).var(ddof=1))
    return Simulated(max(0.0, float(totals.mean())), float(np.sqrt(variance)), len(totals))


def batch_means(plan: BatchPlan, features: npt.NDArray[np.floating], epoch: int) -> Reals:
    """The mean of each batch of an epoch, float64 of shape (T, D)."""
    return np.stack([features[ids].mean(axis=0, dtype=np.float64) for ids in plan.batches(epoch)])


def _noise_of_columns(plan: BatchPlan, features: npt.NDArray[np.float32], epoch: int, a: float) -> Reals:
    """(1 / T) sum_pq a^|p - q| m_p m_q of each column, shape (D,)."""
    total = carried = np.zeros(features.shape[1])
    num_steps = 0
    for ids in plan.batches(epoch):
        mean = features[ids].mean(axis=0, dtype=np.float64)
        total = total + mean * (mean + 2 * carried)
        carried = a * (carried + mean)
        num_steps += 1
    return total / num_steps
