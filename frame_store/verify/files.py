"""The files of a cache against their recorded sizes and hashes, and entries of the folder that belong to no cache."""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

from frame_store.files import open_inside, require_plain_file
from frame_store.manifest import CacheManifest, FileEntry, GenerationTree
from frame_store.names import (
    GENERATION_NAME,
    ZARR_FOLDER,
    is_content_folder,
    is_generation_folder,
    manifest_name,
)
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


EntriesBelow: TypeAlias = Callable[[Container[str]], Iterator[tuple[str, int]]]
"""From the paths that a cache knows to the path and mode of everything in its folder and in known subfolders."""


class ExtraEntry(NamedTuple):
    """A file, link or folder in a cache's folder that is no part of the cache."""

    line: str
    is_harmless: bool


def extra_entries(
    store_path: Path,
    manifest: CacheManifest,
    trees: Sequence[GenerationTree],
    *,
    shared_files: Iterable[str],
    unread: Collection[str] = (),
    entries_below: EntriesBelow | None = None,
) -> Iterator[ExtraEntry]:
    """Entries of the folder that no file of the cache lists, and links, which are not followed.

    Superseded folders, and generations that no manifest names, are such entries: they are named, and not opened.

    Args:
        store_path: the cache.
        manifest: its newest manifest.
        trees: the generations that can be read, of all cameras.
        shared_files: paths of the files of its columns and of its content orders.
        unread: folders of generations that cannot be read, of which nobody knows what they hold.
        entries_below: lists the entries of the cache and of its known subfolders; None for a folder of this machine.
    """
    known = _known_names(manifest, trees, shared_files)
    known.update(parent.as_posix() for name in unread for parent in PurePosixPath(name).parents)
    superseded = set(manifest.superseded)
    for name, mode in sorted((entries_below or partial(_entries_below, store_path))(known)):
        if name in unread:
            continue
        if name in superseded:
            yield ExtraEntry(f"{name}: holds {_superseded_text(name)}", stat.S_ISDIR(mode))
        elif name not in known:
            yield ExtraEntry(
                f"{without_controls(name)}: is no part of the cache{_leftover_text(name, mode)}",
                _is_read_by_nobody(name, mode),
            )
        elif stat.S_ISLNK(mode):
            yield ExtraEntry(f"{without_controls(name)}: is a link", is_harmless=False)


def _superseded_text(name: str) -> str:
    """What the folder of an earlier version of a cache holds."""
    folder = PurePosixPath(name).name
    if is_generation_folder(folder):
        return "frames that were joined into another generation; cache-compact --remove-superseded removes it"
    what = "a content order" if is_content_folder(folder) else "columns"
    return f"{what} of an earlier version of the cache"


def _leftover_text(name: str, mode: int) -> str:
    """The end of the line about a folder that looks like a part of the cache, and that no manifest names."""
    if stat.S_ISDIR(mode) and is_generation_folder(PurePosixPath(name).name):
        return ": no manifest names it; an append that was stopped may have left it, and the same append takes it up"
    return ""


def _known_names(
    manifest: CacheManifest, trees: Sequence[GenerationTree], shared_files: Iterable[str]
) -> set[str]:
    """Paths inside the cache of every file that belongs to it, and of their folders."""
    known = {manifest_name(version) for version in range(manifest.version + 1)}
    for each in trees:
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
