"""Paths of sources: as they are opened, as they are called, and where their cache goes by default."""

import errno
import os
import stat
from pathlib import Path
from typing import TypeAlias

from cache_builder.errors import ConfigError, InputFolderError
from frame_store.remote import RemoteUrl, is_url
from frame_store.shared import user_path

Place: TypeAlias = Path | str | RemoteUrl
"""Where a source is, as a caller gives it."""


def place_of(place: Place) -> Path | RemoteUrl:
    """A source as a path, with `~` expanded, or as a URL.

    Raises:
        ValueError: an empty path; or a URL of an unknown kind, or with credentials, a query or a fragment.
    """
    if isinstance(place, RemoteUrl) or is_url(place):
        return RemoteUrl.of(place)
    return user_path(place)


def printable(name: str) -> str:
    r"""A file name as valid UTF-8: other bytes are written as `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def source_path(path: Path | str) -> Path:
    """The path of a source, with `~` expanded and links followed.

    A link to a file keeps its own name: a video is listed under that name, and a list is called by it.

    Raises:
        InputFolderError: it does not exist, or cannot be opened, for example because links form a loop.
    """
    path = user_path(path)
    if stat.S_ISDIR(mode_of(path)):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def mode_of(source: Path) -> int:
    """`st_mode` of a source.

    Raises:
        InputFolderError: it does not exist, or cannot be opened, for example because links form a loop.
    """
    try:
        return source.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputFolderError(source, "no such folder or file") from error
    except OSError as error:
        what = "a loop of symbolic links" if error.errno == errno.ELOOP else error.strerror
        raise InputFolderError(source, f"cannot be opened: {what}") from error


def named_path(path: Path | str) -> Path:
    """The path of a source under the name that the user gave it: a link keeps its name. The name is empty for a root.

    Raises:
        InputFolderError: it does not exist, or cannot be opened.
    """
    named = user_path(path)
    source = source_path(named)
    if named.name not in {"", ".."}:
        return Path(os.path.realpath(named.parent)) / named.name
    return source


def base_name(path: Path | RemoteUrl) -> str:
    """The last part of a source's path, as valid UTF-8. Paths of several sources begin with it.

    Raises:
        InputFolderError: it does not exist, or cannot be opened.
        ConfigError: the folder has no name (the root of the file system).
    """
    name = path.name if isinstance(path, RemoteUrl) else named_path(path).name
    if not name:
        raise ConfigError(f"{path}: has no name for its videos to begin with; give it alone")
    return printable(name)
