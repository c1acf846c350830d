"""Places that every node of a cluster must see as the machine that builds: files, objects of stores, videos in them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from cache_builder.errors import MachineError
from cache_builder.sources import SourceVideo
from cache_builder.staging import StagedObject
from frame_store.errors import ObjectAccessError, ObjectMissingError, ObjectStoreError
from frame_store.files import write_file
from frame_store.remote import ObjectClient, RemoteUrl, RetryPolicy

_TOKEN_BYTES: Final = 32
_POLICY: Final = RetryPolicy(max_seconds=15.0)
"""A node that cannot reach a store is told of while somebody waits for the build to begin."""
_VARIABLES: Final = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_LEFT_BEHIND_AFTER: Final = timedelta(days=1)


class SeenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that every node must see under the same path."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "SeenFile":
        """The file as this machine sees it.

        Raises:
            OSError: it cannot be read.
        """
        return cls(path=path, sha256=_sha256_of(path))

    def differences(self) -> list[str]:
        """How it differs where this runs; empty if it does not."""
        try:
            is_same = _sha256_of(self.path) == self.sha256
        except OSError as error:
            return [f"cannot read {self.path} ({error.strerror}), which this machine can"]
        return [] if is_same else [f"has another file at {self.path} than this machine"]


class SeenObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that every node must be able to read, in a folder in which it must be able to write."""

    url: RemoteUrl
    key: str
    content: bytes
    variables: tuple[str, ...]
    """Names of the variables of the store that the machine that builds has in its environment. Never their values."""

    def differences(self) -> list[str]:
        """How a node differs where this runs; empty if it does not."""
        client = ObjectClient(self.url, policy=_POLICY)
        own = f"node-{os.urandom(8).hex()}"
        try:
            if client.get(self.key, max_bytes=_TOKEN_BYTES) != self.content:
                return [f"has another object at {self.url.object_text(self.key)} than this machine"]
            client.put(own, b"a node can write here")
            client.delete([own])
        except ObjectStoreError as error:
            return [_cannot("use the object store as this machine does", error, self.variables)]
        return []


class SeenVideo(msgspec.Struct, frozen=True, kw_only=True):
    """A video in an object store or on a web server that every node must see, and be able to download."""

    video: StagedObject
    variables: tuple[str, ...]
    """As of `SeenObject`."""

    def differences(self) -> list[str]:
        """How a node differs where this runs; empty if it does not."""
        client = ObjectClient(self.video.client.url, policy=_POLICY)
        try:
            self.video.stage.make()
            replace(self.video, client=client).require_unchanged()
        except MachineError as error:
            return [f"cannot download videos: {error.args[0]}"]
        except ObjectStoreError as error:
            return [_cannot("read a video as this machine does", error, self.variables)]
        return []


class NodeTokens:
    """Random bytes in each place of a build, for nodes to find. Without `write` there are none."""

    def __init__(self, *, files: Sequence[Path], stores: Sequence[ObjectClient]) -> None:
        self._files = files
        self._stores = stores
        self._key = f"nodes-{os.urandom(8).hex()}"
        """Builds of two machines may share a place."""
        self._is_written = False

    @property
    def folders(self) -> list[Path]:
        """Into which jobs write."""
        return [path.parent for path in self._files]

    def write(self) -> tuple[list[SeenFile], list[SeenObject]]:
        """Write them.

        Raises:
            OSError: a file cannot be written.
            ObjectStoreError: a store cannot be reached.
        """
        content = os.urandom(_TOKEN_BYTES)
        self._is_written = True
        for path in self._files:
            write_file(path, content)
        for client in self._stores:
            _remove_left_behind(client)
            client.put(self._key, content)
        objects = [
            SeenObject(url=client.url, key=self._key, content=content, variables=_variables(client.url))
            for client in self._stores
        ]
        return [SeenFile.of(path) for path in self._files], objects

    def remove(self) -> None:
        """Remove them, also those files that a killed build has left."""
        for path in self._files:
            path.unlink(missing_ok=True)
        for client in self._stores if self._is_written else ():
            with suppress(ObjectStoreError):  # the next build removes it
                client.delete([self._key])


def smallest_videos(videos: Iterable[SourceVideo]) -> tuple[list[SeenFile], list[SeenVideo]]:
    """One video of each file system and of each store; those that cannot be read are for the scan to report."""
    files: dict[int, tuple[int, Path]] = {}
    objects: dict[tuple[str, str], StagedObject] = {}
    for video in {video.path: video for video in videos}.values():
        if video.staged is not None:
            url = video.staged.client.url
            found = objects.setdefault((url.scheme, url.root), video.staged)
            objects[url.scheme, url.root] = min(found, video.staged, key=lambda each: each.num_bytes)
            continue
        with suppress(OSError):
            status = video.path.stat()
            there = (status.st_size, video.path)
            files[status.st_dev] = min(there, files.get(status.st_dev, there))
    seen = []
    for _, path in files.values():
        with suppress(OSError):
            seen.append(SeenFile.of(path))
    return seen, [SeenVideo(video=each, variables=_variables(each.client.url)) for each in objects.values()]


def _variables(url: RemoteUrl) -> tuple[str, ...]:
    start = _VARIABLES.get(url.scheme)
    return () if start is None else tuple(sorted(name for name in os.environ if name.startswith(start)))


def _cannot(what: str, error: ObjectStoreError, variables: Sequence[str]) -> str:
    lacking = [name for name in variables if name not in os.environ]
    lacks = f"its environment lacks {', '.join(lacking)}, which that of this machine has"
    if lacking and isinstance(error, ObjectAccessError):
        return f"cannot use the object store: {lacks}; export them before `ray start` there"
    if not isinstance(error, ObjectAccessError | ObjectMissingError):
        return f"cannot {what}: {error}"
    hint = lacks if lacking else "nodes take endpoint and credentials from their own environment"
    return f"cannot {what}: {error}; {hint}"


def _remove_left_behind(client: ObjectClient) -> None:
    """Remove what builds and nodes that were killed have left."""
    before = datetime.now(UTC) - _LEFT_BEHIND_AFTER
    client.delete([each.key for each in client.objects() if each.modified < before])


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
