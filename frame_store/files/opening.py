"""Read-only files of a store: no symbolic link on the way leads out of the folder."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""`O_NONBLOCK`, so that a pipe is refused and not waited for."""


class OpenFile:
    """A file that is closed when the last reference to it is gone.

    So a table that drops old files cannot close one that a thread still reads.

    Raises:
        OSError: the file cannot be opened, or is a symbolic link.
    """

    number: int = -1
    """Its descriptor."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, _OPEN_FLAGS)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        # At shutdown `os` may be gone already; the default argument keeps `os.close`.
        if self.number >= 0:
            _close(self.number)


def require_plain_file(folder: Path, name: str) -> None:
    """Check that `name`, relative with forward slashes, is a regular file of `folder` with no link on the way to it.

    `folder` itself may be a link: the caller named it.

    Raises:
        OSError: the file is missing, a symbolic link or reached through one, or not a regular file; `strerror`
            states which.
    """
    path, mode = os.fspath(folder), stat.S_IFDIR
    for part in name.split("/"):
        path = f"{path}/{part}"
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            reason = "is a symbolic link, and a cache holds none; copy it with links followed (cp -rL)"
            raise OSError(errno.ELOOP, reason, path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file", path)


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
