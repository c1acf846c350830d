"""Which manifest of a cache in an object store is the newest, and what lies there where there is none."""

from collections.abc import Callable
from typing import Final

from frame_store.errors import (
    ObjectAccessError,
    ObjectMissingError,
    ObjectStoreError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
)
from frame_store.manifest import MAX_MANIFEST_BYTES
from frame_store.names import is_camera_folder, is_generation_folder, manifest_name, manifest_version
from frame_store.remote import ObjectClient
from frame_store.shared import is_video_name, without_controls

_MAX_CACHES_NAMED: Final = 3
_MAX_FOLDERS_LOOKED_AT: Final = 50


def newest_manifest(client: ObjectClient) -> tuple[int, bytes]:
    """The version and the bytes of the newest manifest below the URL of a client.

    The store is asked for the names there. One that has no lists, or may not tell, is asked for versions 0, 1, 2, 4, 8
    and so on until one is absent, and then for those between.

    Raises:
        StoreNotFoundError: there is no cache; the message states what is there, and the remedy.
        StoreFormatError: a manifest is missing, while a later one or a generation is there.
        ObjectStoreError: the store cannot be reached, or refuses.
    """
    version = _listed_version(client)
    if version is not None:
        return version, client.get(manifest_name(version), max_bytes=MAX_MANIFEST_BYTES)
    found: dict[int, bytes] = {}

    def is_there(version: int) -> bool:
        try:
            found[version] = client.get(manifest_name(version), max_bytes=MAX_MANIFEST_BYTES)
        except ObjectMissingError:
            return False
        except ObjectAccessError:
            if not found:
                raise
            return False  # without the right to list, S3 says so of what is not there
        return True

    if not is_there(0):
        raise StoreNotFoundError(_no_cache(client))
    newest = last_true(is_there)
    return newest, found[newest]


def last_true(is_there: Callable[[int], bool]) -> int:
    """The last number for which it is true, where it is true for 0 and all up to that number, and for none above.

    >>> last_true(lambda number: number <= 11)
    11
    """
    below, step = 0, 1
    while is_there(below + step):
        below, step = below + step, below + step
    above = below + step
    while above - below > 1:
        between = (below + above) // 2
        if is_there(between):
            below = between
        else:
            above = between
    return below


def _listed_version(client: ObjectClient) -> int | None:
    """The highest version by the list of the store; None where it gives none.

    Raises:
        StoreNotFoundError: no manifest is there.
        StoreFormatError: a version below the highest one is missing.
    """
    if not client.url.is_writable:
        return None
    try:
        folders, names = client.entries()
    except (ObjectAccessError, ObjectMissingError):
        return None
    versions = {version for version in map(manifest_version, names) if version is not None}
    if not versions:
        raise _none_listed(client, folders, names)
    newest = max(versions)
    missing = next((version for version in range(newest) if version not in versions), None)
    if missing is not None:
        raise StoreFormatError(
            f"{client.url.object_text(manifest_name(missing))}: is missing, and {manifest_name(newest)} is there; copy "
            "the cache again"
        )
    return newest


def _none_listed(  # noqa: PLR0911 - a case each
    client: ObjectClient, folders: list[str], names: list[str]
) -> StoreError:
    """The error where a store lists no manifest: what it has instead, and the remedy."""
    text = client.url.text
    parent = _cache_above(client)
    if parent is not None:
        whole = f"give the whole: {parent}"
        if is_camera_folder(client.url.name):
            return StoreNotFoundError(
                f"{text}: no cache: a camera of one; {whole} (camera= opens one camera)"
            )
        if folders or names:
            return StoreNotFoundError(f"{text}: no cache: a part of one; {whole}")
    if any(is_generation_folder(folder) or is_camera_folder(folder) for folder in folders):
        return StoreFormatError(
            f"{client.url.object_text(manifest_name(0))}: is missing, and the rest of a cache is there: its build is "
            "not finished, or it was copied in part; give the same cache-build command again, or copy it again"
        )
    caches = [
        folder
        for folder in folders[:_MAX_FOLDERS_LOOKED_AT]
        if client.find(f"{folder}/{manifest_name(0)}") is not None
    ]
    if caches:
        listed = ", ".join(client.url.object_text(name) for name in caches[:_MAX_CACHES_NAMED])
        more = f" and {len(caches) - _MAX_CACHES_NAMED} more" if len(caches) > _MAX_CACHES_NAMED else ""
        return StoreNotFoundError(
            f"{text}: no cache: a folder that holds some; give one of them: {listed}{more}"
        )
    if any(is_video_name(name) for name in names):
        return StoreNotFoundError(
            f"{text}: no cache: a folder of videos; build their cache first: cache-build --videos {text}"
        )
    if not folders and not names:
        return StoreNotFoundError(
            f"{text}: no cache: nothing is there; check the URL, or build a cache first"
        )
    held = ", ".join(without_controls(name) for name in [*folders, *names][:_MAX_CACHES_NAMED])
    return StoreNotFoundError(
        f"{text}: no cache: no {manifest_name(0)} is there, but {held}; give the folder of a cache"
    )


def _cache_above(client: ObjectClient) -> str | None:
    """The text of the URL above that one, where a cache lies there."""
    url = client.url
    if not url.path:
        return None
    above = type(url)(scheme=url.scheme, root=url.root, path=url.path.rpartition("/")[0])
    try:
        is_cache = type(client)(above, policy=client.policy).find(manifest_name(0)) is not None
    except ObjectStoreError:
        return None
    return above.text if is_cache else None


def _no_cache(client: ObjectClient) -> str:
    """What to say where the store has no lists."""
    text = client.url.text
    parent = _cache_above(client)
    if parent is not None:
        return f"{text}: no cache: a part of one, or nothing; give the whole: {parent}"
    return (
        f"{text}: no cache: {manifest_name(0)} is not there, and this store has no list of what is; give the folder of "
        "a cache"
    )
