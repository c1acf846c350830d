"""The manifests of a cache in an object store, found without a list of its objects."""

from pathlib import Path
from typing import Final

from frame_store.errors import ObjectAccessError, ObjectMissingError, StoreNotFoundError
from frame_store.manifest import CacheManifest, decode_manifest
from frame_store.names import manifest_name
from frame_store.remote import ObjectClient

MAX_MANIFEST_BYTES: Final = 1 << 24


def newest_version(client: ObjectClient) -> int:
    """The number of the newest manifest. Versions have no gaps, so that some twice log2 of it are asked for.

    Raises:
        StoreNotFoundError: there is no manifest.
        ObjectStoreError: the store cannot be reached, or refuses the credentials.
    """
    if client.find(manifest_name(0)) is None:
        raise StoreNotFoundError(
            f"{client.url.text}: no cache: {manifest_name(0)} is not there (404); give the URL of the folder that "
            "cache-build --out wrote, or that a cache was copied to"
        )
    there, step = 0, 1
    while _is_there(client, there + step):
        there, step = there + step, 2 * step
    missing = there + step
    while missing - there > 1:
        middle = (there + missing) // 2
        there, missing = (middle, missing) if _is_there(client, middle) else (there, middle)
    return there


def _is_there(client: ObjectClient, version: int) -> bool:
    try:
        return client.find(manifest_name(version)) is not None
    except ObjectAccessError:
        return False  # who may not list a bucket is told this of an object that is not there


def raw_manifest(client: ObjectClient, version: int) -> bytes:
    """The bytes of the manifest of a version, which are not checked.

    Raises:
        StoreNotFoundError: it was removed meanwhile.
        ObjectStoreError: the store cannot be reached, refuses the credentials, or has more than 16 MiB there.
    """
    try:
        return client.get(manifest_name(version), max_bytes=MAX_MANIFEST_BYTES)
    except ObjectMissingError as error:
        raise StoreNotFoundError(str(error)) from None


def bring_manifests(client: ObjectClient, folder: Path) -> CacheManifest:
    """Download all manifests to a folder, and read the newest one.

    Raises:
        StoreNotFoundError: there is no manifest.
        StoreFormatError: the newest one is wrong.
        ObjectStoreError: the store cannot be reached, or refuses the credentials.
    """
    version, raw = newest_version(client), b""
    for number in range(version + 1):
        raw = raw_manifest(client, number)
        (folder / manifest_name(number)).write_bytes(raw)
    return decode_manifest(raw, version=version, name=client.url.object_text(manifest_name(version)))
