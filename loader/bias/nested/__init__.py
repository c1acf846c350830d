"""The law of nested orders: what is left of the variance where neighbouring positions are spread (`stratified`)."""

from loader.bias.nested.batch_effects import NestedEffect, nested_design_effect, weighted_nested_effect
from loader.bias.nested.mixture import (
    level_shares,
    levels_of_run,
    mixed_design_effect,
    mixture_weights,
    odd_counts,
)
from loader.bias.nested.pair_distances import (
    can_sum_batches,
    is_power_of_two,
    limit_pair_chi2,
    mean_distances,
    nested_pair_chi2,
    worst_nested_effect,
)
from loader.bias.nested.shares import circular_autocovariance, shares_left, shares_left_of_arcs
from loader.bias.nested.tree_runs import RunOfTree, TreeRuns, run_distance_law

__all__ = [
    "NestedEffect",
    "RunOfTree",
    "TreeRuns",
    "can_sum_batches",
    "circular_autocovariance",
    "is_power_of_two",
    "level_shares",
    "levels_of_run",
    "limit_pair_chi2",
    "mean_distances",
    "mixed_design_effect",
    "mixture_weights",
    "nested_design_effect",
    "nested_pair_chi2",
    "odd_counts",
    "run_distance_law",
    "shares_left",
    "shares_left_of_arcs",
    "weighted_nested_effect",
    "worst_nested_effect",
]
