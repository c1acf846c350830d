"""The cache that grows: its generations, its videos, and which of them are forgotten."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from cache_builder.errors import OutputError
from frame_store.errors import StoreError
from frame_store.manifest import CacheManifest, CacheTree, VideoEntry, read_manifest, read_trees


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveCache:
    """A cache as its newest manifest has it. Videos are counted by video_id of the cache, alike in all cameras."""

    trees: Sequence[CacheTree]
    """Of each camera; a single one for a cache without cameras."""
    tables: Sequence[Sequence[VideoEntry]]
    """Of each camera: all videos, also forgotten ones."""

    @property
    def path(self) -> Path:
        """The folder of the cache."""
        return self.trees[0].store_path

    @property
    def manifest(self) -> CacheManifest:
        """The newest one when the cache was read."""
        return self.trees[0].manifest

    @property
    def cameras(self) -> tuple[str | None, ...]:
        """The names of the cameras; a single None for a cache without cameras."""
        return tuple(None if tree.camera is None else tree.camera.name for tree in self.trees)

    @cached_property
    def tables_now(self) -> list[list[VideoEntry]]:
        """The tables, in which each episode's file has the size and the hash that the newest episode in it records.

        When that one was added, the earlier ones were found to have the same frames in the grown file.
        """
        tables = []
        for table in self.tables:
            newest = {
                entry.span.file: entry
                for entry in table
                if entry.span is not None and entry.sha256 is not None
            }
            tables.append(
                [
                    entry
                    if entry.span is None or entry.sha256 is None
                    else msgspec.structs.replace(
                        entry,
                        num_bytes=newest[entry.span.file].num_bytes,
                        sha256=newest[entry.span.file].sha256,
                    )
                    for entry in table
                ]
            )
        return tables

    @cached_property
    def live(self) -> dict[str, int]:
        """Path -> video_id of the videos that are not forgotten."""
        left_out = set(self.manifest.forgotten_videos)
        return {
            entry.path: video_id for video_id, entry in enumerate(self.tables[0]) if video_id not in left_out
        }

    @cached_property
    def forgotten(self) -> dict[str, list[int]]:
        """Path -> video_ids of forgotten videos, the newest first."""
        found: dict[str, list[int]] = {}
        for video_id in reversed(self.manifest.forgotten_videos):
            found.setdefault(self.tables[0][video_id].path, []).append(video_id)
        return found

    def live_tables(self) -> dict[str | None, list[VideoEntry]]:
        """Camera -> its videos that are not forgotten, of `tables_now`."""
        ids = [*self.live.values()]
        return {
            camera: [table[video_id] for video_id in ids]
            for camera, table in zip(self.cameras, self.tables_now, strict=True)
        }

    @property
    def is_as_built(self) -> bool:
        """Whether it is of one build, and no video is forgotten."""
        return len(self.trees[0].parts) == 1 and not self.manifest.forgotten_videos


def require_cache(path: Path) -> None:
    """Raise OutputError, with what is there instead, unless a cache is at `path`."""
    try:
        read_manifest(path)
    except StoreError as error:
        raise OutputError(str(error)) from error


def read_live_cache(path: Path) -> LiveCache:
    """The cache at `path`.

    Raises:
        OutputError: there is none, or its manifest or a table of videos is damaged.
        OSError: no more files can be opened.
    """
    try:
        trees = read_trees(path)
        return LiveCache(trees=trees, tables=[tree.read_videos() for tree in trees])
    except StoreError as error:
        raise OutputError(str(error)) from error
