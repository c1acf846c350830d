"""The files of a cache against their recorded sizes and hashes, and entries of the folder that belong to no cache."""

import hashlib
import os
import stat
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frame_store.files import open_inside, require_plain_file
from frame_store.manifest import CacheTree, FileEntry
from frame_store.names import GENERATION_NAME, ZARR_FOLDER, is_content_folder, manifest_name
from frame_store.shared import counted, raise_if_out_of_files, without_controls


def has_size(root: Path, entry: FileEntry) -> bool:
    """Whether a file below `root` exists, is not a link, and has the recorded size."""
    try:
        require_plain_file(root, entry.name)
        return (root / entry.name).stat().st_size == entry.num_bytes
    except OSError:
        return False


def check_file(root: Path, entry: FileEntry, *, recorded_in: str = GENERATION_NAME) -> list[str]:
    """What is wrong with a file below `root`, by the size and hash in `recorded_in`: no line, or one.

    Raises:
        OSError: no more files can be opened.
    """
    try:
        return differences(root, entry, recorded_in=recorded_in)
    except OSError as error:
        raise_if_out_of_files(error)
        return [f"{entry.name}: {error.strerror}"]


def differences(root: Path, entry: FileEntry, *, recorded_in: str = GENERATION_NAME) -> list[str]:
    """As `check_file`, but raises OSError for a file that is missing, a link, or cannot be read."""
    descriptor = open_inside(root, entry.name)
    num_bytes = os.fstat(descriptor.number).st_size
    if num_bytes != entry.num_bytes:
        return [f"{entry.name}: expected {counted(entry.num_bytes, 'byte')}, found {num_bytes}"]
    with os.fdopen(os.dup(descriptor.number), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [] if digest == entry.sha256 else [f"{entry.name}: sha256 differs from that in {recorded_in}"]


class ExtraEntry(NamedTuple):
    """A file, link or folder in a cache's folder that is no part of the cache."""

    line: str
    is_harmless: bool


def extra_entries(
    trees: Sequence[CacheTree], *, shared_files: Iterable[str], unread: Collection[str] = ()
) -> Iterator[ExtraEntry]:
    """Entries of the folder that no file of the cache lists, and links, which are not followed.

    `trees` are those of the cameras, or the cache's only one. `unread` has the folders of cameras that cannot be read,
    of which nobody knows what they hold.
    `shared_files` has the paths of the files of its columns and of its content order. Superseded folders are named, and
    not opened.
    A generation that no manifest names is such an entry: it is named, and not opened.
    """
    known = _known_names(trees, shared_files)
    store_path, superseded = trees[0].store_path, trees[0].manifest.superseded
    for name, mode in sorted(_entries_below(store_path, known)):
        if name in unread:
            continue
        if name in superseded:
            what = "a content order" if is_content_folder(name) else "columns"
            yield ExtraEntry(f"{name}: holds {what} of an earlier version of the cache", stat.S_ISDIR(mode))
        elif name not in known:
            yield ExtraEntry(
                f"{without_controls(name)}: is no part of the cache", _is_read_by_nobody(name, mode)
            )
        elif stat.S_ISLNK(mode):
            yield ExtraEntry(f"{without_controls(name)}: is a link", is_harmless=False)


def _known_names(trees: Sequence[CacheTree], shared_files: Iterable[str]) -> set[str]:
    """Paths inside the cache of every file that belongs to it, and of their folders."""
    known = {manifest_name(version) for version in range(trees[0].manifest.version + 1)}
    for each in chain.from_iterable(tree.generations for tree in trees):
        names = [
            GENERATION_NAME,
            *(entry.name for entry in [*each.generation.files, *each.generation.shards]),
        ]
        known |= {f"{each.folder}/{name}" for name in names}
    known.update(shared_files)
    return known | {parent.as_posix() for name in known for parent in PurePosixPath(name).parents}


def _is_read_by_nobody(name: str, mode: int) -> bool:
    """Whether readers ignore such an entry. They may open any tar file, and anything in a Zarr folder."""
    is_plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return is_plain and not name.endswith(".tar") and ZARR_FOLDER not in name.split("/")


def _entries_below(top: Path, known: Container[str]) -> Iterator[tuple[str, int]]:
    """Relative path and mode of everything in a folder and in its known subfolders. Other folders are not opened."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            for entry in os.scandir(top / folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                yield name, mode
                if stat.S_ISDIR(mode) and name in known:
                    folders.append(name)
        except OSError as error:  # the checks of its files report it
            raise_if_out_of_files(error)
