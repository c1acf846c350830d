"""Checks before a repair: which files are broken, which build made them, and where their replacements go."""

import stat
from pathlib import Path
from typing import Final

import msgspec

from cache_builder.errors import RepairError
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig
from frame_store.manifest import CacheTree, FileEntry, Generation
from frame_store.verify import check_file

REBUILD: Final = "build the cache again: cache-build"


def broken_files(tree: CacheTree, progress: Progress) -> list[FileEntry]:
    """The files whose size or hash differs from the recorded one, with their names inside the generation."""
    entries = [*tree.common.files, *tree.common.shards]
    progress.start("check", len(entries), "files")
    broken = []
    for entry in entries:
        if check_file(tree.store_path, entry.inside(tree.generations[0].folder)):
            broken.append(entry)
        progress.advance(1)
    return broken


def config_of(generation: Generation) -> BuildConfig:
    """The settings that a generation was built with.

    Raises:
        RepairError: no build has such settings, or they contradict the rest of `generation.json`.
    """
    try:
        config = msgspec.convert(generation.config, BuildConfig)
    except msgspec.ValidationError as error:
        raise RepairError(
            f"config of generation.json is not one of this version: {error}; {REBUILD}"
        ) from error
    of_config = (config.format, config.encoding, config.frame_shape, config.layout, config.seed)
    of_frames = (
        *(generation.container, generation.encoding, generation.frame_shape),
        *(generation.layout, generation.seed),
    )
    if of_config != of_frames:
        raise RepairError(f"config of generation.json contradicts the rest of it; {REBUILD}")
    return config


def require_place(cache: Path, entry: FileEntry) -> None:
    """Make the folders of a file that will be replaced. Links are refused: they could lead out of the cache.

    Raises:
        RepairError: something else has the name of the file or of one of its folders.
    """
    folder = cache
    for part in entry.name.split("/")[:-1]:
        folder = folder / part
        folder.mkdir(exist_ok=True) if not folder.is_symlink() else None
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise RepairError(f"{folder}: must be a folder, and is a link or a file; remove it")
    if (cache / entry.name).is_dir() and not (cache / entry.name).is_symlink():
        raise RepairError(f"{cache / entry.name}: must be a file, and is a folder; remove it")
