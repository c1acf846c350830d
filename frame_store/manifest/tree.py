"""What the JSON files of a cache state, read together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frame_store.errors import StoreDamagedError
from frame_store.manifest.generation import Generation, read_generation
from frame_store.manifest.manifest import CacheManifest, GenerationEntry, only_generation, read_manifest
from frame_store.manifest.videos import VideoEntry, read_videos, stream_videos
from frame_store.names import manifest_name


@dataclass(frozen=True, kw_only=True)
class CacheTree:
    """The newest manifest of a cache, and its generation. The table of videos is read at each call of `read_videos`."""

    store_path: Path
    manifest: CacheManifest
    generation: Generation

    @property
    def entry(self) -> GenerationEntry:
        """The generation's entry in the manifest."""
        return self.manifest.generations[0]

    @property
    def folder(self) -> str:
        """Name of the generation's folder inside the cache."""
        return self.entry.folder

    @property
    def generation_path(self) -> Path:
        """The generation's folder."""
        return self.store_path / self.folder

    def read_videos(self) -> list[VideoEntry]:
        """The table of videos; a video's position is its video_id. Raises what `videos.read_videos` raises."""
        return read_videos(self.generation_path, self.generation)

    def stream_videos(self) -> Iterator[VideoEntry]:
        """The table of videos, record by record. Raises what `videos.read_videos` raises, also in the middle."""
        return stream_videos(self.generation_path, self.generation)


def read_tree(store_path: Path) -> CacheTree:
    """The manifest and the generation of the cache at `store_path`. The table of videos is not read.

    A build with `--overwrite` may put another cache in the place of this one between the two. Then both are read again.

    Raises:
        StoreNotFoundError: the path holds no cache.
        StoreFormatError: as `read_manifest` and `read_generation`, and for a cache of several generations.
        StoreDamagedError: as `read_manifest` and `read_generation`.
        OSError: no more files can be opened.
    """
    manifest = read_manifest(store_path)
    while True:
        entry = only_generation(manifest.generations, name=str(store_path / manifest_name(manifest.version)))
        try:
            generation = read_generation(store_path, entry)
        except StoreDamagedError:
            newer = read_manifest(store_path)
            if newer == manifest:
                raise
            manifest = newer
        else:
            return CacheTree(store_path=store_path, manifest=manifest, generation=generation)
