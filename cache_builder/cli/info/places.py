"""Where `cache-info` reads: a cache, or a temporary folder with the records of a cache in an object store."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cache_builder.cli.info.growth import SupersededFolder, superseded_folders
from cache_builder.errors import ConfigError
from frame_store.errors import FrameCacheError, StoreDamagedError
from frame_store.manifest import CacheTree
from frame_store.names import VIDEOS_NAME
from frame_store.remote import ObjectClient, RemoteUrl, WantedObject, download_objects
from frame_store.remote_files import bring_manifests, files_of_cache
from frame_store.shared import listed

_JOBS = 16


class Place:
    """A folder with the records of a cache on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """What the cache is called."""
        return str(self.folder)

    def named(self, text: str) -> str:
        """A text about the folder as one about the cache."""
        return text

    def require_printable_shards(self) -> None:
        """Refuse to print places of shards that would lead nowhere."""

    def superseded(self, tree: CacheTree) -> Sequence[SupersededFolder]:
        """The folders that only earlier versions name."""
        return superseded_folders(tree)


class PlaceOfUrl(Place):
    """The same, of a cache in an object store."""

    def __init__(self, folder: Path, client: ObjectClient) -> None:
        super().__init__(folder)
        self._client = client

    @property
    def name(self) -> str:
        """The URL, without a host."""
        return self._client.url.text

    def named(self, text: str) -> str:
        """With the URL in place of the folder."""
        return text.replace(str(self.folder), self.name)

    def require_printable_shards(self) -> None:
        """Refuse a web server.

        Raises:
            ConfigError: it is one.
        """
        if not self._client.url.is_writable:
            raise ConfigError(
                f"{{--shards}} prints places that a reader can open, and the host of a web server is never printed: "
                f"{self.name}"
            )

    def superseded(self, tree: CacheTree) -> Sequence[SupersededFolder]:
        """As there; empty for a web server, which has no list of its objects."""
        if not self._client.url.is_writable:
            return []
        found = []
        for folder in tree.manifest.superseded:
            sizes = [each.num_bytes for each in self._client.objects(folder)]
            found.append(SupersededFolder(folder=folder, num_bytes=sum(sizes) if sizes else None))
        return found


@contextmanager
def records_at_hand(cache: Path | RemoteUrl, *, with_videos: bool) -> Iterator[Place]:
    """The records of a cache, and the tables of videos; those of an object store are downloaded.

    Raises:
        StoreDamagedError: a record or a table in an object store is missing, or is not what the manifest records.
        What `bring_manifests` raises.
    """
    if isinstance(cache, Path):
        yield Place(cache)
        return
    with tempfile.TemporaryDirectory(prefix="cache-info-") as name:
        place = PlaceOfUrl(Path(name).resolve(), ObjectClient(cache))
        try:
            _bring(place.folder, ObjectClient(cache), with_videos=with_videos)
            yield place
        except FrameCacheError as error:
            if place.named(str(error)) == str(error):
                raise
            raise type(error)(place.named(error.args[0])) from None  # with its marks of settings


def _bring(folder: Path, client: ObjectClient, *, with_videos: bool) -> None:
    manifest = bring_manifests(client, folder)
    wanted = [
        WantedObject(key=entry.name, path=folder / entry.name, num_bytes=entry.num_bytes, sha256=entry.sha256)
        for each in files_of_cache(client, manifest, records=folder)
        for entry in each.files
        if with_videos and entry.name.rpartition("/")[2] == VIDEOS_NAME
    ]
    problems = [
        f"{client.url.object_text(done.wanted.key)}: {done.problem}"
        for done in download_objects(client, wanted, jobs=_JOBS, sync=False)
        if done.problem is not None
    ]
    if problems:
        raise StoreDamagedError(
            listed(client.url.text, problems, "copy the cache there again, or run cache-verify on it")
        )
