"""Requests to object stores and web servers: addresses, clients, retries and what failures mean."""

from frame_store.remote.requests.client import ObjectClient
from frame_store.remote.requests.connections import Connections
from frame_store.remote.requests.listing import RemoteObject
from frame_store.remote.requests.retries import RetryPolicy
from frame_store.remote.requests.url import RemoteUrl, is_url

__all__ = ["Connections", "ObjectClient", "RemoteObject", "RemoteUrl", "RetryPolicy", "is_url"]
