"""Copies of the tables of a cache in an object store, which are read as those of a local cache."""

import shutil
from pathlib import Path

from cache_builder.jobs import download, newest_version
from frame_store.column_files import read_columns_record
from frame_store.files import write_file
from frame_store.manifest import (
    MAX_MANIFEST_BYTES,
    CacheManifest,
    decode_manifest,
    read_generation,
)
from frame_store.names import COLUMNS_NAME, GENERATION_NAME, VIDEOS_NAME, manifest_name
from frame_store.remote import ObjectClient


def mirror_tables(cache: ObjectClient, folder: Path) -> bool:
    """Copy manifests, `generation.json`, tables of videos and columns into a folder; whether there is a cache.

    Raises:
        StoreError: the cache is of an unknown version, or damaged.
        OSError: disk full or failing.
        ObjectStoreError: the store cannot be reached.
    """
    newest = newest_version(cache)
    if newest is None:
        shutil.rmtree(folder, ignore_errors=True)
        return False
    raw = [cache.get(manifest_name(version), max_bytes=MAX_MANIFEST_BYTES) for version in range(newest + 1)]
    names = [manifest_name(version) for version in range(newest + 1)]
    there = [(folder / name).read_bytes() if (folder / name).is_file() else None for name in names]
    if any(old not in (None, new) for old, new in zip(there, raw, strict=True)):
        shutil.rmtree(folder)  # of another cache that was there
    folder.mkdir(parents=True, exist_ok=True)
    manifest = decode_manifest(raw[-1], version=newest, name=cache.url.object_text(names[-1]))
    _copy_files(cache, manifest, folder)
    for name, content in zip(names, raw, strict=True):
        write_file(folder / name, content)
    return True


def _copy_files(cache: ObjectClient, manifest: CacheManifest, folder: Path) -> None:
    places = [(entry.folder, entry) for entry in manifest.generations]
    places += [
        (f"{camera.folder}/{entry.folder}", entry)
        for camera in manifest.cameras
        for entry in camera.generations
    ]
    for inside, entry in places:
        (folder / inside).mkdir(parents=True, exist_ok=True)
        for name in (GENERATION_NAME, VIDEOS_NAME):
            if not (folder / inside / name).is_file():
                _copy(cache, f"{inside}/{name}", folder)
        read_generation(folder, entry, folder=inside)  # checks its digest
    for columns in manifest.columns:
        if not (folder / columns.folder / COLUMNS_NAME).is_file():
            (folder / columns.folder).mkdir(exist_ok=True)
            _copy(cache, f"{columns.folder}/{COLUMNS_NAME}", folder)
            for file in read_columns_record(folder, columns).files:
                _copy(cache, f"{columns.folder}/{file.name}", folder)


def _copy(cache: ObjectClient, key: str, folder: Path) -> None:
    """By a rename, so that a file is whole or absent."""
    (folder / key).parent.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{key}.part"
    download(cache, key, temporary)
    temporary.replace(folder / key)
