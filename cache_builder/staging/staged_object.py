"""A video in an object store: downloaded into the stage, verified, and held there while it is read."""

import hashlib
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cache_builder.errors import MachineError, VideoChangedError, VideoError
from cache_builder.staging.stage import Stage
from frame_store.errors import ObjectChangedError, ObjectMissingError, StoreError
from frame_store.remote import BoundedFolder, ObjectClient, RemoteObject
from frame_store.shared import counted

PART_BYTES: Final = 8 * 2**20
MAX_PARTS_AT_ONCE: Final = 8
_NS_PER_SECOND: Final = 10**9


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStatus:
    """What tells one state of a file from another."""

    num_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedObject:
    """The object of a video, as it was when its source was looked into, and the folder that it is downloaded into."""

    client: ObjectClient
    key: str
    num_bytes: int
    e_tag: str | None
    """None where the store has none, or one that cannot be asked for again."""
    modified_seconds: int
    """Whole seconds since 1970: what a list and a single object tell agree to the second alone."""
    stage: Stage

    @classmethod
    def of(cls, found: RemoteObject, client: ObjectClient, stage: Stage) -> "StagedObject":
        """The object that `client` has found."""
        e_tag = found.e_tag
        return cls(
            client=client,
            key=found.key,
            num_bytes=found.num_bytes,
            e_tag=None if e_tag is None or e_tag.startswith("W/") else e_tag,
            modified_seconds=int(found.modified.timestamp()),
            stage=stage,
        )

    @property
    def text(self) -> str:
        """What the object is called in messages."""
        return self.client.url.object_text(self.key)

    @property
    def place(self) -> tuple[str, str, str]:
        """Where the object lies: equal for one object, however it was found."""
        url = self.client.url.child(self.key)
        return (url.scheme, url.root, url.path)

    @property
    def status(self) -> FileStatus:
        """Size and time of the object, in place of those of a file.

        The fraction of the second stands for the tag of its content: two contents of one second differ, too.
        """
        tag = (self.e_tag or "").strip('"')
        fraction = zlib.crc32(tag.encode()) % _NS_PER_SECOND
        return FileStatus(
            num_bytes=self.num_bytes, mtime_ns=self.modified_seconds * _NS_PER_SECOND + fraction
        )

    @property
    def path(self) -> Path:
        """Where it will lie. The name is made of hashes: no key can lead out of the folder."""
        status = self.status
        words = [*self.place, str(status.num_bytes), str(status.mtime_ns), self.e_tag or ""]
        digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()
        suffix = Path(self.key).suffix.lower()
        return self.stage.folder / f"{digest[:32]}{suffix if suffix.isascii() else ''}"

    @contextmanager
    def at_hand(self, name: str) -> Iterator[Path]:
        """Download the object, unless it is there, and keep it there for the time of the context.

        Args:
            name: what the video is called.

        Raises:
            VideoError: the object is gone, or larger than the folder may be.
            VideoChangedError: it is another one than it was.
            MachineError: the store cannot be reached, or refuses; or the folder cannot be used.
            OSError: disk full or failing.
        """
        self.stage.make()
        if self.num_bytes > self.stage.max_bytes:
            if self.stage.is_bound_by_disk:
                raise MachineError(
                    f"{self.stage.folder}: {self.text} has {counted(self.num_bytes, 'byte')}, and the disk has too "
                    "little free space; make room, or give another {--stage}; the same command resumes"
                )
            raise VideoError(
                name,
                f"{self.text} has {counted(self.num_bytes, 'byte')}, and the folder for downloaded videos may hold "
                f"{self.stage.max_bytes}; allow more stage bytes",
            )
        try:
            folder = BoundedFolder(self.stage.folder, max_bytes=self.stage.max_bytes)
            held = folder.fetched(self.path.name, self.num_bytes, self._download, waits=True)
        except ObjectMissingError as error:
            raise VideoError(name, f"{error}; it was there when its folder was listed") from None
        except ObjectChangedError as error:
            raise VideoChangedError(name, str(error)) from None
        except StoreError as error:
            raise MachineError(f"downloading {name!r}: {error}") from None
        assert held is not None  # `waits`
        with held:
            yield held.path

    def _download(self, path: Path) -> None:
        """Write the object to `path`, in parts that come at the same time."""
        if self.e_tag is None:  # the parts may be of two contents
            self.require_unchanged()
        starts = range(0, self.num_bytes, PART_BYTES)
        with path.open("wb") as file:
            file.truncate(self.num_bytes)
            with ThreadPoolExecutor(max(1, min(MAX_PARTS_AT_ONCE, len(starts)))) as threads:
                parts = [
                    threads.submit(partial(self._download_part, file.fileno(), start)) for start in starts
                ]
                try:
                    for part in parts:
                        part.result()
                finally:
                    for part in parts:
                        part.cancel()
        if self.e_tag is None:
            self.require_unchanged()

    def require_unchanged(self) -> None:
        """Look whether the object is as it was.

        Raises:
            ObjectChangedError: it is another one.
            ObjectStoreError: it is gone, or the store cannot be reached.
        """
        now = StagedObject.of(self.client.head(self.key), self.client, self.stage)
        if now.status != self.status:
            raise ObjectChangedError(f"{self.text}: was replaced since its folder was listed")

    def _download_part(self, descriptor: int, start: int) -> None:
        num_bytes = min(PART_BYTES, self.num_bytes - start)
        if num_bytes == self.num_bytes:  # some web servers know no ranges
            data = memoryview(self.client.get(self.key, max_bytes=num_bytes, e_tag=self.e_tag))
        else:
            data = self.client.get_range(self.key, start, num_bytes, e_tag=self.e_tag)
        while data:
            written = os.pwrite(descriptor, data, start)
            data, start = data[written:], start + written
