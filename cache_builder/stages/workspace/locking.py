"""A file that one process of a machine holds locked, and that its holder may remove."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def locked_file(path: Path) -> int:
    """The descriptor of the file, which is made where it is not there, with its folders. To close it ends the lock.

    A file that its holder removed before this process locked it does not count: a third process may have made another.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be made.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if path.parent.exists():
                raise
            continue  # its holder has removed the folder
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(descriptor)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
