"""Requests to an object store, through obstore: with retries, time-outs, and errors that name the object."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from frame_store.errors import ObjectMissingError, ObjectStoreError
from frame_store.remote.retries import RetryPolicy, TruncatedError, with_retries
from frame_store.remote.url import RemoteUrl
from frame_store.shared import counted

Result = TypeVar("Result")
_WRITE_SECONDS: Final = 600.0
_KEYS_PER_PAGE: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteObject:
    """What a store tells of an object."""

    key: str
    """Relative to the URL of the client."""
    num_bytes: int
    e_tag: str | None
    """What the store calls this content of the object; None where it does not tell."""
    modified: datetime


class ObjectClient:
    """The objects below one URL. Threads may share it; a forked child may not use it, a pickled copy may.

    Keys are relative to the URL, with forward slashes. Credentials, region and endpoint are those that obstore finds in
    the environment, such as AWS_ENDPOINT_URL. Every method raises what `with_retries` raises.
    """

    def __init__(self, url: RemoteUrl, *, policy: RetryPolicy | None = None) -> None:
        """Connects to nothing yet."""
        self.url = url
        self.policy = RetryPolicy() if policy is None else policy
        self._pid = os.getpid()

    def get(self, key: str, *, max_bytes: int, e_tag: str | None = None) -> bytes:
        """A whole object.

        Raises:
            ObjectStoreError: it has more than `max_bytes`.
        """
        what = self.url.object_text(key)

        def call() -> bytes:
            result = self._obstore.get(
                self._store, self._full(key), options={"if_match": e_tag} if e_tag else None
            )
            num_bytes = result.meta["size"]
            if num_bytes > max_bytes:
                raise ObjectStoreError(f"{what}: has {num_bytes} bytes, at most {max_bytes} are read")
            return bytes(_whole(memoryview(result.bytes()), num_bytes))

        return self._retried(call, what)

    def get_range(self, key: str, start: int, num_bytes: int, *, e_tag: str | None = None) -> memoryview:
        """Bytes [start, start + num_bytes) of an object. With `e_tag`, of that content of it alone."""
        what = f"{self.url.object_text(key)}: {counted(num_bytes, 'byte')} at byte {start}"

        def call() -> memoryview:
            if e_tag is None:
                found = self._obstore.get_range(self._store, self._full(key), start=start, length=num_bytes)
            else:
                options = {"range": (start, start + num_bytes), "if_match": e_tag}
                found = self._obstore.get(self._store, self._full(key), options=options).bytes()
            return _whole(memoryview(found), num_bytes)

        return self._retried(call, what)

    def head(self, key: str) -> RemoteObject:
        """What the store tells of an object."""
        meta = self._retried(
            lambda: self._obstore.head(self._store, self._full(key)), self.url.object_text(key)
        )
        return self._object(meta)

    def find(self, key: str) -> RemoteObject | None:
        """`head`; None where there is no such object."""
        try:
            return self.head(key)
        except ObjectMissingError:
            return None

    def objects(self, folder: str = "") -> Iterator[RemoteObject]:
        """The objects below a folder, in the order of their keys.

        Raises:
            ObjectStoreError: a web server, which has no lists.
        """
        prefix = self.url.child(folder)
        self._require_lists(prefix)

        def call() -> list[Any]:
            pages = self._obstore.list(self._store, prefix=prefix.path or None, chunk_size=_KEYS_PER_PAGE)
            return [meta for page in pages for meta in page]

        for meta in sorted(self._retried(call, prefix.text), key=lambda meta: str(meta["path"])):
            yield self._object(meta)

    def entries(self, folder: str = "") -> tuple[list[str], list[str]]:
        """The names directly in a folder: of folders, and of objects. Both sorted.

        Raises:
            ObjectStoreError: a web server, which has no lists.
        """
        prefix = self.url.child(folder)
        self._require_lists(prefix)
        found = self._retried(
            lambda: self._obstore.list_with_delimiter(self._store, prefix=prefix.path or None), prefix.text
        )
        folders = [str(path) for path in found["common_prefixes"]]
        objects = [str(meta["path"]) for meta in found["objects"]]
        folders, objects = (
            sorted(path.rstrip("/").rpartition("/")[2] for path in paths) for paths in (folders, objects)
        )
        return folders, objects

    def put(self, key: str, data: bytes) -> RemoteObject:
        """Write an object, in place of one that is there."""
        return self._put(key, data, len(data), mode="overwrite")

    def create(self, key: str, data: bytes) -> RemoteObject:
        """Write an object that is not there yet; of two processes that create one object, one does.

        Raises:
            FileExistsError: the object is there.
        """
        return self._put(key, data, len(data), mode="create")

    def put_file(self, key: str, path: Path) -> RemoteObject:
        """Write an object with the content of a file, in place of one that is there."""
        return self._put(key, path, path.stat().st_size, mode="overwrite")

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there count as removed."""
        for key in keys:
            call = partial(self._obstore.delete, self._store, self._full(key))
            with suppress(ObjectMissingError):
                self._retried(call, self.url.object_text(key))

    def child(self, name: str) -> "ObjectClient":
        """The client of a folder below this one."""
        return ObjectClient(self.url.child(name), policy=self.policy)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "policy": self.policy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], policy=state["policy"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"ObjectClient({self.url.text!r})"

    def _put(self, key: str, data: bytes | Path, num_bytes: int, *, mode: str) -> RemoteObject:
        what = self.url.object_text(key)
        if not self.url.is_writable:
            raise ObjectStoreError(f"{what}: web servers are read-only; use s3, gs or az")
        call = partial(
            self._obstore.put, self._writing_store, self._full(key), data, mode=mode, use_multipart=False
        )
        result = self._retried(call, what)
        return RemoteObject(
            key=key, num_bytes=num_bytes, e_tag=result["e_tag"], modified=datetime.now().astimezone()
        )

    def _retried(self, call: Callable[[], Result], what: str) -> Result:
        if self._pid != os.getpid():
            raise ObjectStoreError(
                f"{what}: this process was forked from one that made the client, and no request can be made here; "
                "start workers with 'spawn' or 'forkserver'"
            )
        return with_retries(call, what=what, policy=self.policy)

    def _require_lists(self, prefix: RemoteUrl) -> None:
        if not self.url.is_writable:
            raise ObjectStoreError(
                f"{prefix.text}: a web server has no list of its objects; name each object, or use s3, gs or az"
            )

    def _full(self, key: str) -> str:
        return self.url.child(key).path

    def _object(self, meta: Mapping[str, Any]) -> RemoteObject:
        path = str(meta["path"])
        prefix = f"{self.url.path}/" if self.url.path else ""
        return RemoteObject(
            key=path.removeprefix(prefix),
            num_bytes=meta["size"],
            e_tag=meta["e_tag"],
            modified=meta["last_modified"],
        )

    @cached_property
    def _obstore(self) -> Any:  # noqa: ANN401 - a module
        try:
            import obstore
        except ImportError as error:
            raise ObjectStoreError(
                f"{self.url.text}: object stores need the package obstore: pip install 'frame-cache[remote]'"
            ) from error
        return obstore

    @cached_property
    def _store(self) -> Any:  # noqa: ANN401 - as obstore's
        return self._connected(self.policy.attempt_seconds)

    @cached_property
    def _writing_store(self) -> Any:  # noqa: ANN401 - as obstore's
        return self._connected(_WRITE_SECONDS)

    def _connected(self, attempt_seconds: float) -> Any:  # noqa: ANN401 - as obstore's
        assert self._obstore is not None  # explains its absence
        from obstore import store

        url = self.url
        client_options: Any = {
            "allow_http": url.scheme == "http" or _may_use_http(url.scheme),
            "connect_timeout": timedelta(seconds=self.policy.connect_seconds),
            "read_timeout": timedelta(seconds=self.policy.stall_seconds),
            "timeout": timedelta(seconds=attempt_seconds),
        }
        retry_config: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=attempt_seconds)}
        options = {"client_options": client_options, "retry_config": retry_config}
        if url.scheme == "s3":
            return store.S3Store(url.root, **options)
        if url.scheme == "gs":
            return store.GCSStore(url.root, **options)
        if url.scheme == "az":
            return store.AzureStore(url.root, **options)
        return store.HTTPStore.from_url(f"{url.scheme}://{url.root}", **options)


def _may_use_http(scheme: str) -> bool:
    """Whether the environment names an endpoint without TLS, or allows it. Options of ours hide that from obstore."""
    start = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}.get(scheme, "")
    endpoints = (
        os.environ.get(f"{start}_{name}", "") for name in ("ENDPOINT_URL", "ENDPOINT_URL_S3", "ENDPOINT")
    )
    is_allowed = os.environ.get(f"{start}_ALLOW_HTTP", "").lower() in {"1", "true", "yes", "y", "on"}
    return is_allowed or any(endpoint.startswith("http://") for endpoint in endpoints)


def _whole(found: memoryview, num_bytes: int) -> memoryview:
    if len(found) != num_bytes:
        raise TruncatedError(f"{counted(len(found), 'byte')} came")
    return found
