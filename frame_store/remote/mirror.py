"""The small files of a remote cache in a folder of this machine: downloaded once, and verified."""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from frame_store.errors import StoreDamagedError
from frame_store.files import write_file
from frame_store.remote.parts import PartDownloads, write_all
from frame_store.remote.request_threads import RequestThreads, make_all
from frame_store.remote.requests import ObjectClient
from frame_store.shared import counted

_PART_BYTES: Final = 8 << 20
_REQUESTS_AT_ONCE: Final = 8
_MAX_UNSIZED_BYTES: Final = 1 << 30
_ATTEMPTS: Final = 2
_LOOKS_PER_SECOND: Final = 20


@dataclass(frozen=True, kw_only=True)
class MirroredFile:
    """A file of a cache, whose content is known by its hash."""

    name: str
    """Inside the cache, with forward slashes."""
    sha256: str
    num_bytes: int | None
    """None where only the hash is recorded; such a file is small enough to be read into memory."""


class Mirror:
    """A folder with the same names as the cache at a URL. Processes and threads of a host share it.

    A file has its name only when it is whole, so that its size is all that is looked at later. While it is downloaded,
    its name ends with `.part`, and the process that downloads it holds a lock on it: others wait for it, and the part
    of a process that died is written anew.
    """

    def __init__(self, client: ObjectClient, path: Path) -> None:
        """Of the cache at the URL of the client. Makes nothing yet."""
        self._client = client
        self.path = path

    def need(self, files: Iterable[MirroredFile]) -> None:
        """Have these files here, several requests at once.

        Raises:
            StoreDamagedError: an object is not what its hash says, also when it was downloaded again.
            ObjectStoreError: as of `ObjectClient.get_range`.
            OSError: the folder cannot be written, or the disk is full.
        """
        missing = [file for file in files if not self._is_here(file)]
        if not missing:
            return
        threads = RequestThreads(_REQUESTS_AT_ONCE)
        parts = PartDownloads(at_once=_REQUESTS_AT_ONCE, part_bytes=_PART_BYTES)
        with self._writing(), closing(threads), closing(parts):
            small = [file for file in missing if (file.num_bytes or 0) <= _PART_BYTES]
            make_all(threads, [partial(self._download, file, parts) for file in small])
            for file in missing:
                if file not in small:
                    self._download(file, parts)

    def write(self, name: str, content: bytes) -> None:
        """Have a file with this content here, such as a manifest, which no hash names.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        path = self.path / name
        with suppress(OSError):
            if path.read_bytes() == content:
                return
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)

    def remove_leftovers(self) -> None:
        """Remove the parts of processes that died."""
        for part in self.path.rglob("*.part"):
            with suppress(OSError):
                number = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_named(part, number):  # and no other one, which came after somebody else's removal
                        part.unlink()
                finally:
                    os.close(number)

    def _is_here(self, file: MirroredFile) -> bool:
        path = self.path / file.name
        try:
            if file.num_bytes is not None:
                return path.stat().st_size == file.num_bytes
            return hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        except OSError:
            return False

    def _download(self, file: MirroredFile, parts: PartDownloads) -> None:
        target = self.path / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with _claimed(part) as number:
            if self._is_here(file):  # another process has downloaded it meanwhile
                return
            for _ in range(_ATTEMPTS):
                found = self._fetched(file, number, parts)
                if found == file.sha256:
                    os.fsync(number)
                    part.replace(target)
                    return
        raise StoreDamagedError(
            f"{self._client.url.object_text(file.name)}: expected sha256 {file.sha256[:16]}…, found {found[:16]}… "
            f"in {counted(_ATTEMPTS, 'download')}: its bytes are not those that were written; run cache-verify on "
            f"{self._client.url.text}"
        )

    def _fetched(self, file: MirroredFile, number: int, parts: PartDownloads) -> str:
        """Write the object into an open file; the SHA-256, hex, of what the file then has."""
        if file.num_bytes is None:
            content = self._client.get(file.name, max_bytes=_MAX_UNSIZED_BYTES)
            self._remove_beside(file)
            os.ftruncate(number, len(content))
            write_all(number, memoryview(content), 0)
            return hashlib.sha256(content).hexdigest()
        parts.fetch_into(self._client, file.name, file.num_bytes, number)
        with os.fdopen(os.dup(number), "rb") as written:
            written.seek(0)
            return hashlib.file_digest(written, "sha256").hexdigest()

    def _remove_beside(self, file: MirroredFile) -> None:
        """Remove what was listed by a file of that name with other content: a cache was built anew in the same place.

        Its files may have the sizes of the new ones, and nothing but their sizes is looked at.
        """
        target = self.path / file.name
        if target.exists():
            for path in target.parent.iterdir():
                if path.is_file() and path.suffix != ".part" and path != target:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Explains why the folder cannot be written."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                what = "the disk is full"
            elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}:
                what = f"it cannot be written ({os.strerror(error.errno)})"
            else:
                raise
            raise OSError(
                error.errno,
                f"the small files of {self._client.url.text} are kept in this folder, and {what}; folder= names "
                "another one",
                str(self.path),
            ) from None


@contextmanager
def _claimed(part: Path) -> Iterator[int]:
    """The descriptor of a file that this thread alone writes; at the end the file is removed, if it has this name yet.

    Waits while another one writes it. Where the file system has no locks, two may write the same bytes.
    """
    while True:
        number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            _lock(number)
            if not _is_named(part, number):
                continue  # the one before has finished it
            try:
                yield number
            finally:
                if _is_named(part, number):
                    part.unlink(missing_ok=True)
            return
        finally:
            os.close(number)


def _lock(number: int) -> None:
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(1 / _LOOKS_PER_SECOND)  # in steps, so that Ctrl-C is heard in every thread
        except OSError:
            return  # a file system without locks
        else:
            return


def _is_named(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False
