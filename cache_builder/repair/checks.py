"""What a repair looks at before it makes anything: which files are broken, of what build, and where they go."""

import stat
from pathlib import Path
from typing import Final

import msgspec

from cache_builder.errors import RepairError
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig
from frame_store.manifest import FileEntry, StoreManifest
from frame_store.verify import check_file

REBUILD: Final = "build the cache again: cache-build"


def broken_files(cache: Path, manifest: StoreManifest, progress: Progress) -> list[FileEntry]:
    """The files that are not as the manifest says, by size and hash."""
    entries = [*manifest.files, *manifest.shards]
    progress.start("check", len(entries), "files")
    broken = []
    for entry in entries:
        if check_file(cache, entry):
            broken.append(entry)
        progress.advance(1)
    return broken


def config_of(manifest: StoreManifest) -> BuildConfig:
    """The settings that a cache was built with.

    Raises:
        RepairError: they are not those of any build, or not those of the frames.
    """
    try:
        config = msgspec.convert(manifest.config, BuildConfig)
    except msgspec.ValidationError as error:
        raise RepairError(f"config of the manifest is that of no build here: {error}; {REBUILD}") from error
    told = (config.format, config.encoding, config.frame_shape, config.layout, config.seed)
    of_frames = (
        *(manifest.container, manifest.encoding, manifest.frame_shape),
        *(manifest.layout, manifest.seed),
    )
    if told != of_frames:
        raise RepairError(f"config of the manifest contradicts the rest of it; {REBUILD}")
    return config


def require_place(cache: Path, entry: FileEntry) -> None:
    """Make the folders of a file that is to be replaced, and see that no link leads out of the cache.

    Raises:
        RepairError: something else is where the file or a folder must be.
    """
    folder = cache
    for part in entry.name.split("/")[:-1]:
        folder = folder / part
        folder.mkdir(exist_ok=True) if not folder.is_symlink() else None
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise RepairError(f"{folder}: must be a folder, and is a link or a file; remove it")
    if (cache / entry.name).is_dir() and not (cache / entry.name).is_symlink():
        raise RepairError(f"{cache / entry.name}: must be a file, and is a folder; remove it")
