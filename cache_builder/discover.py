"""Which videos a folder holds: one sorted table, the same for live and cached stores."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cache_builder.errors import InputFolderError

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

    Hidden files and folders (leading dot) are skipped. Links to files and folders are followed, except
    a link to a folder that it lies in (a loop). The row in this list is the `video_id` of the video.

    Raises:
        InputFolderError: there is no such folder, it or a subfolder cannot be listed, or it holds no video.
    """
    if not folder.exists():
        raise InputFolderError(folder, "no such folder")
    if not folder.is_dir():
        raise InputFolderError(folder, "not a folder")
    paths: list[Path] = []
    above = frozenset(_identity(parent) for parent in folder.resolve().parents)
    _collect(folder, folder, ancestors=above, found=paths)
    if not paths:
        raise InputFolderError(
            folder, f"holds no video; files with these extensions are taken: {_EXTENSIONS}"
        )
    videos = [
        SourceVideo(relative_path=printable(path.relative_to(folder).as_posix()), path=path) for path in paths
    ]
    return sorted(videos, key=lambda video: (video.relative_path, os.fsencode(video.path)))


def _collect(folder: Path, top: Path, *, ancestors: frozenset[tuple[int, int]], found: list[Path]) -> None:
    # A folder may be reached twice by different links (both count); only a way back into itself is cut.
    try:
        identity = _identity(folder)
        if identity in ancestors:
            return
        entries = [Path(entry.path) for entry in os.scandir(folder)]
    except OSError as error:
        name = printable(folder.relative_to(top).as_posix())
        raise InputFolderError(top, f"cannot list the subfolder {name!r}: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            mode = entry.stat().st_mode
        except OSError:
            mode = 0  # A dangling or endless link: keep it if its name is a video's, the scan says what is wrong.
        if stat.S_ISDIR(mode):
            _collect(entry, top, ancestors=ancestors | {identity}, found=found)
        elif entry.suffix[1:].lower() in VIDEO_EXTENSIONS:
            found.append(entry)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return (status.st_dev, status.st_ino)


def printable(name: str) -> str:
    r"""A file name as valid UTF-8: bytes that are not are written as `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
