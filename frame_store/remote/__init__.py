"""Object stores and web servers: addresses, requests with retries, and folders of what was downloaded."""

from frame_store.remote.cache import RemoteCache, default_folder
from frame_store.remote.download import Downloaded, WantedObject, download_objects
from frame_store.remote.folder import BoundedFolder
from frame_store.remote.held_file import HeldFile
from frame_store.remote.mirror import Mirror, MirroredFile
from frame_store.remote.request_threads import RequestThreads
from frame_store.remote.requests import (
    Connections,
    ObjectClient,
    RemoteObject,
    RemoteUrl,
    RetryPolicy,
    is_url,
)
from frame_store.remote.shards import FolderWarning, ShardFeed, ShardFolder, ShardObject

__all__ = [
    "BoundedFolder",
    "Connections",
    "Downloaded",
    "FolderWarning",
    "HeldFile",
    "Mirror",
    "MirroredFile",
    "ObjectClient",
    "RemoteCache",
    "RemoteObject",
    "RemoteUrl",
    "RequestThreads",
    "RetryPolicy",
    "ShardFeed",
    "ShardFolder",
    "ShardObject",
    "WantedObject",
    "default_folder",
    "download_objects",
    "is_url",
]
