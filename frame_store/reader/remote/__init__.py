"""Caches in object stores: how they are opened, and how their payloads are read by ranges."""

from frame_store.reader.remote.shards import RemoteShards
from frame_store.reader.remote.trees import remote_cache, remote_tree, remote_trees

__all__ = ["RemoteShards", "remote_cache", "remote_tree", "remote_trees"]
