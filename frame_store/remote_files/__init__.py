"""Which objects a cache in an object store consists of."""

from frame_store.remote_files.listing import FilesOfFolder, files_of_cache
from frame_store.remote_files.manifests import bring_manifests, newest_version, raw_manifest

__all__ = ["FilesOfFolder", "bring_manifests", "files_of_cache", "newest_version", "raw_manifest"]
