"""Paths as users write them."""

import os
from pathlib import Path


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with a leading `~` or `~name` put out in full.

    A shell leaves the `~` of `--videos=~/clips` or of a quoted path as it is. Where nobody has such a home the path
    stays as it is, and a file that is called so is meant by `./~`.

    Raises:
        ValueError: an empty text, as a variable that is not set gives it; `Path` would make the current folder of it.
    """
    if not os.fspath(path):
        raise ValueError("the path is empty (a variable that is not set?); the current folder is '.'")
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises for a name that nobody has
