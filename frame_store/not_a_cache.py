"""The error line where a path is no cache: what the path holds instead, and the remedy."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from frame_store.names import is_camera_folder, manifest_name
from frame_store.shared import is_video_name, without_controls

_MAX_ENTRIES_LOOKED_AT: Final = 1000
_MAX_CACHES_NAMED: Final = 3
_MAX_LEVELS_UP: Final = 8
"""A shard of a Zarr cache lies that deep in it."""

_LIVE: Final = " (from Python, cache_builder.open_videos decodes live)"


def explain_no_cache(path: Path, *, error: OSError | None = None) -> str:
    """One line: the path, what it holds instead of a cache, and what to do.

    Args:
        path: a path without a manifest.
        error: the error from reading the manifest, if there was one.
    """
    what, remedy = _what_is_there(path, error)
    return f"{without_controls(str(path))}: no cache: {what}; {remedy}"


def _what_is_there(path: Path, error: OSError | None) -> tuple[str, str]:
    """What the path holds, and what to do."""
    if error is not None and error.errno not in {errno.ENOENT, errno.ENOTDIR}:
        return f"it cannot be opened: {error.strerror}", "give the folder of a cache"
    return _by_its_neighbours(path) or (_what_a_folder_is(path) if path.is_dir() else _what_a_file_is(path))


def _by_its_neighbours(path: Path) -> tuple[str, str] | None:
    """As `_what_is_there`, from the names beside and above the path; None where they do not help."""
    if _is_unfinished(path):
        return "its build is not finished", "give the same cache-build command again, it goes on"
    if path.name and os.path.isdir(path.with_name(f"{path.name}.fetching")):  # noqa: PTH112
        return "its cache-fetch is not finished", "give the same cache-fetch command again, it goes on"
    is_there = os.path.lexists(path)
    whole = next((parent for parent in [*path.absolute().parents][:_MAX_LEVELS_UP] if is_cache(parent)), None)
    if is_there and whole is not None:
        if is_camera_folder(path.name):
            return "a camera of one", f"give the whole: {whole} (from Python, camera= opens one camera)"
        return "a part of one", f"give the whole: {whole}"
    beside = path.with_name(f"{path.name}.cache") if path.name else path
    if is_cache(beside):
        what = "the videos that one was made of" if is_there else "nothing is there"
        return what, f"give the cache beside it: {beside}"
    return None


def _what_a_file_is(path: Path) -> tuple[str, str]:
    """As `_what_is_there`, for a path that is not a folder."""
    if not os.path.lexists(path):
        return "no such folder", "check the path, or build a cache first: cache-build DIR"
    if path.is_file() and is_video_name(path.name):
        return "a video", f"build its cache first: cache-build {path}{_LIVE}"
    what = "a file" if path.is_file() else "a link to nothing" if path.is_symlink() else "no folder"
    return what, f"give the folder of a cache, with a {manifest_name(0)} in it"


def is_cache(path: Path) -> bool:
    """Whether a folder looks like a cache, as it has a first manifest."""
    return os.path.isfile(path / manifest_name(0))  # noqa: PTH113 - pathlib's version raises where it may not look


def _is_unfinished(path: Path) -> bool:
    """Whether a build to this path has not ended, or the path is the working folder of such a build."""
    if path.name.endswith(".building") and os.path.isdir(path):  # noqa: PTH112
        return True
    building = path.with_name(f"{path.name}.building") if path.name else path
    return building != path and os.path.isdir(building)  # noqa: PTH112


def _what_a_folder_is(folder: Path) -> tuple[str, str]:
    """As `_what_is_there`, for a folder without a manifest."""
    caches, has_videos, is_empty = [], False, True
    for entry in _entries(folder):
        is_empty = False
        has_videos = has_videos or is_video_name(entry.name)
        if is_cache(Path(entry.path)):
            caches.append(entry.path)
    if caches:
        listed = ", ".join(sorted(caches)[:_MAX_CACHES_NAMED])
        more = f" and {len(caches) - _MAX_CACHES_NAMED} more" if len(caches) > _MAX_CACHES_NAMED else ""
        return "a folder that holds some", f"give one of them: {listed}{more}"
    if is_empty:
        return "an empty folder", "check the path, or build a cache first: cache-build DIR"
    if has_videos or any(is_video_name(entry.name) for entry in _entries_below(folder)):
        return "a folder of videos", f"build their cache first: cache-build {folder}{_LIVE}"
    return f"a folder with no {manifest_name(0)} in it", "give the folder of a cache"


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The first entries of a folder; none for a folder that cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MAX_ENTRIES_LOOKED_AT), entries, strict=False):
                yield entry
    except OSError:
        return


def _entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The first entries of each of the first subfolders."""
    for entry in _entries(folder):
        if os.path.isdir(entry.path):  # noqa: PTH112
            yield from _entries(Path(entry.path))
