"""A new version of a complete cache: its manifest is created beside the earlier ones, and never replaces one."""

from pathlib import Path

from cache_builder.errors import OutputError
from frame_store.files import create_file
from frame_store.manifest import CacheManifest, encode_manifest
from frame_store.names import manifest_name


def commit_manifest(cache: Path, manifest: CacheManifest, *, scratch: Path) -> None:
    """Create the manifest in the folder of a cache. All that it names is there already, and synced.

    `scratch` is a folder on the same disk.

    Raises:
        OutputError: another process has written this version.
        OSError: disk full or failing.
    """
    name = manifest_name(manifest.version)
    try:
        create_file(cache / name, encode_manifest(manifest), scratch=scratch / name)
    except FileExistsError as error:
        raise OutputError(
            f"{cache / name}: another process has written it; run the same command again"
        ) from error
