"""Which videos a folder holds: one sorted table, the same for live and cached stores."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cache_builder.errors import InputFolderError
from frame_store.descriptors import raise_if_out_of_files

_EXTENSIONS = (
    "264 265 3g2 3gp asf av1 avi dv f4v flv gxf h264 h265 hevc ivf m2t m2ts m2v m4v mjpeg mjpg mkv mov mp4 "
    "mpe mpeg mpg mpv mts mxf nut obu ogm ogv qt rm rmvb ts vob webm wmv y4m"
)
VIDEO_EXTENSIONS = frozenset(_EXTENSIONS.split())
"""Lower-case file extensions taken as video. What a file truly holds is the scan's business."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceVideo:
    """A file that claims to be a video."""

    relative_path: str
    """Posix path below the folder, valid UTF-8: bytes that are not are written as `\\xNN`."""
    path: Path
    """Where to open it, exactly as the file system names it."""


def discover_videos(folder: Path) -> list[SourceVideo]:
    """Videos of `folder` and its subfolders, by extension, sorted by relative path.

    Hidden files and folders (leading dot) are skipped. Links to files and folders are followed, and every folder
    counts once, however many links lead to it. The row in this list is the `video_id` of the video.

    Raises:
        InputFolderError: there is no such folder, it or a subfolder cannot be listed, or it holds no video.
        OSError: no more files can be opened.
    """
    try:
        mode = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputFolderError(folder, "no such folder") from error
    except OSError as error:
        raise InputFolderError(folder, f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise InputFolderError(folder, "not a folder")
    paths = _collect(folder)
    if not paths:
        raise InputFolderError(
            folder, f"holds no video; files with these extensions are taken: {_EXTENSIONS}"
        )
    videos = [
        SourceVideo(relative_path=printable(path.relative_to(folder).as_posix()), path=path) for path in paths
    ]
    return sorted(videos, key=lambda video: (video.relative_path, os.fsencode(video.path)))


def _collect(top: Path) -> list[Path]:
    found: list[Path] = []
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
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if _is_folder(top, path):
                (links if entry.is_symlink() else folders).append(path)
            elif path.suffix[1:].lower() in VIDEO_EXTENSIONS:
                found.append(path)
        if not folders:
            links.sort(key=os.fsencode)
    return found


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
