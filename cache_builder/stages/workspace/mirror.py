"""Copies of the tables of a cache in an object store, which are read as those of a local cache."""

import shutil
from pathlib import Path

from cache_builder.jobs import newest_version
from frame_store.column_files import read_columns_record
from frame_store.manifest import CacheManifest, decode_manifest, read_generation
from frame_store.names import COLUMNS_NAME, GENERATION_NAME, VIDEOS_NAME, manifest_name
from frame_store.remote import Mirror, MirroredFile, ObjectClient
from frame_store.remote_files import all_manifests


def mirror_tables(cache: ObjectClient, folder: Path) -> bool:
    """Copy manifests, `generation.json`, tables of videos and columns into a folder; whether there is a cache.

    Raises:
        StoreError: the cache is of an unknown version, or damaged.
        OSError: disk full or failing.
        ObjectStoreError: the store cannot be reached.
    """
    if newest_version(cache) is None:
        shutil.rmtree(folder, ignore_errors=True)
        return False
    raw = all_manifests(cache)
    names = [manifest_name(version) for version in range(len(raw))]
    there = [(folder / name).read_bytes() if (folder / name).is_file() else None for name in names]
    if any(old not in (None, new) for old, new in zip(there, raw, strict=True)):
        shutil.rmtree(folder)  # of another cache that was there
    manifest = decode_manifest(raw[-1], version=len(raw) - 1, name=cache.url.object_text(names[-1]))
    mirror = Mirror(cache, folder)
    _copy_tables(mirror, manifest)
    for name, content in zip(names, raw, strict=True):
        mirror.write(name, content)
    return True


def _copy_tables(mirror: Mirror, manifest: CacheManifest) -> None:
    places = [(entry.folder, entry) for entry in manifest.generations]
    places += [
        (f"{camera.folder}/{entry.folder}", entry)
        for camera in manifest.cameras
        for entry in camera.generations
    ]
    mirror.need(_file(f"{inside}/{GENERATION_NAME}", entry.digest) for inside, entry in places)
    for inside, entry in places:
        generation = read_generation(mirror.path, entry, folder=inside)
        tables = [file.inside(inside) for file in generation.files if file.name == VIDEOS_NAME]
        mirror.need(_file(file.name, file.sha256, file.num_bytes) for file in tables)
    mirror.need(_file(f"{columns.folder}/{COLUMNS_NAME}", columns.digest) for columns in manifest.columns)
    for columns in manifest.columns:
        files = [file.inside(columns.folder) for file in read_columns_record(mirror.path, columns).files]
        mirror.need(_file(file.name, file.sha256, file.num_bytes) for file in files)


def _file(name: str, sha256: str, num_bytes: int | None = None) -> MirroredFile:
    return MirroredFile(name=name, sha256=sha256, num_bytes=num_bytes)
