"""Pairs of frames in a batch: how often they share a shard (kappa), and which pairs meet (chi2)."""

from loader.bias.pairs.block_lags import BlockLags, lags_of_blocks
from loader.bias.pairs.block_variance import block_design_effect, can_average_orders, circle_autocovariance
from loader.bias.pairs.chi2 import PairChi2, pair_chi2, pair_chi2_of_classes
from loader.bias.pairs.kappa import (
    block_kappa,
    iid_kappa,
    kappa_of_lags,
    permutation_kappa,
    sequential_kappa,
    visit_kappa,
    visit_shard_kappa,
)
from loader.bias.pairs.slots import same_place_share
from loader.bias.pairs.worst_block import worst_block_effect

__all__ = [
    "BlockLags",
    "PairChi2",
    "block_design_effect",
    "block_kappa",
    "can_average_orders",
    "circle_autocovariance",
    "iid_kappa",
    "kappa_of_lags",
    "lags_of_blocks",
    "pair_chi2",
    "pair_chi2_of_classes",
    "permutation_kappa",
    "same_place_share",
    "sequential_kappa",
    "visit_kappa",
    "visit_shard_kappa",
    "worst_block_effect",
]
