"""Orders of an epoch: pure functions from (seed, epoch, position) to frame ids."""

from loader.sampling.orders.base import EpochOrder, Int64s, check_shard_sizes
from loader.sampling.orders.blocks import frames_per_block
from loader.sampling.orders.epoch import epoch_order, order_over
from loader.sampling.orders.nested import NestedOrder, NestedTree
from loader.sampling.orders.random_words import (
    Words,
    draw_without_replacement,
    epoch_keys,
    integers_below,
    unit_floats,
    words_at,
)
from loader.sampling.orders.shard_visits import ShortShards, draws_again, short_shards_text
from loader.sampling.orders.spread_points import scaled_down, spread_points
from loader.sampling.orders.strata import StratumOrder
from loader.sampling.orders.weighted import Stretches, WeightedFrames

__all__ = [
    "EpochOrder",
    "Int64s",
    "NestedOrder",
    "NestedTree",
    "ShortShards",
    "StratumOrder",
    "Stretches",
    "WeightedFrames",
    "Words",
    "check_shard_sizes",
    "draw_without_replacement",
    "draws_again",
    "epoch_keys",
    "epoch_order",
    "frames_per_block",
    "integers_below",
    "order_over",
    "scaled_down",
    "short_shards_text",
    "spread_points",
    "unit_floats",
    "words_at",
]
