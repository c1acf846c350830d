"""Objects of a cache in a store: put once, and never over others that a manifest names."""

import hashlib
import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

from cache_builder.errors import OutputError
from frame_store.errors import ObjectMissingError
from frame_store.manifest import MAX_MANIFEST_BYTES, decode_manifest
from frame_store.names import manifest_name
from frame_store.remote import ObjectClient, RemoteObject
from frame_store.remote_files import last_true

MAX_SINGLE_PUT_BYTES: Final = 5 * 10**9
"""Stores take no larger object in one request, and only single requests create without replacing."""
SECONDS_TO_PUT: Final = 3600.0
"""What a job may take longer where it writes into an object store. Requests have their own time-outs and retries."""
_PART_BYTES: Final = 1 << 23


def temporary_path(work: Path, key: str) -> Path:
    """A local file for an object, in `work`, or on a machine without it in the folder for temporary files."""
    folder = work if work.is_dir() else Path(tempfile.gettempdir())
    return folder / f"{os.urandom(4).hex()}-{key.replace('/', '-')}.tmp"


def put_once(cache: ObjectClient, key: str, path: Path) -> RemoteObject:
    """Make the object `key` of a cache have the content of a file. One that has it already stays.

    Raises:
        OutputError: an object of other content is there, and a manifest of the cache names its folder.
        ObjectStoreError: the store cannot be reached.
    """
    try:
        return _create(cache, key, path)
    except FileExistsError:
        pass
    there = cache.find(key)
    if there is not None and has_content(cache, there, path):
        return there
    if any(key.startswith(f"{folder}/") for folder in named_folders(cache)):
        raise OutputError(
            f"{cache.url.object_text(key)}: another process has published a cache with other content there; run the "
            "same command again"
        )
    return cache.put_file(key, path)  # of a killed build


def _create(cache: ObjectClient, key: str, path: Path) -> RemoteObject:
    num_bytes = path.stat().st_size
    if num_bytes > MAX_SINGLE_PUT_BYTES:
        if cache.find(key) is not None:
            raise FileExistsError(key)
        return cache.put_file(key, path)
    if not num_bytes:
        return cache.create(key, b"")
    with path.open("rb") as file:
        # Not read: a shard may have gigabytes, and each worker puts one. The last who refers to the map closes it.
        return cache.create(key, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def has_content(client: ObjectClient, found: RemoteObject, path: Path) -> bool:
    """Whether an object has the content of a file; where its tag does not tell, it is read."""
    if found.num_bytes != path.stat().st_size:
        return False
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found.e_tag is not None and found.e_tag.strip('"') == md5:
            return True
        file.seek(0)
        for start in range(0, found.num_bytes, _PART_BYTES):
            num_bytes = min(_PART_BYTES, found.num_bytes - start)
            try:
                part = client.get_range(found.key, start, num_bytes, e_tag=found.e_tag)
            except ObjectMissingError:
                return False
            if part != file.read(num_bytes):
                return False
    return True


def newest_version(cache: ObjectClient) -> int | None:
    """The highest version of a manifest; None where there is no cache. Versions are dense, so no list is needed."""

    def is_there(version: int) -> bool:
        return cache.find(manifest_name(version)) is not None

    return last_true(is_there) if is_there(0) else None


def named_folders(cache: ObjectClient) -> list[str]:
    """The folders that the newest manifest names; none where there is no cache."""
    version = newest_version(cache)
    if version is None:
        return []
    raw = cache.get(manifest_name(version), max_bytes=MAX_MANIFEST_BYTES)
    return list(
        decode_manifest(raw, version=version, name=cache.url.object_text(manifest_name(version))).folders
    )
