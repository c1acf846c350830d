"""What the JSON files of a cache state, read together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from frame_store.errors import StoreDamagedError, StoreFormatError, ViewError
from frame_store.manifest.generation import Generation, read_generation
from frame_store.manifest.manifest import (
    CacheManifest,
    CameraEntry,
    GenerationEntry,
    only_generation,
    read_manifest,
)
from frame_store.manifest.videos import VideoEntry, read_videos, stream_videos
from frame_store.names import manifest_name
from frame_store.shared import without_controls


@dataclass(frozen=True, kw_only=True)
class CacheTree:
    """The newest manifest of a cache, and its generation, or that of one of its cameras.

    The table of videos is read at each call of `read_videos`.
    """

    store_path: Path
    manifest: CacheManifest
    generation: Generation
    camera: CameraEntry | None = None
    """The camera of a cache of cameras whose generation it is; None for a cache without cameras."""

    @property
    def entry(self) -> GenerationEntry:
        """The generation's entry in the manifest."""
        generations = self.manifest.generations if self.camera is None else self.camera.generations
        return generations[0]

    @property
    def folder(self) -> str:
        """Path of the generation's folder inside the cache: `gen-...`, or `camera-00/gen-...`."""
        return self.entry.folder if self.camera is None else f"{self.camera.folder}/{self.entry.folder}"

    @property
    def generation_path(self) -> Path:
        """The generation's folder."""
        return self.store_path / self.folder

    @property
    def leads(self) -> bool:
        """Whether the shared columns count by this generation: it is no camera's, or the first camera's."""
        return self.camera is None or self.camera == self.manifest.cameras[0]

    def read_videos(self) -> list[VideoEntry]:
        """The table of videos; a video's position is its video_id. Raises what `videos.read_videos` raises."""
        return read_videos(self.store_path, self.folder, self.generation)

    def stream_videos(self) -> Iterator[VideoEntry]:
        """The table of videos, record by record. Raises what `videos.read_videos` raises, also in the middle."""
        return stream_videos(self.store_path, self.folder, self.generation)


def read_tree(store_path: Path, *, camera: str | None = None) -> CacheTree:
    """The manifest and the generation of the cache at `store_path`, or of one of its cameras.

    The table of videos is not read. A build with `--overwrite` may put another cache in the place of this one between
    the two. Then both are read again.

    Raises:
        StoreNotFoundError: the path holds no cache.
        StoreFormatError: as `read_manifest` and `read_generation`, for a cache of several generations, and for a cache
            of cameras where `camera` names none.
        StoreDamagedError: as `read_manifest` and `read_generation`.
        ViewError: the cache has no such camera.
        OSError: no more files can be opened.
    """
    return _read(store_path, camera=camera, all_cameras=False)[0]


def read_trees(store_path: Path) -> list[CacheTree]:
    """As `read_tree`, of each camera in order, under one manifest; one tree for a cache without cameras."""
    return _read(store_path, camera=None, all_cameras=True)


def _read(store_path: Path, *, camera: str | None, all_cameras: bool) -> list[CacheTree]:
    manifest = read_manifest(store_path)
    while True:
        cameras: Sequence[CameraEntry | None] = manifest.cameras or [None]
        if not all_cameras:
            cameras = [_chosen(store_path, manifest, camera)]
        try:
            return [_tree(store_path, manifest, entry) for entry in cameras]
        except StoreDamagedError:
            newer = read_manifest(store_path)
            if newer == manifest:
                raise
            manifest = newer


def _tree(store_path: Path, manifest: CacheManifest, camera: CameraEntry | None) -> CacheTree:
    name = str(store_path / manifest_name(manifest.version))
    generations = manifest.generations
    if camera is not None:
        name, generations = f"{name}: camera {without_controls(camera.name)!r}", camera.generations
    entry = only_generation(generations, name=name)
    folder = entry.folder if camera is None else f"{camera.folder}/{entry.folder}"
    generation = read_generation(store_path, entry, folder=folder)
    return CacheTree(store_path=store_path, manifest=manifest, generation=generation, camera=camera)


def _chosen(store_path: Path, manifest: CacheManifest, camera: str | None) -> CameraEntry | None:
    """The entry of a camera.

    Raises:
        StoreFormatError: the cache has cameras, and none is named.
        ViewError: the cache has no such camera.
    """
    names = ", ".join(repr(without_controls(entry.name)) for entry in manifest.cameras)
    if camera is None:
        if manifest.cameras:
            raise StoreFormatError(
                f"{store_path}: is a cache of {len(manifest.cameras)} cameras; name one: {names}"
            )
        return None
    for entry in manifest.cameras:
        if entry.name == camera:
            return entry
    has = f"it has {names}" if manifest.cameras else "it is a cache without cameras"
    raise ViewError(f"{store_path}: no camera {without_controls(str(camera))!r}; {has}")
