"""The newest manifest of a cache and the `generation.json` of its generations, read together."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path

import msgspec

from frame_store.errors import StoreDamagedError, StoreFormatError, ViewError
from frame_store.manifest.entries import CameraEntry, GenerationEntry
from frame_store.manifest.generation import Generation, read_generation
from frame_store.manifest.held import HeldManifest
from frame_store.manifest.manifest import CacheManifest
from frame_store.manifest.opening import read_manifest
from frame_store.manifest.parts import PartEntry, joined_fingerprint
from frame_store.manifest.records import FileEntry
from frame_store.manifest.videos import VideoEntry, read_videos, stream_videos
from frame_store.names import VIDEOS_NAME, manifest_name
from frame_store.remote import MirroredFile, RemoteCache
from frame_store.shared import counted, without_controls


@dataclass(frozen=True, kw_only=True)
class GenerationTree:
    """A generation of a cache, or of one of its cameras.

    The table of videos is read at each call of `read_videos`.
    """

    store_path: Path
    entry: GenerationEntry
    """Which frames and videos of the cache it holds."""
    generation: Generation
    camera: CameraEntry | None = None
    """The camera whose generation it is; None for a cache without cameras."""
    remote: RemoteCache | None = field(default=None, compare=False, repr=False)
    """As of `CacheTree`."""

    @property
    def folder(self) -> str:
        """Path of the generation's folder inside the cache: `gen-...`, or `camera-00/gen-...`."""
        return self.entry.folder if self.camera is None else f"{self.camera.folder}/{self.entry.folder}"

    @property
    def path(self) -> Path:
        """The generation's folder."""
        return self.store_path / self.folder

    def files_named(self, names: Collection[str]) -> list[FileEntry]:
        """Those of its files, with their paths inside the cache, that have one of these names."""
        return [entry.inside(self.folder) for entry in self.generation.files if entry.name in names]

    def read_videos(self) -> list[VideoEntry]:
        """The table of videos by local video_id. Raises what `videos.read_videos` and `need_files` raise."""
        need_files(self.remote, self.files_named([VIDEOS_NAME]))
        return read_videos(self.store_path, self.folder, self.generation, cache_name=self.text)

    def stream_videos(self) -> Iterator[VideoEntry]:
        """The table of videos, record by record. Raises what `read_videos` raises, also in the middle."""
        need_files(self.remote, self.files_named([VIDEOS_NAME]))
        return stream_videos(self.store_path, self.folder, self.generation, cache_name=self.text)

    @property
    def text(self) -> str:
        """What the cache is called in messages: its path, or its URL."""
        return str(self.store_path) if self.remote is None else self.remote.url.text


