"""obstore's stores of one URL: made when needed, with time-outs that fit what is moved, and anew after a break."""

import os
import re
from datetime import timedelta
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from frame_store.errors import ObjectSettingsError, ObjectStoreError
from frame_store.remote.requests.retries import RetryPolicy
from frame_store.remote.requests.url import RemoteUrl

_SMALL_BITS: Final = 22
"""Up to 4 MiB the time of an attempt is that of the policy."""
_PART_RETRIES: Final = 5
_VARIABLES_OF: Final = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_ENDPOINTS: Final = ("ENDPOINT_URL", "ENDPOINT_URL_S3", "ENDPOINT")
Kind: TypeAlias = Literal["read", "write", "parts"]
"""What requests do. A put in parts sends a part again by itself; all else is tried again by `with_retries` alone."""
Obstore: TypeAlias = Any
"""The module obstore, which may be absent."""
Store: TypeAlias = Any
"""One of its stores."""


class Connections:
    """The stores of one client, by what a request does and how many bytes it moves: a store has one time-out."""

    def __init__(self, url: RemoteUrl, policy: RetryPolicy) -> None:
        self._url, self._policy = url, policy
        self._stores: dict[tuple[int, Kind], Store] = {}
        self._obstore: Obstore = None

    def at_hand(self, num_bytes: int, kind: Kind = "read") -> tuple[Obstore, Store]:
        """The module obstore, and a store for a request that moves `num_bytes`.

        Raises:
            ObjectStoreError: this process was forked from one that uses obstore.
            ObjectSettingsError: obstore is missing, or the environment has something that it does not take.
        """
        if os.getpid() != _process_of_obstore():
            raise ObjectStoreError(
                f"{self._url.text}: this process was forked from one that had used an object store, and no request "
                "can be made here; start processes with 'spawn' or 'forkserver'"
            )
        size = max(0, (num_bytes - 1).bit_length() - _SMALL_BITS)
        store = self._stores.get((size, kind))
        if store is None:
            store = self._stores[size, kind] = self._made(self._policy.attempt_seconds * 2.0**size, kind)
        return self._obstore, store

    def forget(self, store: object) -> None:
        """Make connections anew from now on. What waits for an answer of `store` goes on waiting."""
        for key, kept in list(self._stores.items()):
            if kept is store:
                self._stores.pop(key, None)

    def _made(self, attempt_seconds: float, kind: Kind) -> Store:
        url, seconds = self._url, timedelta(seconds=attempt_seconds)
        absence = ""
        try:
            import obstore
            from obstore import store
        except ImportError as error:
            absence = str(error)
        if absence:
            raise ObjectSettingsError(
                f"{url.text}: object stores need the package obstore ({absence}): "
                "pip install 'frame-cache[remote]'"
            )
        self._obstore = obstore
        _check_endpoints(url)
        client_options: Any = {
            "allow_http": url.scheme == "http" or _may_use_http(url.scheme),
            "connect_timeout": timedelta(seconds=self._policy.connect_seconds),
            "timeout": seconds,
        }
        if kind == "read":  # it would run while a body is sent, too
            client_options["read_timeout"] = timedelta(seconds=self._policy.stall_seconds)
        retry_config: Any = {
            "max_retries": _PART_RETRIES if kind == "parts" else 0,
            "retry_timeout": seconds,
        }
        options = {"client_options": client_options, "retry_config": retry_config}
        try:
            if url.scheme == "s3":
                return store.S3Store(url.root, **options)
            if url.scheme == "gs":
                return store.GCSStore(url.root, **options)
            if url.scheme == "az":
                return store.AzureStore(url.root, **options)
            return store.HTTPStore.from_url(f"{url.scheme}://{url.root}", **options)
        except (obstore.exceptions.BaseError, OSError):
            raise
        except Exception:  # noqa: BLE001 - of whatever kind: its text may have an endpoint
            pass
        raise ObjectSettingsError(
            f"{url.text}: obstore does not take what the environment says of the store (endpoint, region, credentials)"
        )


@cache
def _process_of_obstore() -> int:
    """The process in which an object store was first used. obstore hangs in its forked children."""
    return os.getpid()


def _may_use_http(scheme: str) -> bool:
    """Whether the environment names an endpoint without TLS, or allows it. Options of ours hide that from obstore."""
    start = _VARIABLES_OF.get(scheme, "")
    is_allowed = os.environ.get(f"{start}_ALLOW_HTTP", "").lower() in {"1", "true", "yes", "y", "on"}
    return is_allowed or any(value.startswith("http://") for value in _endpoints(scheme).values())


def _endpoints(scheme: str) -> dict[str, str]:
    names = (f"{_VARIABLES_OF.get(scheme, '')}_{name}" for name in _ENDPOINTS)
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _check_endpoints(url: RemoteUrl) -> None:
    """obstore panics where an endpoint is no URL."""
    for name, value in _endpoints(url.scheme).items():
        if not re.fullmatch(r"https?://[^\s/?#@]+(?:/\S*)?", value):
            raise ObjectSettingsError(
                f"{url.text}: {name} is no URL of an endpoint, such as https://host:port (credentials have variables "
                "of their own)"
            )
