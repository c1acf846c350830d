"""The folders of a version of a cache in an object store, and the files of each, by the records that list them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from frame_store.column_files import read_columns_record
from frame_store.errors import ObjectMissingError, ObjectStoreError, StoreDamagedError, StoreError
from frame_store.manifest import CacheManifest, FileEntry, read_generation
from frame_store.names import COLUMNS_NAME, GENERATION_NAME
from frame_store.remote import ObjectClient

_MAX_BYTES: Final = {GENERATION_NAME: 1 << 29, COLUMNS_NAME: 1 << 26}
"""As the readers of these files allow."""


@dataclass(frozen=True, kw_only=True)
class FilesOfFolder:
    """A folder of a cache. All paths are inside the cache."""

    folder: str
    record: str | None
    """The file that lists the others; None for a content order, which the manifest lists."""
    digest: str
    """SHA-256, in hex, of that file; of a content order, of its only file."""
    files: list[FileEntry] = field(default_factory=list)
    """All but the record and the shards."""
    shards: list[FileEntry] = field(default_factory=list)
    """Of a generation, in order."""

    @property
    def all_files(self) -> list[FileEntry]:
        """Files and shards."""
        return [*self.files, *self.shards]


def files_of_cache(
    client: ObjectClient,
    manifest: CacheManifest,
    *,
    records: Path,
    on_damage: Callable[[StoreError], None] | None = None,
) -> Iterator[FilesOfFolder]:
    """Each folder that a version names, with its files: columns, content orders, then generations.

    The records are downloaded to their places below the folder `records`, unless they lie there, right, already.

    Args:
        client: of the folder of the cache.
        manifest: the version.
        records: a folder for `generation.json` and `columns.json`.
        on_damage: called with the error where a record is missing or damaged, whose folder is then left out. What came
            is written, for whoever checks it. None raises the error.

    Raises:
        StoreDamagedError: a record is missing, or has another SHA-256 than the manifest states.
        StoreFormatError: a record is wrong in itself.
        ObjectStoreError: the store cannot be reached, or refuses the credentials.
    """
    cameras = [(f"{camera.folder}/", camera.generations) for camera in manifest.cameras]
    for of_columns in manifest.columns:
        with_record = _Record(client, records, of_columns.folder, COLUMNS_NAME, of_columns.digest)
        try:
            with_record.bring()
            found = read_columns_record(records, of_columns)
        except StoreError as error:
            with_record.raise_unless(error, on_damage)
        else:
            files = [each.inside(of_columns.folder) for each in found.files]
            yield with_record.lists(files=files, shards=[])
    for order in manifest.content_orders:
        yield FilesOfFolder(folder=order.folder, record=None, digest=order.sha256, files=[order.file])
    for inside, generations in cameras or [("", manifest.generations)]:
        for entry in generations:
            folder = inside + entry.folder
            with_record = _Record(client, records, folder, GENERATION_NAME, entry.digest)
            try:
                with_record.bring()
                generation = read_generation(records, entry, folder=folder)
            except StoreError as error:
                with_record.raise_unless(error, on_damage)
            else:
                yield with_record.lists(
                    files=[each.inside(folder) for each in generation.files],
                    shards=[each.inside(folder) for each in generation.shards],
                )


class _Record:
    """The file that lists the others of a folder."""

    def __init__(self, client: ObjectClient, records: Path, folder: str, name: str, digest: str) -> None:
        self._client = client
        self._path = records / folder / name
        self._folder = folder
        self._name = name
        self._digest = digest

    def bring(self) -> None:
        """Download it.

        Raises:
            StoreDamagedError: it is missing, or has another SHA-256 than the manifest states.
        """
        if self._is_right():
            return
        key = f"{self._folder}/{self._name}"
        what = self._client.url.object_text(key)
        try:
            raw = self._client.get(key, max_bytes=_MAX_BYTES[self._name])
        except ObjectMissingError:
            raise StoreDamagedError(
                f"{what}: is not there (404), and the manifest names it; copy the cache there again"
            ) from None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(raw)
        if not self._is_right():
            raise StoreDamagedError(
                f"{what}: sha256 differs from the manifest's; copy the cache there again, or run cache-verify on it"
            )

    def _is_right(self) -> bool:
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest() == self._digest
        except FileNotFoundError:
            return False

    def raise_unless(self, error: StoreError, on_damage: Callable[[StoreError], None] | None) -> None:
        """Raise the error, unless somebody takes it; one of the store is of no single file."""
        if on_damage is None or isinstance(error, ObjectStoreError):
            raise error
        on_damage(error)

    def lists(self, *, files: list[FileEntry], shards: list[FileEntry]) -> FilesOfFolder:
        return FilesOfFolder(
            folder=self._folder,
            record=f"{self._folder}/{self._name}",
            digest=self._digest,
            files=files,
            shards=shards,
        )
