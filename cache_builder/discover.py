"""Which videos a folder holds: one sorted table, the same for live and cached stores."""

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

_MAX_EXTENSIONS_TOLD = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceVideo:
    """A file that claims to be a video."""

    relative_path: str
    """Posix path below the folder, valid UTF-8: bytes that are not are written as `\\xNN`."""
    path: Path
    """Where to open it, exactly as the file system names it."""


class PassedOver(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a folder that were not taken for videos."""

    by_extension: dict[str, int]
    """Lower-case extension with its dot, "" for none -> how many files, most first."""
    num_hidden: int
    """Files and folders whose names begin with a dot; what such a folder holds is not counted."""

    @property
    def text(self) -> str | None:
        """One line; None where all files were taken."""
        counts = [
            f"{count} {extension or 'without an extension'}" for extension, count in self.by_extension.items()
        ]
        more = len(counts) - _MAX_EXTENSIONS_TOLD
        if more > 0:
            num_files = sum(list(self.by_extension.values())[_MAX_EXTENSIONS_TOLD:])
            counts[_MAX_EXTENSIONS_TOLD:] = [f"{num_files} of {counted(more, 'other kind')}"]
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
    counts once, however many links lead to it. The row in this list is the `video_id` of the video.

    Raises:
        InputFolderError: nothing is there, it or a subfolder cannot be listed, or it holds, or is, no video.
        OSError: no more files can be opened.
    """
    return look_into(source).videos


def look_into(source: Path, *, not_counted: Collection[Path] = ()) -> FolderContents:
    """The videos of `source`, as `discover_videos` finds them, and how many other files were passed over.

    A single video is known by its own name, as if it lay alone in a folder. The files and folders `not_counted`
    (absolute) are a build's own: they count neither as videos nor as others.

    Raises:
        InputFolderError: nothing is there, it or a subfolder cannot be listed, or it holds, or is, no video.
    """
    if not stat.S_ISDIR(_mode_of(source)):
        return _single_video(source)
    folder = source
    found = _Found()
    _collect(folder, found, not_counted={os.fspath(path) for path in not_counted})
    if not found.paths:
        if is_cache(folder):
            raise InputFolderError(folder, "is a cache, and holds no videos; cache-info says what is in it")
        told = found.passed_over().text
        raise InputFolderError(
            folder,
            f"holds no video{f' ({told})' if told else ''}; files with these extensions are taken: {EXTENSIONS_TEXT}",
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
    """Where a folder of videos, or one video, really lies: `~` put out, and links above it followed.

    A link to a video keeps its own name, which is what the video is known by.

    Raises:
        InputFolderError: it cannot be opened, as where links run in a loop; or nothing is there.
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
            "is neither a folder nor a file with one of the extensions that are taken for a video's: "
            f"{EXTENSIONS_TEXT}",
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
    # Folders above are taken for seen: a link to one of them leads back here.
    seen = {_identity(parent) for parent in top.resolve().parents}
    links: list[Path] = []
    folders = [top]
    while folders or links:
        # Links last, in the order of their names, so that a folder is known by its own path where it has one here.
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
        # A dangling or endless link: taken if its name is a video's, the scan says what is wrong.
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
    r"""A file name as valid UTF-8: bytes that are not are written as `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
