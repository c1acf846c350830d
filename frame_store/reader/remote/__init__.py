"""Caches in object stores: how they are opened, and how their payloads are read by ranges."""

from frame_store.reader.remote.shards import FRAMES_AHEAD, RemoteShards
from frame_store.reader.remote.trees import remote_cache, remote_tree, remote_trees

__all__ = ["FRAMES_AHEAD", "RemoteShards", "remote_cache", "remote_tree", "remote_trees"]
