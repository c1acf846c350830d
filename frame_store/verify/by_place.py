"""`verify_store`: the check of a cache on this machine, or in an object store."""

from collections.abc import Callable
from pathlib import Path

from frame_store.remote import RemoteUrl, is_url
from frame_store.shared import user_path
from frame_store.verify.remote import verify_at_url
from frame_store.verify.store import VerifyResult, verify_folder


def verify_store(
    path: Path | str | RemoteUrl,
    *,
    progress: Callable[[int], None] = lambda _: None,
    begin: Callable[[int], None] = lambda _: None,
) -> VerifyResult:
    """Check every byte of the cache at `path`, or at a URL.

    `begin` is called with the number of frames, before the first is checked, and `progress` with that of each checked
    shard. Of a cache at a URL, the files beside the shards and then shard by shard are downloaded to a temporary
    folder (TMPDIR names its place).

    Each generation is checked by itself, of a cache of cameras camera by camera. Then the generations, the cameras and
    the versions of the manifest are checked against each other.

    The cache may be of unknown origin: nothing outside of its folder is read, and nothing in it is run.

    Raises:
        StoreNotFoundError: `path` holds no cache.
        ObjectStoreError: the store cannot be reached, or refuses the credentials.
        ValueError: a URL of an unknown kind, or with credentials or a query.
        StoreFormatError: the manifest is wrong, or `generation.json` has the recorded hash and is wrong, or generations
            do not agree, so nothing can be checked against them.
        OSError: no more files can be opened, so nothing was found out.
    """
    if isinstance(path, RemoteUrl) or is_url(path):
        return verify_at_url(RemoteUrl.of(path), progress=progress, begin=begin)
    return verify_folder(user_path(path), name=str(path), progress=progress, begin=begin)
