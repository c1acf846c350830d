"""Finds the videos of a folder: one sorted table, the same for live and cached stores."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cache_builder.errors import InputFolderError
from frame_store.not_a_cache import is_cache
from frame_store.shared import EXTENSIONS_TEXT, counted, is_video_name, raise_if_out_of_files, user_path

_MAX_EXTENSIONS_LISTED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceVideo:
    """A file whose extension is that of a video."""

    relative_path: str
    """Posix path below the folder as valid UTF-8: other bytes are written as `\\xNN`."""
    path: Path
    """The path to open, exactly as the file system has it."""


class PassedOver(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a folder that do not count as videos."""

    by_extension: dict[str, int]
    """Lower-case extension with its dot ("" for none) -> number of files, largest first."""
    num_hidden: int
    """Files and folders whose names begin with a dot; the contents of such a folder are not counted."""

    @property
    def text(self) -> str | None:
        """One line; None if no file was passed over."""
        counts = [
            f"{count} {extension or 'without an extension'}" for extension, count in self.by_extension.items()
        ]
        more = len(counts) - _MAX_EXTENSIONS_LISTED
        if more > 0:
            num_files = sum(list(self.by_extension.values())[_MAX_EXTENSIONS_LISTED:])
            counts[_MAX_EXTENSIONS_LISTED:] = [f"{num_files} of {counted(more, 'other kind')}"]
        parts = [f"passed over by extension: {', '.join(counts)}"] if counts else []
        parts += [f"passed over as hidden: {self.num_hidden}"] if self.num_hidden else []
        return "; ".join(parts) or None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderContents:
    """What a folder holds."""

    videos: list[SourceVideo]
    """Sorted by relative path."""
    passed_over: PassedOver


def discover_videos(source: Path) -> list[SourceVideo]:
    """Videos of the folder `source` and its subfolders, by extension, sorted by relative path; or the one video.

    Hidden files and folders (leading dot) are skipped. Links to files and folders are followed, and every folder
    counts once, even if several links lead to it. The row in this list is the `video_id` of the video.

    Raises:
        InputFolderError: `source` does not exist, it or a subfolder cannot be listed, or there is no video.
        OSError: no more files can be opened.
    """
    return look_into(source).videos


def look_into(source: Path, *, not_counted: Collection[Path] = ()) -> FolderContents:
    """The videos of `source`, as `discover_videos` finds them, and how many other files were passed over.

    A single video has its file name as its path, as if it were alone in a folder. `not_counted` (absolute paths) are
    files and folders of the build itself: they count neither as videos nor as other files.

    Raises:
        InputFolderError: `source` does not exist, it or a subfolder cannot be listed, or there is no video.
    """
    if not stat.S_ISDIR(_mode_of(source)):
        return _single_video(source)
    folder = source
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
    return FolderContents(
        videos=sorted(videos, key=lambda video: (video.relative_path, os.fsencode(video.path))),
        passed_over=found.passed_over(),
    )


def source_path(path: Path | str) -> Path:
    """The path of a folder of videos, or of one video, with `~` expanded and links followed.

    A link to a video keeps its own name, because the video is listed under that name.

    Raises:
        InputFolderError: it does not exist, or cannot be opened, for example because links form a loop.
    """
    path = user_path(path)
    if stat.S_ISDIR(_mode_of(path)):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _mode_of(source: Path) -> int:
    try:
        return source.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputFolderError(source, "no such folder or video") from error
    except OSError as error:
        what = "a loop of symbolic links" if error.errno == errno.ELOOP else error.strerror
        raise InputFolderError(source, f"cannot be opened: {what}") from error


def _single_video(path: Path) -> FolderContents:
    if not is_video_name(path.name):
        raise InputFolderError(
            path,
            f"is neither a folder nor a file with the extension of a video: {EXTENSIONS_TEXT}",
        )
    video = SourceVideo(relative_path=printable(path.name), path=path)
    return FolderContents(videos=[video], passed_over=PassedOver(by_extension={}, num_hidden=0))


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
        by_number = sorted(self.extensions.items(), key=lambda item: (-item[1], item[0]))
        return PassedOver(by_extension=dict(by_number), num_hidden=self.num_hidden)


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


def printable(name: str) -> str:
    r"""A file name as valid UTF-8: other bytes are written as `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
