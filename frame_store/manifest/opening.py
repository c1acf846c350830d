"""Which manifest of a cache is the newest, and reading it."""

import errno
import os
import re
from pathlib import Path
from typing import Final

from frame_store.errors import StoreDamagedError, StoreError, StoreFormatError, StoreNotFoundError
from frame_store.files import read_inside
from frame_store.manifest.manifest import CacheManifest, decode_manifest
from frame_store.names import is_camera_folder, is_generation_folder, manifest_name, manifest_version
from frame_store.not_a_cache import explain_no_cache, is_cache
from frame_store.shared import raise_if_out_of_files, without_controls

MAX_MANIFEST_BYTES: Final = 1 << 24
"""16 MiB, enough for some 40,000 generations."""

_CALLED_A_MANIFEST: Final = re.compile(r"manifest-.*\.json", re.DOTALL)


def read_manifest(store_path: Path, *, version: int | None = None) -> CacheManifest:
    """The newest manifest of the cache at `store_path`, or the one of that version.

    Raises:
        StoreNotFoundError: the path holds no cache; the message states what it holds instead, and the remedy.
        StoreFormatError: as `decode_manifest`. Also: the manifest has more than 16 MiB, is a symbolic link or is not a
            file; a manifest is missing, while a later one or a generation is there; a file has a name like that of a
            manifest.
        StoreDamagedError: the disk cannot read the manifest.
        OSError: no more files can be opened.
    """
    try:
        if version is None:
            version = _newest_version(store_path)
        raw = read_inside(store_path, manifest_name(version), max_bytes=MAX_MANIFEST_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        raise _no_manifest(store_path, version or 0, error) from error
    return decode_manifest(raw, version=version, name=str(store_path / manifest_name(version)))


def _newest_version(store_path: Path) -> int:
    """The highest version of a manifest in a folder; 0 if there is none.

    Raises:
        StoreFormatError: a version below it is missing, or a file has a name like that of a manifest.
        OSError: the folder cannot be listed.
    """
    versions = set()
    with os.scandir(store_path) as entries:
        for entry in entries:
            if _CALLED_A_MANIFEST.fullmatch(entry.name):
                version = manifest_version(entry.name)
                if version is None:
                    raise StoreFormatError(
                        f"{store_path / without_controls(entry.name)}: is not the name of a manifest, which is like "
                        f"{manifest_name(0)}; move it away"
                    )
                versions.add(version)
    newest = max(versions, default=0)
    missing = next((version for version in range(newest) if version not in versions), None)
    if missing is not None:
        raise StoreFormatError(
            f"{store_path / manifest_name(missing)}: is missing, and {manifest_name(newest)} is there; "
            "copy the cache again"
        )
    return newest


_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG})
_REFUSED: Final = frozenset({errno.ELOOP, errno.EFBIG, errno.EINVAL})


def _no_manifest(store_path: Path, version: int, error: OSError) -> StoreError:
    """The error to raise where the manifest of `store_path` could not be read."""
    path = store_path / manifest_name(version)
    is_folder = os.path.isdir(store_path)  # noqa: PTH112 - pathlib's version raises where it may not look
    if error.errno == errno.ENOENT and is_folder and _is_without_manifest(store_path):
        return StoreFormatError(f"{path}: is missing, and the rest of a cache is there; copy it again")
    if error.errno in _NOT_THERE or not is_folder:
        return StoreNotFoundError(explain_no_cache(store_path, error=error))
    kind = StoreFormatError if error.errno in _REFUSED else StoreDamagedError
    return kind(f"{path}: {error.strerror}")


def _is_without_manifest(store_path: Path) -> bool:
    """Whether a folder is the rest of a cache, and not a camera of a whole one."""
    if is_camera_folder(store_path.name) and is_cache(store_path.absolute().parent):
        return False
    try:
        with os.scandir(store_path) as entries:
            return any(is_generation_folder(entry.name) or is_camera_folder(entry.name) for entry in entries)
    except OSError:
        return False
