"""Files of an object store in a folder with a bound on its bytes, which the processes of a host share."""

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

from frame_store.errors import StoreError
from frame_store.remote.held_file import HeldFile, OpenedFile
from frame_store.remote.room import PART_ENDING, PASSES, Room, is_file_at, part_path
from frame_store.shared import counted

DEFAULT_WAIT_SECONDS: Final = 4 * 3600.0
_FIRST_POLL_SECONDS: Final = 0.002
_LONGEST_POLL_SECONDS: Final = 0.05


class BoundedFolder:
    """Whole files below a bound on their bytes, shared by the threads and processes of one host.

    At no moment do the files have more than `max_bytes` together; a file under way counts in full from its start on.
    A process holds a file by a shared lock (flock) on it, and it is removed by who has the exclusive lock alone. So a
    file that is held stays, and a process that is killed holds nothing. The ledger and `CACHEDIR.TAG`, some hundred
    bytes, do not count.

    A forked child makes its own: the files that its parent holds would stay held by it.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Open or make the folder. Files that nobody holds are removed until the bound is kept.

        Other processes may use the folder at the same time, and give the same bound.

        Raises:
            StoreError: the folder has files that were not put there by this class, or its file system has no locks.
            ValueError: `max_bytes` is not positive.
            OSError: the folder cannot be made or written.
        """
        if max_bytes <= 0:
            raise ValueError(f"max_bytes of a folder must be 1 or more, found {max_bytes}")
        self.path, self.max_bytes = Path(path).absolute(), max_bytes
        self._room = Room(self.path, max_bytes=max_bytes)
        self._lock = threading.Lock()
        self._open: dict[str, OpenedFile] = {}
        self._pid = os.getpid()
        with self._room.locked():
            self._room.fit()

    @property
    def num_bytes_used(self) -> int:
        """Bytes of the files, those under way in full. At worst it is too high, until the folder is full."""
        return self._room.num_bytes

    @property
    def num_bytes_staying(self) -> int:
        """Bytes of the files that do not pass."""
        return self._room.num_bytes_staying

    def has(self, name: str) -> bool:
        """Whether a complete file of this name is there now. It may be removed at any moment: see `held`."""
        return name in self._open or Path(self._path(name)).exists()

    def held(self, name: str) -> HeldFile | None:
        """A complete file, held; None where it is not there.

        A file that this process holds already costs no call of the system.
        """
        if self._pid != os.getpid():
            self._lock, self._open, self._pid = threading.Lock(), {}, os.getpid()
        with self._lock:
            opened = self._open.get(name)
            if opened is not None:
                if opened.is_condemned:
                    return None
                opened.num_uses += 1
                return self._handle(name, opened)
        number = self._opened(self._path(name))
        return None if number is None else self._registered(name, number)

    def fetched(
        self,
        name: str,
        num_bytes: int,
        fetch: Callable[[Path], None],
        *,
        waits: bool,
        passes: bool = False,
        leaves_bytes: int | None = None,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
    ) -> HeldFile | None:
        """The file, held. Where it is not there, one process of the host downloads it, and the others wait for it.

        Room is reserved first. For it, files that nobody holds are removed: those that pass, then the others, and of
        each the one whose last use is oldest. If `fetch` raises, one of those who wait tries itself.

        A thread that waits must hold no other file of the folder: those who wait for room could wait for one another.

        Args:
            name: relative, with forward slashes; a folder's name may be in it.
            num_bytes: of the file. A file of this name with another size is removed.
            fetch: writes the file at the path that it is given, where an empty file lies, and does not replace it.
            waits: wait until there is room, instead of returning None.
            passes: mark the file as one that is removed before all others.
            leaves_bytes: take no room from files that do not pass, and return None where these and the new one would
                leave fewer bytes than that; not with `waits`.
            wait_seconds: how long to wait, for room or for another process.

        Returns:
            The file; None where no room can be had and not `waits`.

        Raises:
            ValueError: the file is larger than the folder may become, `name` is no such name, or `leaves_bytes` with
                `waits`.
            StoreError: the time is over; or `fetch` wrote another number of bytes; or a file of that name with another
                size is held.
            OSError: the disk is full, or failed. Nothing is left behind.
        """
        if num_bytes > self.max_bytes:
            raise ValueError(
                f"{name}: has {counted(num_bytes, 'byte')}, and the folder {self.path} may have {self.max_bytes}; "
                "give it a larger bound"
            )
        if waits and leaves_bytes is not None:
            raise ValueError("leaves_bytes cannot wait: room that others keep never becomes free")
        path, waited = self._path(name), _Waiting(wait_seconds)
        while True:
            held = self.held(name)
            if held is not None and held.num_bytes == num_bytes:
                return held
            if held is not None:
                self._drop_other_size(name, held, num_bytes)
                continue
            begun = self._begin(path, num_bytes, passes=passes, leaves_bytes=leaves_bytes)
            if begun == "there" and self._is_condemned(name):
                begun = "no room"  # until this process holds the wrong content no longer
            if isinstance(begun, int):
                fetched = self._complete(name, begun, num_bytes, fetch, passes=passes)
                if fetched is not None:
                    return fetched
            elif begun == "no room" and not waits:
                return None
            elif begun != "there":
                waited.a_while(f"{self.path}: {name}: {counted(num_bytes, 'byte')}: {_WAITS_FOR[begun]}")

    def remove(self, name: str) -> bool:
        """Remove a file; False where somebody holds it. True where it was not there."""
        with self._room.locked():
            return self._room.remove(self._path(name))

    def condemn(self, name: str) -> None:
        """Have a file removed whose content is wrong: now, or when this process holds it no longer.

        Until then `held` of this process does not give it. Where another process holds it, it stays.
        """
        with self._lock:
            opened = self._open.get(name)
            if opened is not None:
                opened.is_condemned = True
                return
        self.remove(name)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], max_bytes=state["max_bytes"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"BoundedFolder({str(self.path)!r}, max_bytes={self.max_bytes})"

    def _is_condemned(self, name: str) -> bool:
        opened = self._open.get(name)
        return opened is not None and opened.is_condemned

    def _path(self, name: str) -> str:
        parts = PurePosixPath(name).parts
        if (
            not parts
            or "/".join(parts) != name
            or name.endswith(PART_ENDING)
            or any(part.startswith((".", "/")) for part in parts)
        ):
            raise ValueError(
                f"a name in a folder must be relative, without hidden parts or {PART_ENDING!r} at its end; "
                f"found {name!r}"
            )
        return f"{self.path}/{name}"

    def _opened(self, path: str) -> int | None:
        """The descriptor of a complete file, with its shared lock."""
        while True:
            try:
                number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None
            # Who has the exclusive lock removes the file at once, so this never waits for long.
            fcntl.flock(number, fcntl.LOCK_SH)
            if is_file_at(path, number):
                _touch(number)
                return number
            os.close(number)

    def _registered(self, name: str, number: int) -> HeldFile:
        with self._lock:
            opened = self._open.get(name)
            if opened is None:
                opened = self._open[name] = OpenedFile(number, os.fstat(number).st_size)
            else:  # another thread was first
                os.close(number)
            opened.num_uses += 1
            return self._handle(name, opened)

    def _handle(self, name: str, opened: OpenedFile) -> HeldFile:
        return HeldFile(
            self.path / name,
            opened=opened,
            close=lambda: self._close(name, opened),
        )

    def _close(self, name: str, opened: OpenedFile) -> None:
        with self._lock:
            opened.num_uses -= 1
            if opened.num_uses:
                return
            if self._open.get(name) is opened:
                del self._open[name]
            _touch(opened.number)
            os.close(opened.number)
        if opened.is_condemned:
            self.remove(name)

    def _begin(self, path: str, num_bytes: int, *, passes: bool, leaves_bytes: int | None) -> int | str:
        """The descriptor of an empty file, locked, whose bytes are reserved; else what is in the way."""
        part = part_path(path, num_bytes)
        with self._room.locked():
            if os.path.lexists(path):
                return "there"
            if os.path.lexists(part) and not self._reclaimed(part, num_bytes):
                return "under way"
            if not self._room.reserve(num_bytes, passes=passes, leaves_bytes=leaves_bytes):
                return "no room"
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                fcntl.flock(number, fcntl.LOCK_EX)
                if passes:
                    os.fchmod(number, stat.S_IMODE(os.fstat(number).st_mode) | PASSES)
            except OSError:
                with suppress(OSError):
                    Path(part).unlink()
                self._room.release(num_bytes, passes=passes)
                raise
            return number

    def _reclaimed(self, part: str, num_bytes: int) -> bool:
        """Remove a file under way whose process is dead; False where it lives."""
        number = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            passes = bool(os.fstat(number).st_mode & PASSES)
            Path(part).unlink()
            self._room.release(num_bytes, passes=passes)
            return True
        finally:
            os.close(number)

    def _complete(
        self, name: str, number: int, num_bytes: int, fetch: Callable[[Path], None], *, passes: bool
    ) -> HeldFile | None:
        """Download into the file that was begun; None where the name was taken meanwhile, by a file of another size."""
        path = self._path(name)
        part = part_path(path, num_bytes)
        is_done = False
        try:
            fetch(Path(part))
            found = os.fstat(number).st_size
            if found != num_bytes or not is_file_at(part, number):
                raise StoreError(
                    f"{name}: expected {counted(num_bytes, 'byte')}, found {found} in {self.path} after the download"
                )
            with self._room.locked():
                # The change from the exclusive to the shared lock is not one step. Nobody sees a file under way
                # without the lock on the ledger, so nobody gets in between.
                fcntl.flock(number, fcntl.LOCK_SH)
                if not os.path.lexists(path):
                    _touch(number)
                    Path(part).rename(path)
                    is_done = True
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise OSError(
                    error.errno,
                    f"{name}: no room on the disk for its {counted(num_bytes, 'byte')}, though the folder may have "
                    f"{self.max_bytes}; free space, or give it a smaller bound",
                    str(self.path),
                ) from error
            raise
        finally:
            if not is_done:
                with self._room.locked():
                    with suppress(FileNotFoundError):
                        Path(part).unlink()
                    self._room.release(num_bytes, passes=passes)
                os.close(number)  # those who wait go on
        return self._registered(name, number) if is_done else None

    def _drop_other_size(self, name: str, held: HeldFile, num_bytes: int) -> None:
        found = held.num_bytes
        held.close()
        if not self.remove(name):
            raise StoreError(
                f"{self.path}: {name}: expected {counted(num_bytes, 'byte')}, found {found} in a file that is in use; "
                "the object was replaced while another process reads its old content"
            )


_WAITS_FOR: Final = {
    "under way": "another process or thread has been downloading it",
    "no room": "all files of the folder are in use; give it a larger bound, or use fewer processes",
}


class _Waiting:
    """Waits in small steps, which grow, until the time is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._seconds, self._step = seconds, _FIRST_POLL_SECONDS

    def a_while(self, what: str) -> None:
        if time.monotonic() > self._end:
            raise StoreError(f"{what}; gave up after {self._seconds:.0f} s")
        time.sleep(self._step)
        self._step = min(_LONGEST_POLL_SECONDS, self._step * 1.5)


def _touch(number: int) -> None:
    """Note the use of a file; where it belongs to another user, its age stays."""
    with suppress(OSError):
        os.utime(number)
