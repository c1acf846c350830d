"""A new generation moved into a cache, and the next version of the manifest, which names it."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cache_builder.errors import OutputError
from cache_builder.growing.append_columns import WrittenColumns
from cache_builder.growing.forgetting import require_some_left
from cache_builder.growing.live_cache import LiveCache, read_live_cache
from cache_builder.stages import RemoteWorkspace, Workspace, commit_next
from frame_store.errors import StoreError
from frame_store.files import publish_folder
from frame_store.manifest import (
    CacheManifest,
    CacheTree,
    ColumnsEntry,
    ContentOrderEntry,
    GenerationEntry,
    GenerationTree,
    fresh_manifest,
    next_manifest,
    read_generation,
    read_manifest,
)
from frame_store.names import GENERATION_NAME, generation_folder
from frame_store.shared import raise_if_out_of_files
from frame_store.verify import check_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Growth:
    """What one version of a cache adds to the one before."""

    base: LiveCache
    """The cache for which it was made."""
    new: Sequence[CacheTree] | None = None
    """Of each camera: the new generation, counted from 0; None where no video is added."""
    names: Collection[str] = ()
    """Paths of the new videos."""
    columns: WrittenColumns | None = None
    content_order: ContentOrderEntry | None = None
    forget: Collection[int] = ()
    """video_ids that are forgotten."""
    take_back: Collection[int] = ()
    """video_ids that are no longer forgotten."""

    @property
    def new_folders(self) -> list[str]:
        """Folders, inside the cache, that the next version names and the one before does not."""
        folders = [tree.generations[0].folder for tree in self.new or ()]
        if self.columns is not None:
            folders += [entry.folder for entry in self.columns.folders.entries]
        if self.content_order is not None:
            folders.append(self.content_order.folder)
        return folders

    def manifest_after(self, cache: LiveCache) -> CacheManifest | None:
        """The version that follows that of `cache`, which may be newer than `base`; None where nothing changes.

        Raises:
            OutputError: what another process wrote since `base` does not go with this.
            ConfigError: no frame would be left.
        """
        before = cache.manifest
        if before.version != self.base.manifest.version or before != self.base.manifest:
            self._check_others(cache)
        num_new = 0 if self.new is None else self.new[0].num_frames
        require_some_left(cache, self.forget, num_new_frames=num_new)
        forgotten = (set(before.forgotten_videos) | set(self.forget)) - set(self.take_back)
        is_there = self.new is None or self.new[0].generations[0].folder in before.folders
        if is_there and sorted(forgotten) == before.forgotten_videos:
            return None
        if self.new is None or is_there:
            return next_manifest(before, forgotten_videos=forgotten)
        return next_manifest(
            before,
            generations=self._generations(cache, self.new),
            columns=self._columns(before),
            content_orders=self._content_orders(before),
            forgotten_videos=forgotten,
        )

    def _check_others(self, cache: LiveCache) -> None:
        """Refuse what does not go with what other processes have written since."""
        again = "; nothing was lost: run the same command again"
        for ours, theirs in zip(self.base.trees, cache.trees, strict=False):
            if theirs.parts[: len(ours.parts)] != ours.parts:
                raise OutputError(f"{cache.path}: another process has replaced it meanwhile{again}")
        if self.base.cameras != cache.cameras:
            raise OutputError(f"{cache.path}: another process has replaced it meanwhile{again}")
        is_there = self.new is None or self.new[0].generations[0].folder in cache.manifest.folders
        gone = {*self.forget, *self.take_back}
        names = [cache.tables[0][video_id].path for video_id in self.take_back]
        names += [] if is_there else self.names
        common = [name for name in names if name in cache.live and cache.live[name] not in gone]
        if common:
            raise OutputError(
                f"{cache.path}: another process has added {common[0]!r} meanwhile"
                f"{f' and {len(common) - 1} more of these videos' if len(common) > 1 else ''}{again}"
            )
        if self.new is None or is_there:
            return
        for ours, tree in zip(self.new, cache.trees, strict=True):
            for each in tree.generations:
                if (each.generation.config, each.generation.seed) != (ours.common.config, ours.common.seed):
                    raise OutputError(
                        f"{cache.path}: another process has added videos of other settings{again}"
                    )
        before, now = self.base.manifest.columns, cache.manifest.columns
        keeps_old = self.columns is None or self.columns.of_old is None
        if (bool(now) != (self.columns is not None)) or not (
            now[: len(before)] == before and (keeps_old or now == before)
        ):
            raise OutputError(f"{cache.path}: another process has written other columns meanwhile{again}")
        if bool(cache.manifest.content_orders) != bool(self.base.manifest.content_orders):
            raise OutputError(f"{cache.path}: another process has ordered it by content meanwhile{again}")

    def _generations(
        self, cache: LiveCache, new: Sequence[CacheTree]
    ) -> dict[str | None, list[GenerationEntry]]:
        before = cache.manifest
        return {
            camera: [
                *(each.entry for each in tree.generations),
                msgspec.structs.replace(
                    added.generations[0].entry, first_frame=before.num_frames, first_video=before.num_videos
                ),
            ]
            for camera, tree, added in zip(cache.cameras, cache.trees, new, strict=True)
        }

    def _columns(self, before: CacheManifest) -> list[ColumnsEntry]:
        if self.columns is None:
            return []
        old = before.columns if self.columns.of_old is None else self.columns.of_old
        return [*old, msgspec.structs.replace(self.columns.of_new, first_video=before.num_videos)]

    def _content_orders(self, before: CacheManifest) -> list[ContentOrderEntry]:
        if self.content_order is None:
            return []
        return [
            *before.content_orders,
            msgspec.structs.replace(self.content_order, first_frame=before.num_frames),
        ]


def publish_growth(growth: Growth, *, workspace: Workspace) -> CacheManifest | None:
    """Move the folders of a growth into the cache and commit the version that names them.

    All folders are synced. Returns the new manifest, None where the cache has all of it already.

    Raises:
        OutputError: another process has written what does not go with this.
        OSError: disk full or failing.
        ObjectStoreError: the store of the cache cannot be reached.
    """
    _move_generations(growth, workspace)
    if growth.columns is not None:
        growth.columns.folders.place()
    if growth.content_order is not None:
        entry = growth.content_order
        if check_file(workspace.output, entry.file):
            publish_folder(workspace.made_content, workspace.output / entry.folder)
    workspace.columns.mkdir(exist_ok=True)
    create = None
    if isinstance(workspace, RemoteWorkspace):
        workspace.put_folders(growth.new_folders)
        create = workspace.create_manifest

    def next_version() -> CacheManifest | None:
        workspace.refresh()
        return growth.manifest_after(_newest(growth.base))

    return commit_next(workspace.output, next_version, scratch=workspace.columns, create=create)


def _newest(cache: LiveCache) -> LiveCache:
    """The cache as it is now; its tables are not read again unless another process has written a version."""
    return cache if _manifest(cache.path) == cache.manifest else read_live_cache(cache.path)


def _manifest(path: Path) -> CacheManifest:
    try:
        return read_manifest(path)
    except StoreError as error:
        raise OutputError(str(error)) from error


def _move_generations(growth: Growth, workspace: Workspace) -> None:
    named = set(_manifest(workspace.output).folders)
    for tree in growth.new or ():
        made = tree.generations[0]
        if tree.store_path != workspace.output and made.folder not in named:
            publish_folder(made.path, workspace.output / made.folder)


def tree_of_new(store_path: Path, entries: Mapping[str | None, GenerationEntry]) -> list[CacheTree]:
    """The new generation of each camera as a cache of its own, whose folders lie below `store_path`.

    Raises:
        StoreError: a `generation.json` is not that of its entry.
    """
    manifest = fresh_manifest(entries)
    trees = []
    for number, entry in enumerate(entries.values()):
        camera = manifest.cameras[number] if manifest.cameras else None
        inside = "" if camera is None else f"{camera.folder}/"
        generation = read_generation(store_path, entry, folder=inside + entry.folder)
        each = GenerationTree(store_path=store_path, entry=entry, generation=generation, camera=camera)
        trees.append(CacheTree(store_path=store_path, manifest=manifest, generations=(each,), camera=camera))
    return trees


def found_whole(cache: LiveCache, fingerprints: Sequence[str]) -> list[CacheTree] | None:
    """The generations of these fingerprints in the folder of the cache, every byte checked; None where one is not.

    They are there where a process was killed after it moved them, and before it named them.
    """
    entries: dict[str | None, GenerationEntry] = {}
    for tree, fingerprint in zip(cache.trees, fingerprints, strict=True):
        folder = generation_folder(fingerprint)
        inside = "" if tree.camera is None else f"{tree.camera.folder}/"
        entry = _entry_of(cache.path / inside / folder, folder)
        if entry is None:
            return None
        entries[None if tree.camera is None else tree.camera.name] = entry
    try:
        found = tree_of_new(cache.path, entries)
    except StoreError:
        return None
    for tree, fingerprint in zip(found, fingerprints, strict=True):
        generation, folder = tree.common, tree.generations[0].folder
        if generation.fingerprint != fingerprint:
            return None
        if any(
            check_file(cache.path, file.inside(folder)) for file in [*generation.files, *generation.shards]
        ):
            return None
    return found


class _Counts(msgspec.Struct):
    num_frames: int
    num_videos: int


def _entry_of(path: Path, folder: str) -> GenerationEntry | None:
    try:
        if os.path.islink(path):  # noqa: PTH114 - as the reader, which follows none
            return None
        raw = (path / GENERATION_NAME).read_bytes()
        counts = msgspec.json.decode(raw, type=_Counts)
        return GenerationEntry(
            folder=folder,
            digest=hashlib.sha256(raw).hexdigest(),
            first_frame=0,
            num_frames=counts.num_frames,
            first_video=0,
            num_videos=counts.num_videos,
        )
    except OSError as error:
        raise_if_out_of_files(error)
        return None
    except (msgspec.MsgspecError, ValueError):
        return None


def require_writable(workspace: Workspace) -> None:
    """Refuse, before minutes of decoding, a cache into which nothing can be moved.

    That of an object store has been written to before.

    Raises:
        OutputError: it cannot be written, or it is mounted by itself.
    """
    output = workspace.output
    if isinstance(workspace, RemoteWorkspace):
        return
    if not os.access(output, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: cannot be written; copy the cache to a place that can be")
    if output.stat().st_dev != output.parent.stat().st_dev:
        raise OutputError(
            f"{output}: is mounted by itself, and a finished generation cannot be moved into it from beside it; "
            "mount the folder that holds the cache, or copy the cache"
        )
