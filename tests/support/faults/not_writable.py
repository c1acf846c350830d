"""A folder in which nothing can be created, as on a share that is mounted read-only; root could otherwise write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch


@contextmanager
def not_writable(folder: Path, number: int, *, may_lock: bool = False) -> Iterator[None]:
    """Have the system refuse, with the error `number`, to create anything right below `folder`.

    `may_lock` lets a build's lock be made there.
    """
    really_open, really_mkdir = os.open, os.mkdir

    def is_refused(path):
        is_lock = str(path).endswith(".lock")
        return Path(os.fsdecode(path)).parent == folder and not (may_lock and is_lock)

    def open_(path, flags, *args, **kwargs):
        if isinstance(path, str | bytes | os.PathLike) and flags & os.O_CREAT and is_refused(path):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return really_open(path, flags, *args, **kwargs)

    def mkdir(path, *args, **kwargs):
        if is_refused(path) and not os.path.isdir(path):  # noqa: PTH112
            raise OSError(number, os.strerror(number), os.fspath(path))
        return really_mkdir(path, *args, **kwargs)

    with patch.object(os, "open", open_), patch.object(os, "mkdir", mkdir):
        yield
