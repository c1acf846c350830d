"""All manifests of a cache in an object store."""

from pathlib import Path

from frame_store.errors import ObjectMissingError, StoreNotFoundError
from frame_store.manifest import MAX_MANIFEST_BYTES, CacheManifest, decode_manifest
from frame_store.names import manifest_name
from frame_store.remote import ObjectClient
from frame_store.remote_files.newest import newest_manifest


def all_manifests(client: ObjectClient) -> list[bytes]:
    """The bytes of all versions, which are not checked.

    Raises:
        StoreNotFoundError: there is no manifest, or one was removed meanwhile.
        StoreFormatError: as `newest_manifest`.
        ObjectStoreError: the store cannot be reached, refuses the credentials, or has more than 16 MiB there.
    """
    newest, raw = newest_manifest(client)
    try:
        earlier = [
            client.get(manifest_name(version), max_bytes=MAX_MANIFEST_BYTES) for version in range(newest)
        ]
    except ObjectMissingError as error:
        raise StoreNotFoundError(str(error)) from None
    return [*earlier, raw]


def bring_manifests(client: ObjectClient, folder: Path) -> CacheManifest:
    """Download all manifests to a folder, and read the newest one.

    Raises what `all_manifests` raises, and StoreFormatError where the newest one is wrong.
    """
    raws = all_manifests(client)
    for version, raw in enumerate(raws):
        (folder / manifest_name(version)).write_bytes(raw)
    newest = len(raws) - 1
    return decode_manifest(raws[-1], version=newest, name=client.url.object_text(manifest_name(newest)))
