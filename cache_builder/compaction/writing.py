"""Writes a joined generation into a working folder, from what it joins. What was finished before is kept."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cache_builder.compaction.join_job import JoinJob
from cache_builder.compaction.joins import Join
from cache_builder.executors import Executor
from cache_builder.findings import joined_fidelity
from cache_builder.jobs import shard_rows_path
from cache_builder.stages import collect_shards, write_index, write_videos
from frame_store import __version__
from frame_store.containers import ShardReceipt, write_zarr_metadata
from frame_store.files import publish_folder, sync_tree, write_file
from frame_store.index import open_index
from frame_store.manifest import (
    Generation,
    ShardEntry,
    VideoEntry,
    describe_file,
    describe_files,
    encode_generation,
    read_manifest,
)
from frame_store.names import GENERATION_NAME, shard_name
from frame_store.source_files import open_source_order, write_joined_source_order
from frame_store.source_order import SourceOrder

JoinPool = Executor[JoinJob, ShardReceipt]

IDENTITY_NAME = "identity.json"
RECEIPTS_NAME = "receipts"
NAMES_NAME = "names.json"
MADE_NAME = "made"


@dataclass(frozen=True, kw_only=True)
class JoinWork:
    """A join, and the folder in which its generation is made."""

    join: Join
    folder: Path

    @property
    def made(self) -> Path:
        """The generation in the making; it is renamed into the cache."""
        return self.folder / MADE_NAME

    @property
    def _receipts(self) -> Path:
        return self.folder / RECEIPTS_NAME

    @property
    def _target(self) -> Path:
        return self.join.tree.store_path / self.join.folder

    def claim(self) -> None:
        """Make the folder belong to this join, with what an interrupted call of the same has finished.

        A generation that such a call has moved into the cache, without a manifest that names it, comes back.
        """
        identity = msgspec.json.encode(_identity(self.join))
        identity_path = self.folder / IDENTITY_NAME
        if not identity_path.is_file() or identity_path.read_bytes() != identity:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self._receipts.mkdir(parents=True)
            write_file(identity_path, identity)
        newest = read_manifest(self.join.tree.store_path)
        is_named = self.join.folder in {*newest.folders, *newest.superseded}
        if not self.made.exists() and self._target.exists() and not is_named:
            self._target.rename(self.made)
        self.made.mkdir(exist_ok=True)
        container = self.join.tree.common.container
        planned = {self.made / shard_name(container, shard) for shard in range(len(self.join.shard_sizes))}
        for path in list(self.made.rglob("*")):
            if path.is_symlink() or (path.is_file() and path not in planned):
                path.unlink()  # half written, or a file that is written after the shards

    def write(self, pool: JoinPool, *, progress: Callable[[int], None]) -> str:
        """Write the generation, synced; returns the SHA-256 of its `generation.json`.

        Raises:
            StoreError: a payload or another file of a source is damaged.
            MachineError: a shard cannot be written.
            OSError: disk full or failing.
        """
        join, made, like = self.join, self.made, self.join.sources[0].generation
        names, fidelities = [], []
        for entry in self._videos():
            names.append(entry.path)
            fidelities.append(entry.fidelity)
        write_file(self.folder / NAMES_NAME, msgspec.json.encode(names))
        shards = self._write_shards(pool, progress)
        rows_of_shards = (
            np.load(shard_rows_path(self._receipts, shard_id), allow_pickle=False)
            for shard_id in range(len(shards))
        )
        write_index(made, rows_of_shards, num_frames=join.num_frames)
        write_videos(made, self._videos())
        write_joined_source_order(made, self._source_orders(), is_shuffled=like.layout == "shuffled")
        if like.container == "zarr" and join.frames_per_shard != "video":
            write_zarr_metadata(
                made,
                index=open_index(made, num_frames=join.num_frames),
                frame_shape=like.frame_shape,
                frame_dtype=like.frame_dtype,
                frames_per_shard=join.frames_per_shard,
                encoding=like.encoding,
            )
        generation = Generation(
            **{
                name: getattr(like, name)
                for name in ("container", "frame_shape", "pixel", "encoding", "layout", "seed", "config")
            },
            library_versions=join.library_versions,
            num_frames=join.num_frames,
            num_videos=join.num_videos,
            fidelity=joined_fidelity(fidelities),
            shards=shards,
            files=describe_files(made, except_for={shard.name for shard in shards}),
            fingerprint=join.fingerprint,
            parts=join.parts,
        )
        (made / GENERATION_NAME).write_bytes(encode_generation(generation))
        sync_tree(made)
        return describe_file(made, GENERATION_NAME).sha256

    def publish(self) -> None:
        """Move the finished generation into the cache. No manifest names it yet.

        Raises:
            OSError: disk full or failing; `EXDEV` for a cache that is mounted by itself.
        """
        publish_folder(self.made, self._target)

    def _write_shards(self, pool: JoinPool, progress: Callable[[int], None]) -> list[ShardEntry]:
        join = self.join
        container = join.tree.common.container
        ends = np.cumsum(join.shard_sizes).tolist()
        for shard_id, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            pool.submit(
                JoinJob(
                    cache=join.tree.store_path,
                    camera=join.camera,
                    version=join.tree.manifest.version,
                    digest=join.sources[0].entry.digest,
                    first_frame=join.first_frame,
                    first_video=join.first_video,
                    names=self.folder / NAMES_NAME,
                    receipts=self._receipts,
                    folder=self.made,
                    container=container,
                    frames_per_shard=join.frames_per_shard,
                    shard_id=shard_id,
                    first_frame_id=first,
                    end_frame_id=end,
                )
            )
        receipts = collect_shards(pool, container=container, progress=progress)
        return [
            ShardEntry(
                name=shard_name(container, shard_id),
                num_frames=receipts[shard_id].num_frames,
                num_bytes=receipts[shard_id].num_bytes,
                sha256=receipts[shard_id].sha256,
            )
            for shard_id in range(len(ends))
        ]

    def _videos(self) -> Iterator[VideoEntry]:
        for source in self.join.sources:
            yield from source.stream_videos()

    def _source_orders(self) -> list[SourceOrder]:
        return [
            open_source_order(
                source.path,
                listed={entry.name for entry in source.generation.files},
                num_frames=source.generation.num_frames,
                num_videos=source.generation.num_videos,
                is_shuffled=source.generation.layout == "shuffled",
            )
            for source in self.join.sources
        ]


def _identity(join: Join) -> dict[str, Any]:
    """What decides the bytes of a joined generation."""
    sources = [[source.entry.folder, source.entry.digest] for source in join.sources]
    return {"frame-cache": __version__, "generations": sources}


def remove_stale_work(folder: Path, current: Iterable[JoinWork], *, cache: Path) -> None:
    """Remove what lies in a working folder of other joins, such as of a version of the cache that has passed.

    A generation that such a join has moved into the cache goes, too, unless a manifest names it.
    """
    kept = {work.folder for work in current}
    manifest = read_manifest(cache)
    named = {*manifest.folders, *manifest.superseded}
    # Those inside the folder of a camera first: each states what it has moved into the cache.
    for path in [*folder.glob("camera-*/*"), *folder.glob("*")]:
        if path in kept or any(path in each.parents for each in kept):
            continue
        inside = path.relative_to(folder).as_posix()
        if (path / IDENTITY_NAME).is_file() and (cache / inside).is_dir() and inside not in named:
            (cache / inside).rename(path / "unnamed")
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