@dataclass(frozen=True, kw_only=True)
class CacheTree:
    """A manifest of a cache and its generations, or those of one of its cameras: all, or the first ones, or one."""

    store_path: Path
    manifest: CacheManifest
    generations: tuple[GenerationTree, ...]
    """At least one. They agree in container, frame shape, pixel, encoding and layout. The first one begins with frame 0
    and video 0."""
    camera: CameraEntry | None = None
    """The camera of a cache of cameras whose generations these are; None for a cache without cameras."""
    held: HeldManifest | None = field(default=None, compare=False, repr=False)
    """What keeps the folders from being removed while this tree, or one made of it, is in use."""
    remote: RemoteCache | None = field(default=None, compare=False, repr=False)
    """Where the shards lie, and what downloads the other files to `store_path`; None for a cache on a disk."""

    def __post_init__(self) -> None:
        """Check that the generations agree.

        Raises:
            StoreFormatError: two do not.
        """
        for tree in self.generations[1:]:
            for name in ("container", "frame_shape", "pixel", "encoding", "layout"):
                expected, found = getattr(self.common, name), getattr(tree.generation, name)
                if expected != found:
                    raise StoreFormatError(
                        f"{tree.path}: {name} is {found}, the first generation has {expected}; all generations of a "
                        "cache have the same"
                    )

    @property
    def text(self) -> str:
        """What the cache is called in messages: its path, or its URL."""
        return str(self.store_path) if self.remote is None else self.remote.url.text

    def need(self, names: Collection[str]) -> None:
        """Have those files of each generation on this machine that have one of these names.

        Raises what `need_files` raises.
        """
        need_files(self.remote, chain.from_iterable(each.files_named(names) for each in self.generations))

    @property
    def common(self) -> Generation:
        """The first generation, for what all have in common: container, shape, pixel, encoding, layout, settings."""
        return self.generations[0].generation

    @property
    def leads(self) -> bool:
        """Whether the shared columns count by these generations: they are no camera's, or the first camera's."""
        return self.camera is None or self.camera == self.manifest.cameras[0]

    @property
    def num_frames(self) -> int:
        """Frames of the generations."""
        return self.generations[-1].entry.end_frame

    @property
    def num_videos(self) -> int:
        """Videos of the generations, also of forgotten ones."""
        return self.generations[-1].entry.end_video

    @cached_property
    def parts(self) -> tuple[PartEntry, ...]:
        """The built generations that these consist of, in order."""
        return tuple(chain.from_iterable(tree.generation.built_parts for tree in self.generations))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs and the configuration; joining generations does not change it."""
        return joined_fingerprint([part.fingerprint for part in self.parts])

    def fingerprint_of_videos(self, first_video: int, num_videos: int) -> str | None:
        """`joined_fingerprint` of the built generations of some videos; None where these are no whole generations."""
        return self._of_parts("num_videos", first_video, num_videos)

    def fingerprint_of_frames(self, first_frame: int, num_frames: int) -> str | None:
        """`joined_fingerprint` of the built generations of some frames; None where these are no whole generations."""
        return self._of_parts("num_frames", first_frame, num_frames)

    def _of_parts(self, unit: str, first: int, number: int) -> str | None:
        starts = [*accumulate((getattr(part, unit) for part in self.parts), initial=0)]
        if not {first, first + number} <= set(starts) or number < 1:
            return None
        parts = self.parts[starts.index(first) : starts.index(first + number)]
        return joined_fingerprint([part.fingerprint for part in parts])

    def alone(self, number: int) -> "CacheTree":
        """One generation as if it were all of the cache: its frames and videos count from 0."""
        tree = self.generations[number]
        entry = msgspec.structs.replace(tree.entry, first_frame=0, first_video=0)
        return replace(self, generations=(replace(tree, entry=entry),))

    def up_to(self, number: int) -> "CacheTree":
        """The generations up to that one, as the cache was when that one was the newest.

        Raises:
            ViewError: there is no such generation.
        """
        if not 0 <= number < len(self.generations):
            raise ViewError(
                f"{self.store_path}: no generation {number}; the cache has "
                f"{counted(len(self.generations), 'generation')}, 0 to {len(self.generations) - 1}"
            )
        return replace(self, generations=self.generations[: number + 1])

    def read_videos(self) -> list[VideoEntry]:
        """The table of videos by video_id. Raises what `videos.read_videos` raises."""
        return list(chain.from_iterable(tree.read_videos() for tree in self.generations))

    def stream_videos(self) -> Iterator[VideoEntry]:
        """The table of videos, record by record. Raises what `videos.read_videos` raises, also in the middle."""
        return chain.from_iterable(tree.stream_videos() for tree in self.generations)


def need_files(remote: RemoteCache | None, files: Iterable[FileEntry]) -> None:
    """Have files of a cache, with their paths inside it, on this machine. Those of a cache on a disk are.

    Raises:
        StoreDamagedError: an object is not what its hash says.
        ObjectStoreError: the object store cannot be reached, refuses, or has no such object.
        OSError: the folder of the small files cannot be written.
    """
    if remote is not None:
        remote.need(
            MirroredFile(name=entry.name, sha256=entry.sha256, num_bytes=entry.num_bytes) for entry in files
        )


def read_tree(store_path: Path, *, camera: str | None = None, version: int | None = None) -> CacheTree:
    """The manifest and the generations of the cache at `store_path`, or of one of its cameras.

    The table of videos is not read. A build with `--overwrite` may put another cache in the place of this one between
    the two, and folders that a newer manifest does not name may be removed. Then both are read again. Afterwards no
    folder that the manifest names is removed while the tree lives.

    `version` is that of the manifest; None stands for the newest.

    Raises:
        StoreNotFoundError: the path holds no cache.
        StoreFormatError: as `read_manifest` and `read_generation`; generations that do not agree; a cache of cameras
            where `camera` names none.
        StoreDamagedError: as `read_manifest` and `read_generation`.
        ViewError: the cache has no such camera.
        OSError: no more files can be opened.
    """
    return _read(store_path, camera=camera, all_cameras=False, version=version)[0]


def read_trees(store_path: Path, *, version: int | None = None) -> list[CacheTree]:
    """As `read_tree`, of each camera in order, under one manifest; one tree for a cache without cameras."""
    return _read(store_path, camera=None, all_cameras=True, version=version)


def surviving_tree(tree: CacheTree) -> CacheTree:
    """The tree, or, where folders of it were removed after a compaction, that of the same frames in the newest version.

    A tree of a remote cache stays as it is: asking for a newer one would take requests.

    Raises:
        StoreDamagedError: the newest version has no generation that ends with the last frame of the tree.
        What `read_tree` raises.
    """
    if tree.remote is not None:
        return tree
    folders = [
        *(each.folder for each in tree.generations),
        *(entry.folder for entry in tree.manifest.columns),
        *(entry.folder for entry in tree.manifest.content_orders),
    ]
    is_refused = tree.held is not None and tree.held.is_refused
    if not is_refused and all((tree.store_path / folder).is_dir() for folder in folders):
        return tree
    newest = read_tree(tree.store_path, camera=None if tree.camera is None else tree.camera.name)
    if newest.manifest == tree.manifest:
        return tree  # its folders are missing, which whoever reads them will say
    for number in range(len(newest.generations)):
        same = newest.up_to(number)
        if (same.num_frames, same.fingerprint) == (tree.num_frames, tree.fingerprint):
            return same
    raise StoreDamagedError(
        f"{tree.store_path}: version {tree.manifest.version}, of which this store is a copy, was removed, and the "
        "newest version has no such frames; open the cache again"
    )


def _read(store_path: Path, *, camera: str | None, all_cameras: bool, version: int | None) -> list[CacheTree]:
    manifest = read_manifest(store_path, version=version)
    while True:
        held = HeldManifest(store_path, manifest.version)
        if version is None and (held.is_refused or _is_followed(store_path, manifest)):
            newer = read_manifest(store_path)
            if newer.version > manifest.version:
                manifest = newer
                continue
        cameras: Sequence[CameraEntry | None] = manifest.cameras or [None]
        if not all_cameras:
            cameras = [_chosen(store_path, manifest, camera)]
        try:
            return [_tree(store_path, manifest, entry, held) for entry in cameras]
        except StoreDamagedError:
            newer = read_manifest(store_path, version=version)
            if newer == manifest:
                raise
            manifest = newer


def _is_followed(store_path: Path, manifest: CacheManifest) -> bool:
    """Whether there is a newer version: what this one alone names may be gone."""
    return os.path.lexists(store_path / manifest_name(manifest.version + 1))


def _tree(
    store_path: Path, manifest: CacheManifest, camera: CameraEntry | None, held: HeldManifest
) -> CacheTree:
    entries = manifest.generations if camera is None else camera.generations
    inside = "" if camera is None else f"{camera.folder}/"
    return CacheTree(
        store_path=store_path,
        manifest=manifest,
        generations=tuple(
            GenerationTree(
                store_path=store_path,
                entry=entry,
                generation=read_generation(store_path, entry, folder=inside + entry.folder),
                camera=camera,
            )
            for entry in entries
        ),
        camera=camera,
        held=held,
    )


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
