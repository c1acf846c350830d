"""Shards that are downloaded as a whole: which, when, in parts, and into a bounded folder."""

from frame_store.remote.shards.feed import ShardFeed, ShardObject
from frame_store.remote.shards.shard_folder import FolderWarning, ShardFolder

__all__ = ["FolderWarning", "ShardFeed", "ShardFolder", "ShardObject"]
