"""Which frames are kept, which packets are decoded together, which shard gets which frame. Pure functions."""

from cache_builder.plan.claims import ClaimedFrames, claimed_frames, claimed_seconds
from cache_builder.plan.cutting import Cut, cut_file
from cache_builder.plan.episode_frames import kept_of_episode, kept_of_file
from cache_builder.plan.native_size import other_size_error, resolved_geometry
from cache_builder.plan.selection import Selection, make_selection
from cache_builder.plan.shards import ShardPlan, plan_shards
from cache_builder.plan.units import DecodeUnit, plan_units

__all__ = [
    "ClaimedFrames",
    "Cut",
    "DecodeUnit",
    "Selection",
    "ShardPlan",
    "claimed_frames",
    "claimed_seconds",
    "cut_file",
    "kept_of_episode",
    "kept_of_file",
    "make_selection",
    "other_size_error",
    "plan_shards",
    "plan_units",
    "resolved_geometry",
]
