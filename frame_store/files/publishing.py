"""Files and folders that appear whole or not at all: written beside their place, synced, renamed."""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def write_file(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name, fsync it and rename it to `path`, replacing what was there.

    Processes of several machines may do so at once: a process id would not tell them apart.
    """
    temporary = path.with_name(f"{path.name}.{int.from_bytes(os.urandom(4))}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create_file(path: Path, data: bytes, *, scratch: Path) -> None:
    """Make the file `path` appear with `data`, synced, and never replace one.

    It is written as `scratch`, a path on the same file system at which nothing lies, and then linked. Two processes
    that create one file give two paths.

    Raises:
        FileExistsError: `path` exists.
        OSError: disk full or failing.
    """
    with scratch.open("xb") as file:  # an older one may be the link to a file that was created
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(scratch, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A file system without hard links: of two processes that get here at once, one replaces the other's file.
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        scratch.rename(path)
    else:
        scratch.unlink()
    sync_path(path.parent)


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
