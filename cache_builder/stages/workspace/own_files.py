"""Files and folders beside an output: which of them are a build's own, and paths as the user meant them."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cache_builder.errors import ConfigError, OutputError
from cache_builder.stages.committing import COMMIT_PREFIX
from frame_store.shared import user_path

MAX_START_BYTES: Final = 1 << 16
REPORT_START: Final = re.compile(
    rb'\{\n "output": "[^\n]*",\n "status": "(built|appended|already complete)",\n'
)
SCAN_CACHE_START: Final = re.compile(rb".{32}\x82\xa7version", re.DOTALL)
"""A digest, then MessagePack with two keys. A file that begins so is a scan cache, even if the rest is damaged."""
_URL_AS_PATH: Final = re.compile(r"(s3|gs|az|https?):/")
"""`Path` makes one slash of two."""


def clear(folder: Path, *, is_ours: Callable[[str], bool]) -> None:
    """Remove a folder of unfinished work; a manifest in the making may be in it. Raises as `require_ours`."""
    require_ours(folder, is_ours=is_ours)
    if os.path.lexists(folder):
        shutil.rmtree(folder)


def require_ours(folder: Path, *, is_ours: Callable[[str], bool]) -> None:
    """Refuse a folder in which something lies that no build put there.

    Raises:
        OutputError: there is one.
    """
    if not os.path.lexists(folder):
        return
    is_folder = folder.is_dir() and not folder.is_symlink()
    if not is_folder or not all(
        is_ours(path.name) or path.name.startswith(COMMIT_PREFIX) for path in folder.iterdir()
    ):
        raise OutputError(f"{folder}: no build put that there; move it away, or give another {{--out}}")


def local_path(path: Path | str) -> Path:
    """The path with `~` expanded.

    Raises:
        ConfigError: it is a URL.
        ValueError: it is empty.
    """
    if _URL_AS_PATH.match(str(path)):
        raise ConfigError(
            "a URL is given where only a path on this machine is taken: change a local copy of the cache "
            "(cache-fetch), and copy that to another place whole"
        )
    return user_path(path)


def resolved(path: Path) -> Path:
    """The path with `~` expanded and links followed.

    Raises:
        ConfigError: the links form a loop, or may not be followed; or it is a URL, which `make_workspace` takes alone.
    """
    path = local_path(path)
    try:
        real = Path(os.path.realpath(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be followed: {error.strerror}") from error
    try:
        real.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:  # realpath does not report it, Path.resolve only up to Python 3.12
            raise ConfigError(f"{path}: cannot be followed: a loop of symbolic links") from error
    return real


def begins_with(path: Path, start: re.Pattern[bytes]) -> bool:
    """Whether a regular file (or a link to one) begins so, or is empty."""
    if not path.is_file():  # opening a pipe would block
        return False
    try:
        with path.open("rb") as file:
            head = file.read(MAX_START_BYTES)
    except PermissionError:
        return False
    return not head or start.match(head) is not None
