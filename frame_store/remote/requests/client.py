"""Requests to an object store, through obstore: with retries, time-outs, and errors that name the object."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from frame_store.errors import ObjectChangedError, ObjectMissingError, ObjectStoreError
from frame_store.remote.requests.connections import Connections, Kind, Obstore, Store
from frame_store.remote.requests.failures import TruncatedError, unfit_name
from frame_store.remote.requests.listing import RemoteObject, is_told_of_everything, metas_below
from frame_store.remote.requests.retries import RetryPolicy, with_retries
from frame_store.remote.requests.url import RemoteUrl
from frame_store.shared import counted

if TYPE_CHECKING:
    from obstore import Bytes, GetResult

Result = TypeVar("Result")
_CHUNK_BYTES: Final = 64 << 10
_KEYS_PER_DELETE: Final = 1000
_LARGEST_PUT_BYTES: Final = 32 << 20
"""Larger files are put in parts: a part that fails is sent again alone, and a single put ends at 5 GB."""
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 9000
_PARTS_AT_ONCE: Final = 4
_UNFIT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]|(?:^|/)[.]{0,2}(?:/|$)")


class ObjectClient:
    """The objects below one URL. Threads may share it; a forked child may not use it, a pickled copy may.

    Keys are relative to the URL, with forward slashes, and are names as they are: nothing in them is escaped.
    Credentials, region and endpoint are those that obstore finds in the environment, such as AWS_ENDPOINT_URL. Every
    method raises what `with_retries` raises. `policy`: `RetryPolicy.of_environment()` where it is left out.
    """

    def __init__(self, url: RemoteUrl, *, policy: RetryPolicy | None = None) -> None:
        """Connects to nothing yet.

        Raises:
            ObjectSettingsError: FRAME_CACHE_RETRY_SECONDS is no number of seconds.
        """
        self.url = url
        self.policy = RetryPolicy.of_environment() if policy is None else policy
        self._connections = Connections(url, self.policy)
        self._start = f"{url.path}/" if url.path else ""

    def get(self, key: str, *, max_bytes: int, e_tag: str | None = None) -> bytes:
        """A whole object.

        Raises:
            ObjectStoreError: it has more than `max_bytes`.
        """
        full = self._full(key)
        options = _if_match(e_tag)

        def call(obstore: Obstore, store: Store) -> bytes:
            result = obstore.get(store, full, options=options)
            num_bytes = result.meta["size"]
            self._check_same(key, result, e_tag)
            if num_bytes > max_bytes:
                raise ObjectStoreError(
                    f"{self.url.object_text(key)}: has {num_bytes} bytes, at most {max_bytes} are read"
                )
            return bytes(_whole(result.bytes(), num_bytes))

        return self._retried(call, lambda: self.url.object_text(key), max_bytes)

    def get_range(self, key: str, start: int, num_bytes: int, *, e_tag: str | None = None) -> memoryview:
        """Bytes [start, start + num_bytes) of an object. With `e_tag`, of that content of it alone."""
        full = self._full(key)
        if num_bytes == 0:
            return memoryview(b"")

        def call(obstore: Obstore, store: Store) -> memoryview:
            if e_tag is None:
                found = obstore.get_range(store, full, start=start, length=num_bytes)
            else:
                options = {"range": (start, start + num_bytes), **(_if_match(e_tag) or {})}
                result = obstore.get(store, full, options=options)
                self._check_same(key, result, e_tag)
                found = result.bytes()
            return _whole(found, num_bytes)

        return self._retried(
            call,
            lambda: f"{self.url.object_text(key)}: {counted(num_bytes, 'byte')} at byte {start}",
            num_bytes,
        )

    def get_chunks(
        self, key: str, start: int, num_bytes: int, write: Callable[[memoryview, int], None]
    ) -> None:
        """Bytes [start, start + num_bytes) of an object in chunks; each is written while it is in the cache of the CPU.

        `write` gets each chunk and its first byte in the object; after a failure it gets bytes again, from `start` on.
        """
        full = self._full(key)

        def call(obstore: Obstore, store: Store) -> None:
            at = start
            result = obstore.get(store, full, options={"range": (start, start + num_bytes)})
            for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                view = memoryview(chunk)
                at += len(view)
                if at <= start + num_bytes:
                    write(view, at - len(view))
            if at != start + num_bytes:
                raise TruncatedError(at - start, num_bytes)

        self._retried(
            call,
            lambda: f"{self.url.object_text(key)}: {counted(num_bytes, 'byte')} at byte {start}",
            num_bytes,
        )

    def get_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[memoryview]:
        """Several ranges of one object, none of them empty, by up to 10 requests at once from this thread.

        Ranges that touch or overlap are one request. No byte between ranges is read.
        """
        full = self._full(key)

        def call(obstore: Obstore, store: Store) -> list[memoryview]:
            found = obstore.get_ranges(store, full, starts=starts, lengths=lengths, coalesce=0)
            return [_whole(each, length) for each, length in zip(found, lengths, strict=True)]

        if not starts:
            return []
        try:
            return call(*self._connections.at_hand(sum(lengths)))
        except Exception:  # noqa: BLE001 - each range is asked for alone, so that one failure costs one range
            pass
        return [self.get_range(key, start, length) for start, length in zip(starts, lengths, strict=True)]

    def head(self, key: str) -> RemoteObject:
        """What the store tells of an object."""
        full = self._full(key)
        return self._object(
            self._retried(lambda obstore, store: obstore.head(store, full), lambda: self.url.object_text(key))
        )

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
        metas = metas_below(prefix.path, lambda call: self._retried(call, lambda: prefix.text))
        start = f"{prefix.path}/" if prefix.path else ""
        if not metas and is_told_of_everything(*self._connections.at_hand(0), start):
            raise ObjectStoreError(
                f"{prefix.text}: what answers here has every object that it is asked for, and lists none: it is no "
                "object store, or something before it answers"
            )
        for meta in sorted(metas, key=lambda meta: str(meta["path"])):
            if meta["path"].startswith(start):  # or else it is the marker of the folder that some tools write
                yield self._object(meta)

    def entries(self, folder: str = "") -> tuple[list[str], list[str]]:
        """The names directly in a folder: of folders, and of objects. Both sorted.

        Raises:
            ObjectStoreError: a web server, which has no lists.
        """
        prefix = self.url.child(folder)
        self._require_lists(prefix)
        found = self._retried(
            lambda obstore, store: obstore.list_with_delimiter(store, prefix=prefix.path or None),
            lambda: prefix.text,
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

    def create(self, key: str, data: bytes | memoryview) -> RemoteObject:
        """Write an object that is not there yet; of two processes that create one object, one does.

        An answer can be lost after the object was written. The object that is found at the next attempt counts as
        written by this call where it has the same bytes.

        Raises:
            FileExistsError: the object is there.
        """
        num_attempts = 0

        def counts() -> None:
            nonlocal num_attempts
            num_attempts += 1

        try:
            return self._put(key, data, len(data), mode="create", before=counts)
        except FileExistsError:
            if num_attempts == 1:
                raise
        try:
            is_ours = self.get(key, max_bytes=len(data)) == data
        except ObjectMissingError:
            is_ours = False
        except ObjectStoreError:
            if (found := self.find(key)) is not None and found.num_bytes == len(data):
                raise
            is_ours = False
        if not is_ours:
            raise FileExistsError(f"{self.url.object_text(key)}: is there already")
        return self.head(key)

    def put_file(self, key: str, path: Path) -> RemoteObject:
        """Write an object with the content of a file, in place of one that is there. Large files are put in parts.

        Raises:
            OSError: the file cannot be read.
            ObjectStoreError: the file changed meanwhile; what the object has then is not known.
        """
        before = path.stat()
        written = self._put(key, path, before.st_size, mode="overwrite")
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ObjectStoreError(
                f"{self.url.object_text(key)}: its file changed while it was put; put it again"
            )
        return written

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there count as removed."""
        remaining = iter(keys)
        while some := list(islice(remaining, _KEYS_PER_DELETE)):
            paths = [self._full(key) for key in some]
            try:
                self._delete(paths, some)
            except ObjectMissingError:  # as gs and az say it of one of them
                for key, path in zip(some, paths, strict=True):
                    try:
                        self._delete([path], [key])
                    except ObjectMissingError:
                        continue

    def child(self, name: str) -> "ObjectClient":
        """The client of a folder below this one."""
        return ObjectClient(self.url.child(name), policy=self.policy)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "policy": self.policy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], policy=state["policy"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"ObjectClient({self.url.text!r})"

    def _put(
        self,
        key: str,
        data: bytes | memoryview | Path,
        num_bytes: int,
        *,
        mode: str,
        before: Callable[[], None] = lambda: None,
    ) -> RemoteObject:
        full = self._full(key)
        in_parts = mode == "overwrite" and num_bytes > _LARGEST_PUT_BYTES
        part_bytes = max(_PART_BYTES, -(-num_bytes // _MOST_PARTS))
        if not self.url.is_writable:
            raise ObjectStoreError(
                f"{self.url.object_text(key)}: web servers are read-only; use s3, gs or az"
            )

        def call(obstore: Obstore, store: Store) -> str | None:
            before()
            result: Mapping[str, Any] = obstore.put(
                store,
                full,
                data,
                mode=mode,
                use_multipart=in_parts,
                chunk_size=part_bytes,
                max_concurrency=_PARTS_AT_ONCE,
            )
            e_tag: str | None = result["e_tag"]
            return e_tag

        e_tag = self._retried(
            call,
            lambda: self.url.object_text(key),
            _PARTS_AT_ONCE * part_bytes if in_parts else num_bytes,
            "parts" if in_parts else "write",
        )
        return RemoteObject(key=key, num_bytes=num_bytes, e_tag=e_tag, modified=datetime.now().astimezone())

    def _delete(self, paths: list[str], keys: Sequence[str]) -> None:
        others = f" and {counted(len(keys) - 1, 'other object')}" if len(keys) > 1 else ""
        self._retried(
            lambda obstore, store: obstore.delete(store, paths),
            lambda: self.url.object_text(keys[0]) + others,
        )

    def _retried(
        self,
        call: Callable[[Obstore, Store], Result],
        what: Callable[[], str],
        num_bytes: int = 0,
        kind: Kind = "read",
    ) -> Result:
        """`call(obstore, store)` with retries. `num_bytes`: how many are moved, at most."""
        connections = self._connections
        used: Any = None

        def attempt() -> Result:
            nonlocal used
            obstore, used = connections.at_hand(num_bytes, kind)
            return call(obstore, used)

        return with_retries(attempt, what=what, policy=self.policy, on_break=lambda: connections.forget(used))

    def _require_lists(self, prefix: RemoteUrl) -> None:
        if not self.url.is_writable:
            raise ObjectStoreError(
                f"{prefix.text}: a web server has no list of its objects; name each object, or use s3, gs or az"
            )

    def _full(self, key: str) -> str:
        if _UNFIT.search(key):
            raise unfit_name(self.url.object_text(key))
        return self._start + key

    def _object(self, meta: Mapping[str, Any]) -> RemoteObject:
        return RemoteObject(
            key=str(meta["path"]).removeprefix(self._start),
            num_bytes=meta["size"],
            e_tag=meta["e_tag"],
            modified=meta["last_modified"],
        )

    def _check_same(self, key: str, result: "GetResult", e_tag: str | None) -> None:
        """Raise where another content came: not every server heeds If-Match."""
        if e_tag is not None and (result.meta["e_tag"] or e_tag) != e_tag:
            raise ObjectChangedError(
                f"{self.url.object_text(key)}: is another object than it was; it was replaced meanwhile"
            )


def _if_match(e_tag: str | None) -> dict[str, str] | None:
    """A weak tag never matches: `_check_same` compares it."""
    return None if e_tag is None or e_tag.startswith("W/") else {"if_match": e_tag}


def _whole(found: "Bytes | memoryview", num_bytes: int) -> memoryview:
    view = memoryview(found)
    if len(view) != num_bytes:
        raise TruncatedError(len(view), num_bytes)
    return view
