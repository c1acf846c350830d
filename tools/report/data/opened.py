"""A cache as a report reads it. All that depends on how generations are laid out is in this module."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from frame_cache_tools.report.data.records import BuildRecord, GenerationFacts

from frame_store import CacheStore, StoreError
from frame_store.column_files import read_columns_record
from frame_store.manifest import (
    CacheManifest,
    CacheTree,
    Fidelity,
    FileEntry,
    Generation,
    VideoEntry,
    read_trees,
)
from frame_store.names import manifest_name
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
        return self.tree.common

    @property
    def generations(self) -> tuple[GenerationFacts, ...]:
        """Each generation in numbers, in the order in which they were added."""
        return tuple(
            GenerationFacts(
                folder=each.folder,
                num_frames=each.generation.num_frames,
                num_videos=each.generation.num_videos,
                num_shards=len(each.generation.shards),
                num_bytes=each.generation.num_bytes,
                num_parts=len(each.generation.built_parts),
            )
            for each in self.tree.generations
        )

    @property
    def fingerprint(self) -> str:
        """Of all frames."""
        return self.tree.fingerprint

    @property
    def fidelity(self) -> Fidelity | None:
        """Of the frames that the builds of all generations sampled; None if none did."""
        return joined_fidelity([each.generation.fidelity for each in self.tree.generations])

    def shard_frames(self) -> list[int]:
        """Frames of each shard."""
        return [shard.num_frames for each in self.tree.generations for shard in each.generation.shards]

    def stream_videos(self) -> Iterator[VideoEntry]:
        """The records of all videos by video_id. Raises what `CacheTree.stream_videos` raises."""
        return self.tree.stream_videos()

    def files(self) -> Iterator[tuple[str, FileEntry]]:
        """Every file of the generations, with the folder, inside the cache, that its name counts from."""
        for each in self.tree.generations:
            for entry in (*each.generation.shards, *each.generation.files):
                yield each.folder, entry


def joined_fidelity(parts: Iterable[Fidelity | None]) -> Fidelity | None:
    """The fidelity over the samples of several; None if there is no sample.

    >>> one = Fidelity(num_frames_sampled=1, psnr_db_of_mean_error=40.0, psnr_db_worst_frame=40.0)
    >>> two = Fidelity(num_frames_sampled=3, psnr_db_of_mean_error=50.0, psnr_db_worst_frame=45.0)
    >>> joined_fidelity([one, None, two])
    Fidelity(num_frames_sampled=4, psnr_db_of_mean_error=44.881, psnr_db_worst_frame=40.0)
    """
    known = [part for part in parts if part is not None]
    if len(known) < 2:
        return known[0] if known else None
    number = sum(part.num_frames_sampled for part in known)
    error = 0.0
    for part in known:
        if part.psnr_db_of_mean_error is not None:
            error += part.num_frames_sampled * 10 ** (-part.psnr_db_of_mean_error / 10)
    worst = [part.psnr_db_worst_frame for part in known if part.psnr_db_worst_frame is not None]
    return Fidelity(
        num_frames_sampled=number,
        psnr_db_of_mean_error=round(-10 * math.log10(error / number), 3) if error else None,
        psnr_db_worst_frame=min(worst, default=None) if error else None,
    )


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
        store = CacheStore(tree.store_path, camera=camera, verify_reads=True)
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
            if not has_size(camera.tree.store_path, entry.inside(folder)):
                num_wrong += 1
                if num_wrong <= MAX_PROBLEMS:
                    problems.append(
                        f"{folder}/{entry.name}: missing, or not the "
                        f"{counted_in_groups(entry.num_bytes, 'byte')} that were written"
                    )
    if num_wrong > MAX_PROBLEMS:
        problems.append(f"{counted_in_groups(num_wrong - MAX_PROBLEMS, 'other file')} like these")
    return problems, num_files


def build_record(path: Path, tree: CacheTree, *, source: Path | None) -> BuildRecord:
    """When the newest manifest was written, and the seconds of the build's report, if one of this cache lies beside."""
    moment = datetime.fromtimestamp((path / manifest_name(tree.manifest.version)).stat().st_mtime, tz=UTC)
    seconds: list[tuple[str, float]] = []
    report: Any = None
    with contextlib.suppress(OSError, ValueError):
        report = json.loads(path.with_name(f"{path.name}.report.json").read_bytes())
    is_append = False
    if isinstance(report, dict) and Path(str(report.get("output"))).name == path.name:
        is_append = bool(report.get("append"))
        for step in ("scan", "decode", "gather"):
            value = report.get(f"seconds_{step}")
            if isinstance(value, int | float) and math.isfinite(value):
                seconds.append((step, float(value)))
    return BuildRecord(
        written=f"{moment:%Y-%m-%d %H:%M}",
        source=None if source is None else str(source),
        seconds=tuple(seconds),
        is_append=is_append,
    )


def superseded_bytes(tree: CacheTree) -> int:
    """Bytes, still on disk, of the folders that the newest manifest no longer uses."""
    return sum(
        Path(parent, name).lstat().st_size
        for folder in tree.manifest.superseded
        for parent, _, names in os.walk(tree.store_path / folder)
        for name in names
    )
