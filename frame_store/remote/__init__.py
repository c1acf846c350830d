"""Object stores and web servers: addresses, requests with retries, and folders of what was downloaded."""

from frame_store.remote.client import ObjectClient, RemoteObject
from frame_store.remote.download import Downloaded, WantedObject, download_objects
from frame_store.remote.retries import RetryPolicy
from frame_store.remote.url import RemoteUrl, is_url

__all__ = [
    "Downloaded",
    "ObjectClient",
    "RemoteObject",
    "RemoteUrl",
    "RetryPolicy",
    "WantedObject",
    "download_objects",
    "is_url",
]
