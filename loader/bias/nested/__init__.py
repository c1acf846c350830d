"""The law of nested orders: what is left of the variance where neighbouring positions are spread (`stratified`)."""

from loader.bias.nested.mixture import levels_of_run, mixed_design_effect, mixture_weights, odd_counts
from loader.bias.nested.shares import circular_autocovariance, shares_left, shares_left_of_arcs
from loader.bias.nested.tree_runs import RunOfTree, TreeRuns, run_distance_law

__all__ = [
    "RunOfTree",
    "TreeRuns",
    "circular_autocovariance",
    "levels_of_run",
    "mixed_design_effect",
    "mixture_weights",
    "odd_counts",
    "run_distance_law",
    "shares_left",
    "shares_left_of_arcs",
]
