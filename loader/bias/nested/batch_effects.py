"""Design effect of the batches of a nested order, from the features of all frames in the order of the circle."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Reals
from loader.bias.nested.mixture import levels_of_run, mixed_design_effect
from loader.bias.nested.pair_distances import (
    batch_distances,
    is_power_of_two,
    some_batches,
)
from loader.bias.nested.shares import circular_autocovariance, shares_left, shares_left_of_arcs
from loader.errors import SamplingError

_LEAST_BATCHES: Final = 16
"""Batches that are drawn if those of an epoch are too many to sum."""


@dataclass(frozen=True, kw_only=True)
class NestedEffect:
    """The design effect of a batch, in the mean over the batches of an epoch."""

    design_effect: float
    standard_error: float
    """0 if the design effect is exact. Else that of a mean over batches of the epoch, drawn without replacement. Each
    of these batches has its exact design effect, over all orders."""
    batches_summed: int
    """Batches whose design effect was computed."""
    num_batches: int
    """Batches of the epoch."""


def nested_design_effect(features_in_order: Reals, *, batch_size: int, num_batches: int) -> NestedEffect:
    """Design effect of M neighbouring positions of a nested order, in the mean over an epoch's batches (S64), (S65).

    For N = 2^m frames all batches have the same one, sum_j c_j w_j. For other N it is exact if N times the number of
    batches is small enough (`can_sum_batches`), and else a mean over some of the batches.

    Args:
        features_in_order: a row for each place of the circle, shape (N, D).
        batch_size: M, at most N.
        num_batches: batches of an epoch. Batch b has the positions from b M on; one that passes the last position goes
            on at the first.

    Raises:
        SamplingError: more slots than frames, no batch, or all frames are alike.
    """
    num_items = len(features_in_order)
    if num_batches < 1:
        raise SamplingError(f"no whole batch of {batch_size} in an epoch of {num_items}")
    if is_power_of_two(num_items) and batch_size <= num_items:
        shares = shares_left(features_in_order, num_levels=levels_of_run(batch_size))
        effect = mixed_design_effect(shares, num_positions=batch_size)
        return NestedEffect(
            design_effect=effect, standard_error=0.0, batches_summed=num_batches, num_batches=num_batches
        )
    by_lag = circular_autocovariance(features_in_order)
    if by_lag[0] <= 0:
        raise SamplingError("all frames are equal: there is no variance to divide")
    batches = some_batches(num_items, num_batches=num_batches, at_least=_LEAST_BATCHES)
    correlations = by_lag / by_lag[0]
    effects = np.array(
        [
            1 + float(distances @ correlations) / batch_size
            for distances in batch_distances(num_items, batch_size=batch_size, batches=batches)
        ]
    )
    error, left_out = 0.0, 1 - len(batches) / num_batches
    if left_out:
        error = float(effects.std(ddof=1)) * math.sqrt(left_out / len(batches))
    return NestedEffect(
        design_effect=max(0.0, float(effects.mean())),
        standard_error=error,
        batches_summed=len(batches),
        num_batches=num_batches,
    )


def weighted_nested_effect(target: npt.ArrayLike, features_in_order: Reals, *, batch_size: int) -> float:
    """Design effect of M neighbouring spread draws under weights, against M independent draws of the target (S67).

    Exact. `target`, shape (N,), has the probability of the frame at each place of the circle, and `features_in_order`,
    shape (N, D), its features.

    Raises:
        SamplingError: not a distribution over the frames, or all frames that it draws are alike.
    """
    shares = shares_left_of_arcs(target, features_in_order, num_levels=levels_of_run(batch_size))
    return mixed_design_effect(shares, num_positions=batch_size)
