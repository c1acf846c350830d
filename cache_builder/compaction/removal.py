"""Removes folders that the newest manifest no longer names, unless a reader has an older version open.

A reader holds a shared lock on the manifest that it opened (`HeldManifest`). A folder is removed while this process
holds exclusive locks on all older manifests that name it. It leaves the cache by one rename and is deleted then, so
that a folder in the cache is whole at every moment.
"""

import os
import shutil
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import msgspec

from frame_store.errors import StoreError
from frame_store.files import sync_path
from frame_store.manifest import ClaimedManifest, ManifestInUseError, read_manifest
from frame_store.names import manifest_name
from frame_store.shared import further_descriptors, raise_if_out_of_files


class RemovedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A superseded folder of a cache, which is or was there."""

    folder: str
    """Inside the cache."""
    num_bytes: int
    """Of its files."""


class KeptFolder(RemovedFolder, frozen=True, kw_only=True):
    """A superseded folder that stays."""

    reason: str


def superseded_folders(cache: Path) -> list[RemovedFolder]:
    """The folders in a cache that only older manifests name.

    Raises:
        StoreError: no cache is there, or its newest manifest is damaged.
    """
    return [
        RemovedFolder(folder=folder, num_bytes=_num_bytes(cache / folder))
        for folder in read_manifest(cache).superseded
        if os.path.lexists(cache / folder)
    ]


def remove_superseded(cache: Path, *, scratch: Path) -> tuple[list[RemovedFolder], list[KeptFolder]]:
    """Remove them. `scratch` is a folder on the same disk, which is deleted. The caller holds the lock of the cache.

    Returns what was removed, and what was kept because it is in use.

    Raises:
        StoreError: no cache is there, or its newest manifest is damaged.
        OSError: the disk fails; `EXDEV` for a cache that is mounted by itself.
    """
    removed, kept = [], []
    folders = superseded_folders(cache)
    if folders:
        naming = _naming_versions(cache)
        # A folder may be named by as many versions as there are, and all of them are locked at once.
        num_locks = len({version for found in folders for version in naming[found.folder]})
        with further_descriptors(num_locks), ExitStack() as claimed:
            states: dict[int, str | None] = {}
            for found in folders:
                for version in naming[found.folder]:
                    if version not in states:
                        states[version] = _claim(cache, version, claimed)
                reason = next(filter(None, (states[version] for version in naming[found.folder])), None)
                if reason is not None:
                    kept.append(KeptFolder(folder=found.folder, num_bytes=found.num_bytes, reason=reason))
                    continue
                _take_out(cache, found.folder, scratch=scratch)
                removed.append(found)
    if scratch.exists():
        shutil.rmtree(scratch)
    return removed, kept


def _take_out(cache: Path, folder: str, *, scratch: Path) -> None:
    """Move a folder out of the cache and delete it."""
    scratch.mkdir(parents=True, exist_ok=True)
    aside = scratch / folder.replace("/", "-")
    if os.path.lexists(aside):  # of a call that was killed
        shutil.rmtree(aside)
    path = cache / folder
    if path.is_symlink():
        path.unlink()
        return
    path.rename(aside)
    sync_path(path.parent)
    shutil.rmtree(aside)


def _naming_versions(cache: Path) -> dict[str, list[int]]:
    """By folder, the versions before the newest one that name it. One that cannot be read may name any."""
    newest = read_manifest(cache)
    naming: dict[str, list[int]] = defaultdict(list)
    for version in range(newest.version):
        try:
            folders = read_manifest(cache, version=version).folders
        except StoreError:
            folders = newest.superseded
        for folder in folders:
            naming[folder].append(version)
    return naming


def _claim(cache: Path, version: int, claimed: ExitStack) -> str | None:
    """Lock an older manifest for as long as the stack is open; or the reason why it cannot be."""
    try:
        claim = ClaimedManifest(cache, version)
    except ManifestInUseError:
        return f"in use by a reader that has {manifest_name(version)} open"
    except OSError as error:
        raise_if_out_of_files(error)
        return (
            f"{manifest_name(version)} cannot be locked ({error.strerror}), so that nobody knows who reads; "
            "remove the folder yourself when nobody does"
        )
    claimed.callback(claim.release)
    return None


def _num_bytes(path: Path) -> int:
    return sum(
        os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - as os.walk gives them
        for parent, _, names in os.walk(path)
        for name in names
    )
