"""Long-run design effects that have a formula (S43)."""

import operator
from collections.abc import Callable

import numpy as np

from frame_store.shared import counted
from loader.bias.checks import Reals, check_batch_size
from loader.errors import SamplingError

NEGLIGIBLE = 1e-16
"""Weights a^j below it are left out of a sum."""


def check_horizon(horizon: float) -> float:
    """a = 1 - 1/H.

    Raises:
        SamplingError: H is below one step, or not a number.
    """
    if not 1 <= horizon < float("inf"):
        raise SamplingError(f"horizon is a number of steps, 1 or more, found {horizon}")
    return 1 - 1 / horizon


def permutation_long_run(
    num_frames: int,
    *,
    batch_size: int,
    num_steps: int,
    horizon: float,
    last_batch: int | None = None,
    doubled: int = 0,
) -> float:
    """Long-run design effect of a permutation of N frames in T steps of B (S43): the same for all data.

    Two batches that share c frames have the covariance sigma^2 / (N - 1) (N c / (B B') - 1). So

        v = sigma^2 / (N - 1) / T sum_pq a^|p - q| (N c_pq / (B_p B_q) - 1),

    and the result is B v / sigma^2. Batches of one epoch share no frame, but for the last one where `doubled` positions
    of it are those that the epoch began with (`pad`). `last_batch` is its number of frames; None is B.

    Raises:
        SamplingError: no frames, no step, or a horizon below 1.
    """
    check_batch_size(batch_size)
    if operator.index(num_frames) < 1 or operator.index(num_steps) < 1:
        raise SamplingError(f"no epoch of {counted(num_frames, 'frame')} in {counted(num_steps, 'step')}")
    a = check_horizon(horizon)
    if num_frames == 1:
        return 1.0
    last = batch_size if last_batch is None else last_batch
    overlap = (num_steps - 1) / batch_size
    if num_steps == 1:
        rounds, rest = divmod(last, num_frames)  # `pad` may show the whole epoch several times
        overlap += (rest * (rounds + 1) ** 2 + (num_frames - rest) * rounds**2) / last**2
    else:
        overlap += 1 / last
        for step in range(min(num_steps - 1, -(-doubled // batch_size))):
            shared = min(batch_size, doubled - step * batch_size)
            overlap += 2 * a ** (num_steps - 1 - step) * shared / (batch_size * last)
    together = num_frames * overlap - _sum_of_weights(a, num_steps)
    return max(0.0, batch_size * together / (num_steps * (num_frames - 1)))


def long_run_of_runs(effect_of_run: Callable[[int], float], *, num_steps: int, horizon: float) -> float:
    """Long-run design effect where every run of j batches of an epoch has the design effect `effect_of_run(j)` (S43).

    The sum of j batch means has the variance V(j) = j sigma^2 deff(j B) / B for every place of the run, so gamma_j is
    half the second difference of V. An epoch has T = `num_steps` steps.
    """
    a = check_horizon(horizon)
    reach = num_steps
    if a < 1 and a > 0:
        reach = min(num_steps, int(np.log(NEGLIGIBLE) / np.log(a)) + 2)
    variances = np.array([0.0] + [j * effect_of_run(j) for j in range(1, reach + 1)])
    lags = np.arange(1, reach)
    covariances = (variances[2:] - 2 * variances[1:-1] + variances[:-2]) / 2
    return float(variances[1] + 2 * np.sum((1 - lags / num_steps) * a**lags * covariances))


def periodic_long_run(batch_means: Reals, *, horizon: float) -> float:
    """v of an order that is the same in each epoch, around its own mean. `batch_means` has shape (T, D)."""
    a = check_horizon(horizon)
    means = batch_means - batch_means.mean(axis=0)
    carried = np.zeros(means.shape[1])
    for mean in means:
        carried = a * (carried + mean)
    carried = carried / (1 - a ** len(means))  # what all epochs before leave
    total = 0.0
    for mean in means:
        total += float(mean @ mean + 2 * mean @ carried)
        carried = a * (carried + mean)
    return total / len(means)


def _sum_of_weights(a: float, num_steps: int) -> float:
    """sum_pq a^|p - q| over the steps p, q of an epoch."""
    if a == 0:
        return float(num_steps)
    reach = min(num_steps, int(np.log(NEGLIGIBLE) / np.log(a)) + 2)
    lags = np.arange(1, reach)
    return num_steps + 2 * float(np.sum((num_steps - lags) * a**lags))
