"""The bytes of a bounded folder: a ledger that processes share, and what is removed to make room."""

import fcntl
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from frame_store.errors import StoreError
from frame_store.shared import counted

LEDGER_NAME: Final = ".ledger"
TAG_NAME: Final = "CACHEDIR.TAG"
_TAG: Final = (
    b"Signature: 8a477f597d28d172789f06e886806bc5\n"
    b"# Files here are copies of objects of an object store. They are removed without being asked for.\n"
)
PART_ENDING: Final = ".part"
PASSES: Final = stat.S_IXUSR
"""This bit of a file's mode has no other use here. It marks a file that is removed before all others."""

_LEDGER: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"bounded1"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the folder, as a walk found it."""

    path: str
    num_bytes: int
    """That it counts for. A file under way counts in full from its start on."""
    is_part: bool
    passes: bool
    last_use_ns: int

    @property
    def order(self) -> tuple[bool, int, str]:
        """Files are removed in this order."""
        return (not self.passes, self.last_use_ns, self.path)


class Room:
    """How many bytes of a folder are taken, and what is removed for others. Its methods need `locked()`, but for reads.

    The ledger counts a file before the file is made, and until after the file is removed. So a process that is killed
    at any moment leaves a ledger that counts too much, never too little. A walk puts it right when the folder is opened
    and when it is full.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Make the folder where it is not there. Nothing is removed yet.

        Raises:
            StoreError: the folder has files of somebody else, or its file system has no locks.
            OSError: it cannot be made.
        """
        self.path, self.max_bytes = path, max_bytes
        self._ledger_path = str(path / LEDGER_NAME)
        self._lock = threading.Lock()
        self._number: int | None = None
        self._passing: list[
            FoundFile
        ] = []  # those of the last walk that were not tried yet, the first one last
        path.mkdir(parents=True, exist_ok=True)
        self._require_own()
        with self.locked():
            tag = path / TAG_NAME
            if not tag.exists():
                tag.write_bytes(_TAG)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other thread or process change the folder's files meanwhile."""
        with self._lock:
            number = self._locked_ledger()
            try:
                yield
            finally:
                fcntl.flock(number, fcntl.LOCK_UN)

    @property
    def num_bytes(self) -> int:
        """Bytes that the ledger counts."""
        return self._unlocked()[0]

    @property
    def num_bytes_staying(self) -> int:
        """Those of them that are not marked as passing."""
        return self._unlocked()[1]

    def reserve(self, num_bytes: int, *, passes: bool, leaves_bytes: int | None) -> bool:
        """Count a file that is to be made, removing others where it takes that; False where no room can be had."""
        used, staying = self._read()
        if leaves_bytes is not None and staying + num_bytes + leaves_bytes > self.max_bytes:
            return False
        if used + num_bytes > self.max_bytes and not self._make_room(
            num_bytes, only_passing=leaves_bytes is not None
        ):
            return False
        self._add(num_bytes, passes=passes)
        return True

    def release(self, num_bytes: int, *, passes: bool) -> None:
        """Count a file no longer, which is removed already."""
        self._add(-num_bytes, passes=passes)

    def recount(self) -> list[FoundFile]:
        """Walk, remove files under way whose process is dead, and count the others; these are returned."""
        found = []
        for file in self._walk():
            if not (file.is_part and self._unlink_free(file.path)):
                found.append(file)
        staying = sum(file.num_bytes for file in found if not file.passes)
        self._write(sum(file.num_bytes for file in found), staying)
        return found

    def fit(self) -> None:
        """Recount, and remove files that nobody holds until the bound is kept, as far as that is possible."""
        self._passing = []
        for file in sorted(self.recount(), key=lambda file: file.order):
            if self._read()[0] <= self.max_bytes:
                return
            self._remove(file)

    def remove(self, path: str) -> bool:
        """Remove a complete file that nobody holds, and count it no longer; False where somebody holds it."""
        try:
            status = Path(path).stat(follow_symlinks=False)
        except FileNotFoundError:
            return True
        if not self._unlink_free(path):
            return False
        self.release(status.st_size, passes=bool(status.st_mode & PASSES))
        return True

    def _make_room(self, num_bytes: int, *, only_passing: bool) -> bool:
        while self._passing:
            file = self._passing.pop()
            is_gone = self._is_unchanged(file) and self._remove(file)
            if is_gone and self._read()[0] + num_bytes <= self.max_bytes:
                return True
        others: list[FoundFile] = []
        for file in sorted(self.recount(), key=lambda file: file.order, reverse=True):
            (self._passing if file.passes else others).append(file)
        for files in [self._passing] if only_passing else [self._passing, others]:
            while self._read()[0] + num_bytes > self.max_bytes and files:
                self._remove(files.pop())
        return self._read()[0] + num_bytes <= self.max_bytes

    def _remove(self, file: FoundFile) -> bool:
        if file.is_part or not self._unlink_free(file.path):
            return False
        self.release(file.num_bytes, passes=file.passes)
        return True

    @staticmethod
    def _is_unchanged(file: FoundFile) -> bool:
        try:
            return Path(file.path).stat().st_mtime_ns == file.last_use_ns
        except OSError:
            return False

    @staticmethod
    def _unlink_free(path: str) -> bool:
        """Remove a file unless somebody holds it; False where somebody does, or where it is not there."""
        try:
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not is_file_at(path, number):
                return False
            Path(path).unlink()
        except OSError:
            return False
        finally:
            os.close(number)
        return True

    def _walk(self) -> Iterator[FoundFile]:
        folders = [str(self.path)]
        while folders:
            with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.name not in {LEDGER_NAME, TAG_NAME}:
                        with suppress(FileNotFoundError):
                            yield _found(entry)

    def _require_own(self) -> None:
        names = {entry.name for entry in os.scandir(self.path)}
        if names and not names & {LEDGER_NAME, TAG_NAME}:
            raise StoreError(
                f"{self.path}: expected an empty folder, or one that was made for downloads, found "
                f"{counted(len(names), 'other file')}; files in a folder of downloads are removed to make room, so "
                "name another folder"
            )

    def _locked_ledger(self) -> int:
        while True:
            if self._number is None:
                self.path.mkdir(parents=True, exist_ok=True)
                self._number = os.open(self._ledger_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(self._number, fcntl.LOCK_EX)
            except OSError as error:
                raise StoreError(
                    f"{self.path}: the file system has no locks ({error.strerror}), by which processes share the "
                    "folder; name a folder on a local disk"
                ) from error
            if is_file_at(
                self._ledger_path, self._number
            ):  # else somebody removed it, and others lock a new one
                return self._number
            os.close(self._number)
            self._number = None

    def _unlocked(self) -> tuple[int, int]:
        counted_bytes = self._recorded()
        if counted_bytes is None:
            with self.locked():
                return self._read()
        return counted_bytes

    def _read(self) -> tuple[int, int]:
        counted_bytes = self._recorded()
        if counted_bytes is None:
            self.recount()
            counted_bytes = self._recorded()
            assert counted_bytes is not None
        return counted_bytes

    def _recorded(self) -> tuple[int, int] | None:
        """What the ledger counts; None where it is new or broken."""
        if self._number is None:
            return None
        record = os.pread(self._number, _LEDGER.size + 4, 0)
        content = record[: _LEDGER.size]
        if len(record) == _LEDGER.size + 4 and record[_LEDGER.size :] == _sum(content):
            magic, used, staying = _LEDGER.unpack(content)
            if magic == _MAGIC:
                return used, staying
        return None

    def _add(self, num_bytes: int, *, passes: bool) -> None:
        used, staying = self._read()
        self._write(max(0, used + num_bytes), max(0, staying + (0 if passes else num_bytes)))

    def _write(self, used: int, staying: int) -> None:
        assert self._number is not None
        content = _LEDGER.pack(_MAGIC, used, staying)
        os.pwrite(self._number, content + _sum(content), 0)

    def __del__(self) -> None:
        if getattr(self, "_number", None) is not None:
            with suppress(OSError):
                os.close(self._number)  # type: ignore[arg-type]


def part_path(path: str, num_bytes: int) -> str:
    """Where a file of so many bytes is while it is under way: the name says what it counts for."""
    return f"{path}.{num_bytes}{PART_ENDING}"


def is_file_at(path: str, number: int) -> bool:
    """Whether the open file `number` is the one that lies at `path`."""
    try:
        there = Path(path).stat(follow_symlinks=False)
    except OSError:
        return False
    ours = os.fstat(number)
    return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)


def _found(entry: "os.DirEntry[str]") -> FoundFile:
    status = entry.stat(follow_symlinks=False)
    num_bytes, is_part = status.st_size, entry.name.endswith(PART_ENDING)
    if is_part:
        text = entry.name.removesuffix(PART_ENDING).rpartition(".")[2]
        num_bytes = max(num_bytes, int(text) if text.isdecimal() else 0)
    return FoundFile(
        path=entry.path,
        num_bytes=num_bytes,
        is_part=is_part,
        passes=bool(status.st_mode & PASSES),
        last_use_ns=status.st_mtime_ns,
    )


def _sum(content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content))
