"""Paths as users write them."""

import os
from pathlib import Path


def user_path(path: Path | str) -> Path:
    """The path with a leading `~` or `~name` put out in full.

    A shell leaves the `~` of `--videos=~/clips` or of a quoted path as it is. Where nobody has such a home the path
    stays as it is, and a file that is called so is meant by `./~`.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's raises for a name that nobody has
