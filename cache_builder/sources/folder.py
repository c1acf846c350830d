"""The videos of a folder and its subfolders, sorted by path."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from cache_builder.errors import InputFolderError
from cache_builder.sources.contents import PassedOver, SourceContents, SourceVideo, largest_first
from cache_builder.sources.names import printable
from frame_store.not_a_cache import is_cache
from frame_store.shared import EXTENSIONS_TEXT, is_video_name, raise_if_out_of_files


def look_into_folder(folder: Path, *, not_counted: Collection[Path] = ()) -> SourceContents:
    """The videos of `folder` and its subfolders, by extension, sorted by relative path; and what was passed over.

    Hidden files and folders (leading dot) are skipped. Links to files and folders are followed, and every folder
    counts once, even if several links lead to it. `not_counted` (absolute paths) are files and folders of the build
    itself: they count neither as videos nor as other files.

    Raises:
        InputFolderError: the folder or a subfolder cannot be listed, or there is no video.
        OSError: no more files can be opened.
    """
    found = _Found()
    _collect(folder, found, not_counted={os.fspath(path) for path in not_counted})
    if not found.paths:
        if is_cache(folder):
            raise InputFolderError(folder, "is a cache, and holds no videos; cache-info shows what is in it")
        others = found.passed_over().text
        raise InputFolderError(
            folder,
            f"holds no video{f' ({others})' if others else ''}; videos have these extensions: {EXTENSIONS_TEXT}",
        )
    videos = [
        SourceVideo(relative_path=printable(path.relative_to(folder).as_posix()), path=path)
        for path in found.paths
    ]
    return SourceContents(
        videos=sorted(videos, key=lambda video: (video.relative_path, os.fsencode(video.path))),
        passed_over=found.passed_over(),
    )


class _Found:
    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.num_hidden = 0
        self.extensions: Counter[str] = Counter()

    def take(self, path: Path) -> None:
        if is_video_name(path.name):
            self.paths.append(path)
        else:
            self.extensions[printable(path.suffix.lower())] += 1

    def passed_over(self) -> PassedOver:
        return PassedOver(by_extension=largest_first(self.extensions), num_hidden=self.num_hidden)


def _collect(top: Path, found: _Found, *, not_counted: set[str]) -> None:
    # The parents count as seen: a link to one of them would lead back to this folder.
    seen = {_identity(parent) for parent in top.resolve().parents}
    links: list[Path] = []
    folders = [top]
    while folders or links:
        # Links come last, sorted by name, so that a folder is listed under its own path if that is inside `top`.
        folder = folders.pop() if folders else links.pop(0)
        try:
            identity = _identity(folder)
            if identity in seen:
                continue
            seen.add(identity)
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            raise_if_out_of_files(error)
            raise _unlistable(top, folder, error) from error
        for entry in entries:
            if entry.path in not_counted:
                continue
            if entry.name.startswith("."):
                found.num_hidden += 1
                continue
            path = Path(entry.path)
            if _is_folder(top, path):
                (links if entry.is_symlink() else folders).append(path)
            else:
                found.take(path)
        if not folders:
            links.sort(key=os.fsencode)


def _is_folder(top: Path, path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        # A dangling or endless link counts as a file. If its name is that of a video, the scan reports the problem.
        is_link = os.path.islink(path)  # noqa: PTH114 - pathlib raises where it may not look
        if is_link and error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            return False
        raise _unlistable(top, path, error) from error


def _unlistable(top: Path, path: Path, error: OSError) -> InputFolderError:
    name = printable(path.relative_to(top).as_posix())
    return InputFolderError(top, f"cannot look into {name!r}: {error.strerror}")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return (status.st_dev, status.st_ino)
