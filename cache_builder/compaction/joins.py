"""What a joined generation will hold, and the manifest that puts it in the place of the generations that it joins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import OutputError
from cache_builder.stages import json_differences, version_differences
from frame_store.errors import StoreFormatError
from frame_store.manifest import (
    CacheManifest,
    CacheTree,
    FramesPerShard,
    GenerationEntry,
    GenerationTree,
    PartEntry,
    joined_fingerprint,
    next_manifest,
    shard_sizes_of_parts,
)
from frame_store.names import generation_folder
from frame_store.shared import counted


@dataclass(frozen=True, kw_only=True)
class Join:
    """Adjacent generations of a cache, or of one of its cameras, that become one. Their frames keep their ids."""

    tree: CacheTree
    sources: tuple[GenerationTree, ...]
    frames_per_shard: FramesPerShard

    @property
    def parts(self) -> list[PartEntry]:
        """The built generations, in order."""
        return [*chain.from_iterable(source.generation.built_parts for source in self.sources)]

    @property
    def fingerprint(self) -> str:
        """Of the joined generation."""
        return joined_fingerprint([part.fingerprint for part in self.parts])

    @property
    def folder(self) -> str:
        """Path of the joined generation inside the cache."""
        name = generation_folder(self.fingerprint)
        return name if self.tree.camera is None else f"{self.tree.camera.folder}/{name}"

    @property
    def camera(self) -> str | None:
        """Name of the camera; None for a cache without cameras."""
        return None if self.tree.camera is None else self.tree.camera.name

    @property
    def first_frame(self) -> int:
        """Frame id, in the cache, of the first frame."""
        return self.sources[0].entry.first_frame

    @property
    def first_video(self) -> int:
        """video_id, in the cache, of the first video."""
        return self.sources[0].entry.first_video

    @property
    def num_frames(self) -> int:
        """Frames of all sources."""
        return sum(source.entry.num_frames for source in self.sources)

    @property
    def num_videos(self) -> int:
        """Videos of all sources."""
        return sum(source.entry.num_videos for source in self.sources)

    @property
    def library_versions(self) -> dict[str, str]:
        """Of all sources, which agree; those of a GPU where one decoded some of any source."""
        versions: dict[str, str] = {}
        for source in self.sources:
            versions |= {
                name: found
                for name, found in source.generation.library_versions.items()
                if name not in versions
            }
        return versions

    @property
    def num_bytes(self) -> int:
        """Bytes of the files of the sources, which are nearly those of the joined generation."""
        return sum(source.generation.num_bytes for source in self.sources)

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, as a build of as many frames cuts them."""
        return shard_sizes_of_parts(
            self.parts, container=self.tree.common.container, frames_per_shard=self.frames_per_shard
        )


def joins_of(tree: CacheTree, runs: Sequence[range]) -> list[Join]:
    """The joins of runs of generations.

    Raises:
        OutputError: the settings do not say how shards are cut, or two generations of a run differ in settings or in
            library versions.
    """
    joins = []
    for run in runs:
        sources = tree.generations[run.start : run.stop]
        try:
            frames_per_shard = sources[0].generation.frames_per_shard
        except StoreFormatError as error:
            raise OutputError(f"{sources[0].path}/{error}; such generations cannot be joined") from error
        join = Join(tree=tree, sources=sources, frames_per_shard=frames_per_shard)
        first, versions = sources[0].generation, join.library_versions
        for source in sources[1:]:
            differing = [
                *json_differences(first.seed, source.generation.seed, where="seed"),
                *json_differences(first.config, source.generation.config, where="config"),
                *version_differences(versions, source.generation.library_versions, where="library_versions"),
            ]
            if differing:
                raise OutputError(
                    f"{source.path}: {differing[0].partition(':')[0]} is not that of {sources[0].folder}; only "
                    "generations of the same settings and library versions are joined"
                )
        joins.append(join)
    return joins


def with_joined(
    before: CacheManifest, joined: Mapping[str | None, Sequence[tuple[Join, str]]], *, cache: Path
) -> CacheManifest:
    """The next version of a manifest, with joined generations in the place of those that they join.

    `joined` has, by the name of the camera (None without cameras), each join and the SHA-256 of its `generation.json`.
    `before` may be newer than the version from which the joins were planned.

    Raises:
        OutputError: the generations of a join are no longer there, one after another.
    """
    own: dict[str | None, list[GenerationEntry]] = {
        camera.name: camera.generations for camera in before.cameras
    }
    generations = {}
    for camera, entries in (own or {None: before.generations}).items():
        after = [*entries]
        for join, digest in joined[camera]:
            after = _replaced(after, join, digest, cache=cache)
        generations[camera] = after
    return next_manifest(before, generations=generations)


def _replaced(
    entries: Sequence[GenerationEntry], join: Join, digest: str, *, cache: Path
) -> list[GenerationEntry]:
    gone = [source.entry for source in join.sources]
    first = next((number for number, entry in enumerate(entries) if entry == gone[0]), None)
    if first is None or [*entries[first : first + len(gone)]] != gone:
        raise OutputError(
            f"{cache}: another process has replaced {gone[0].folder} or one of the "
            f"{counted(len(gone) - 1, 'generation')} behind it meanwhile; run the same command again"
        )
    entry = msgspec.structs.replace(
        gone[0],
        folder=generation_folder(join.fingerprint),
        digest=digest,
        num_frames=join.num_frames,
        num_videos=join.num_videos,
    )
    return [*entries[:first], entry, *entries[first + len(gone) :]]
