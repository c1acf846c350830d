"""Which objects a cache in an object store consists of."""

from frame_store.remote_files.listing import FilesOfFolder, files_of_cache
from frame_store.remote_files.manifests import all_manifests, bring_manifests
from frame_store.remote_files.newest import last_true, newest_manifest

__all__ = [
    "FilesOfFolder",
    "all_manifests",
    "bring_manifests",
    "files_of_cache",
    "last_true",
    "newest_manifest",
]
