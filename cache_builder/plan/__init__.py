"""Which frames are kept, which packets are decoded together, which shard gets which frame. Pure functions."""

from cache_builder.plan.cutting import Cut, cut_file
from cache_builder.plan.selection import Selection, make_selection
from cache_builder.plan.shards import ShardPlan, plan_shards
from cache_builder.plan.units import DecodeUnit, plan_units

__all__ = [
    "Cut",
    "DecodeUnit",
    "Selection",
    "ShardPlan",
    "cut_file",
    "make_selection",
    "plan_shards",
    "plan_units",
]
