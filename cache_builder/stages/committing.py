"""A new version of a complete cache: its manifest is created beside the earlier ones, and never replaces one."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cache_builder.errors import OutputError
from frame_store.files import create_file
from frame_store.manifest import CacheManifest, encode_manifest
from frame_store.names import manifest_name

COMMIT_PREFIX: Final = "commit-"
"""Of the names of folders in which manifests are written, in the folder of unfinished work."""
_MAX_TRIES: Final = 100
"""Other processes would have to write so many versions while this one writes one."""


def commit_manifest(cache: Path, manifest: CacheManifest, *, scratch: Path) -> None:
    """Create the manifest in the folder of a cache. All that it names is there already, and synced.

    `scratch` is a folder on the same disk.

    Raises:
        OutputError: another process has written this version.
        OSError: disk full or failing.
    """
    name = manifest_name(manifest.version)
    try:
        _create(cache / name, manifest, scratch=scratch)
    except FileExistsError as error:
        raise OutputError(
            f"{cache / name}: another process has written it; run the same command again"
        ) from error


def commit_next(
    cache: Path,
    next_version: Callable[[], CacheManifest | None],
    *,
    scratch: Path,
    create: Callable[[CacheManifest], None] | None = None,
) -> CacheManifest | None:
    """Create the manifest that `next_version` makes out of the newest one; again where another process was faster.

    `next_version` reads the cache anew at each call. It returns None where there is nothing to write, and raises where
    what the other process wrote does not go with this. `create` creates the manifest of a cache in an object store, and
    raises FileExistsError; `cache` is then a copy of its tables.

    Returns what was written. Raises as `commit_manifest`, and what `next_version` raises.
    """
    for _ in range(_MAX_TRIES):
        manifest = next_version()
        if manifest is None:
            return None
        try:
            if create is not None:
                create(manifest)
            else:
                _create(cache / manifest_name(manifest.version), manifest, scratch=scratch)
        except FileExistsError:
            continue
        return manifest
    raise OutputError(f"{cache}: other processes write one version after another; run the same command again")


def _create(path: Path, manifest: CacheManifest, *, scratch: Path) -> None:
    """Raises FileExistsError where the manifest is there. No other process writes the same file in `scratch`."""
    folder = Path(tempfile.mkdtemp(dir=scratch, prefix=COMMIT_PREFIX))
    try:
        create_file(path, encode_manifest(manifest), scratch=folder / path.name)
    finally:
        (folder / path.name).unlink(missing_ok=True)
        folder.rmdir()
