"""Orders of an epoch: pure functions from (seed, epoch, position) to frame ids."""

from loader.sampling.orders.base import EpochOrder, Int64s, check_shard_sizes
from loader.sampling.orders.blocks import frames_per_block
from loader.sampling.orders.epoch import epoch_order, order_over
from loader.sampling.orders.random_words import (
    Words,
    draw_without_replacement,
    epoch_keys,
    integers_below,
    unit_floats,
    words_at,
)

__all__ = [
    "EpochOrder",
    "Int64s",
    "Words",
    "check_shard_sizes",
    "draw_without_replacement",
    "epoch_keys",
    "epoch_order",
    "frames_per_block",
    "integers_below",
    "order_over",
    "unit_floats",
    "words_at",
]
