"""A page's file: written whole or not at all, and never in the place of a file that is no page of ours."""

from pathlib import Path
from typing import Final

from frame_cache_tools.report.page import GENERATOR

from cache_builder.errors import ConfigError, MachineError
from frame_store.files import write_file
from frame_store.shared import raise_if_out_of_files

_HEAD_BYTES: Final = 4096


def write_page(path: Path, page: str, *, overwrite: bool = False) -> int:
    """Write a page to `path`, and return its number of bytes. A page of ours that is there is replaced.

    Raises:
        ConfigError: `path` is a folder, lies in no folder, or is a file that is no page of ours and `overwrite` is
            False.
        MachineError: the file cannot be written, for example because the disk is full; what was there stays.
        OSError: no more files can be opened.
    """
    check_place(path, overwrite=overwrite)
    data = page.encode()
    try:
        write_file(path, data)
    except OSError as error:
        raise_if_out_of_files(error)
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from error
    return len(data)


def check_place(path: Path, *, overwrite: bool) -> None:
    """Refuse a place where a page cannot be written. Raises as `write_page`, before any work is done."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; {{--html}} takes the name of a file, such as report.html")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    if path.exists() and not overwrite and not is_page(path):
        raise ConfigError(
            f"{path}: is there, and is no page of cache-report; give another {{--html}}, or {{--overwrite}}"
        )


def is_page(path: Path) -> bool:
    """Whether a file is a page that this package wrote."""
    try:
        with path.open("rb") as file:
            return f'<meta name="generator" content="{GENERATOR}">'.encode() in file.read(_HEAD_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        return False
