"""Files of a store: opened so that no link leads out of the folder, published by a rename, fetched ahead of time."""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""`O_NONBLOCK`, so that a pipe is refused and not waited for."""
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


class OpenFile:
    """A file that closes when its last holder drops it: a bounded table of files cannot close it under a reader.

    Raises:
        OSError: the file cannot be opened, or is a symbolic link.
    """

    number: int = -1
    """Its descriptor."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, _OPEN_FLAGS)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        # A default argument, because the interpreter at its end empties modules before it drops the last objects.
        if self.number >= 0:
            _close(self.number)


def require_plain_file(folder: Path, name: str) -> None:
    """Check that `name`, relative with forward slashes, is a regular file of `folder` with no link on the way to it.

    `folder` itself may be a link: the caller named it.

    Raises:
        OSError: the file is missing, behind or itself a symbolic link, or no regular file; `strerror` has which.
    """
    path, mode = os.fspath(folder), stat.S_IFDIR
    for part in name.split("/"):
        path = f"{path}/{part}"
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            reason = "is a symbolic link, and a cache holds none; copy it with links followed (cp -rL)"
            raise OSError(errno.ELOOP, reason, path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file", path)


def open_inside(folder: Path, name: str) -> OpenFile:
    """Open the regular file `name` of `folder`, with no link on the way to it.

    Raises:
        OSError: as `require_plain_file`.
    """
    require_plain_file(folder, name)
    return OpenFile(folder / name)


def read_inside(folder: Path, name: str, *, max_bytes: int) -> bytearray:
    """Content of a file of `folder`.

    Raises:
        OSError: as `require_plain_file`; `EFBIG` for a file of more than `max_bytes`.
    """
    file = open_inside(folder, name)
    num_bytes = os.fstat(file.number).st_size
    if num_bytes > max_bytes:
        raise OSError(errno.EFBIG, f"{num_bytes} bytes, at most {max_bytes} are read", str(folder / name))
    content = bytearray(num_bytes)
    view, num_read = memoryview(content), 0
    while num_read < num_bytes and (step := os.preadv(file.number, [view[num_read:]], num_read)):
        num_read += step
    view.release()
    del content[num_read:]
    return content


def write_file(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, fsync it and rename it to `path`, replacing what was there."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_path(path: Path) -> None:
    """fsync a file's content, or a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder below `folder`, itself last."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_path(Path(parent, name))
        sync_path(Path(parent))


def publish_folder(finished: Path, target: Path) -> None:
    """Give the synced folder `finished` the name `target` in one step, and sync the parent.

    Where `target` exists the two swap names, so that a complete folder has the name at every moment. The old folder is
    then at `finished`, and the caller removes it.
    """
    if target.exists():
        _exchange(finished, target)
    else:
        finished.rename(target)
    sync_path(target.parent)
    sync_path(finished.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names atomically (Linux renameat2); without it, by three renames."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EINVAL):  # a kernel or a file system without the exchange
            raise OSError(number, os.strerror(number), str(one), None, str(other))
    aside = one.with_name(one.name + ".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def is_cached(file: OpenFile, byte_offset: int) -> bool:
    """Whether the byte is in the page cache; True where the system has no call to find out, nor one to read ahead."""
    if not hasattr(os, "RWF_NOWAIT"):
        return True
    try:
        os.preadv(file.number, [bytearray(1)], byte_offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without this call
    return True


def will_need(file: OpenFile, byte_offset: int, num_bytes: int) -> None:
    """Have the system read the bytes into the page cache in the background, if it has the call for it."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.number, byte_offset, num_bytes, os.POSIX_FADV_WILLNEED)
