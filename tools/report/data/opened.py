"""A cache as a report reads it. All that depends on how generations are laid out is in this module."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from frame_cache_tools.report.data.records import GenerationFacts

from frame_store import CacheStore, StoreError
from frame_store.column_files import read_columns_record
from frame_store.manifest import CacheManifest, CacheTree, FileEntry, Generation, VideoEntry, read_trees
from frame_store.shared import counted_in_groups
from frame_store.verify import has_size

MAX_PROBLEMS: Final = 20
"""Damaged files that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class OpenedCamera:
    """A cache without cameras, or one camera of a cache."""

    tree: CacheTree
    store: CacheStore | None
    """None if its index is damaged: no frame can be read then."""
    problem: str | None

    @property
    def name(self) -> str | None:
        """Of the camera; None for a cache without cameras."""
        return None if self.tree.camera is None else self.tree.camera.name

    @property
    def common(self) -> Generation:
        """What all generations have in common: shape, encoding, layout, settings, versions."""
        return self.tree.generation

    @property
    def generations(self) -> tuple[GenerationFacts, ...]:
        """Each generation in numbers."""
        generation = self.tree.generation
        return (
            GenerationFacts(
                folder=self.tree.folder,
                num_frames=generation.num_frames,
                num_videos=generation.num_videos,
                num_shards=len(generation.shards),
                num_bytes=generation.num_bytes,
            ),
        )

    @property
    def fingerprint(self) -> str:
        """Of all frames."""
        return self.tree.generation.fingerprint

    def shard_frames(self) -> list[int]:
        """Frames of each shard."""
        return [shard.num_frames for shard in self.tree.generation.shards]

    def stream_videos(self) -> Iterator[VideoEntry]:
        """The records of all videos by video_id. Raises what `CacheTree.stream_videos` raises."""
        return self.tree.stream_videos()

    def files(self) -> Iterator[tuple[Path, FileEntry]]:
        """Every file of the generations, with the folder that its name counts from."""
        for entry in (*self.tree.generation.shards, *self.tree.generation.files):
            yield self.tree.generation_path, entry


def open_cameras(path: Path) -> list[OpenedCamera]:
    """The cameras of the cache at `path`, or the cache as one.

    Raises:
        StoreError: no cache, or a manifest or `generation.json` that is damaged: nothing can be said then.
        OSError: no more files can be opened.
    """
    return [_opened(tree) for tree in read_trees(path)]


def _opened(tree: CacheTree) -> OpenedCamera:
    camera = None if tree.camera is None else tree.camera.name
    try:
        store = CacheStore(tree.store_path, camera=camera)
    except StoreError as error:
        return OpenedCamera(tree=tree, store=None, problem=str(error))
    return OpenedCamera(tree=tree, store=store, problem=None)


def forgotten_videos(manifest: CacheManifest) -> frozenset[int]:
    """Videos that the cache leaves out, by video_id."""
    return frozenset(manifest.forgotten_videos)


def shared_bytes(tree: CacheTree) -> tuple[int, int]:
    """Bytes of the columns, and of the content orders; columns whose record is damaged count as none."""
    num_column_bytes = 0
    for entry in tree.manifest.columns:
        try:
            record = read_columns_record(tree.store_path, entry)
        except StoreError:
            continue  # opening the columns reports it
        for column in record.columns:
            num_column_bytes += sum(file.num_bytes for file in column.files)
    return num_column_bytes, sum(entry.num_bytes for entry in tree.manifest.content_orders)


def size_problems(cameras: list[OpenedCamera]) -> tuple[list[str], int]:
    """A line for each file that is missing or has another size than recorded, and the number of files looked at.

    At most `MAX_PROBLEMS` lines name files; one more counts the others.
    """
    problems: list[str] = []
    num_files = num_wrong = 0
    for camera in cameras:
        for folder, entry in camera.files():
            num_files += 1
            if not has_size(folder, entry):
                num_wrong += 1
                if num_wrong <= MAX_PROBLEMS:
                    problems.append(
                        f"{camera.tree.folder}/{entry.name}: missing, or not the "
                        f"{counted_in_groups(entry.num_bytes, 'byte')} that were written"
                    )
    if num_wrong > MAX_PROBLEMS:
        problems.append(f"{counted_in_groups(num_wrong - MAX_PROBLEMS, 'other file')} like these")
    return problems, num_files
