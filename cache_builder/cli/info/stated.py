"""What a cache states, for `cache-info --json`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from cache_builder.cli.info.growth import SupersededFolder
from cache_builder.columns import ColumnSummary, summaries_of
from cache_builder.findings import joined_fidelity
from frame_store.column_files import read_columns_record, read_dataset
from frame_store.manifest import CacheTree, Fidelity, Generation, VideoEntry


class StatedGeneration(msgspec.Struct, frozen=True, kw_only=True):
    """A generation, with its ids in the cache."""

    folder: str
    """Inside the cache."""
    first_frame: int
    first_video: int
    generation: Generation


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the generations of a cache, or of one of its cameras. Forgotten videos count."""

    num_generations: int
    num_frames: int
    num_videos: int
    num_shards: int
    num_bytes: int
    fidelity: Fidelity | None
    fingerprint: str

    @classmethod
    def of(cls, tree: CacheTree) -> "Totals":
        """Of all generations of a tree."""
        generations = [each.generation for each in tree.generations]
        return cls(
            num_generations=len(generations),
            num_frames=tree.num_frames,
            num_videos=tree.num_videos,
            num_shards=sum(len(generation.shards) for generation in generations),
            num_bytes=sum(generation.num_bytes for generation in generations),
            fidelity=joined_fidelity(generation.fidelity for generation in generations),
            fingerprint=tree.fingerprint,
        )


def stated(
    trees: Sequence[CacheTree],
    tables: Sequence[list[VideoEntry]],
    *,
    superseded: Sequence[SupersededFolder],
) -> dict[str, Any]:
    """What a cache states. Where it has cameras, each has `generations`, `totals` and `videos`, which are null then."""
    first = trees[0]
    of_trees = [
        {"generations": _generations(tree), "totals": Totals.of(tree), "videos": table}
        for tree, table in zip(trees, tables, strict=True)
    ]
    cameras = [
        {"name": tree.camera.name, "folder": tree.camera.folder, **own}
        for tree, own in zip(trees, of_trees, strict=True)
        if tree.camera is not None
    ]
    return {
        "manifest": first.manifest,
        **(dict.fromkeys(of_trees[0]) if cameras else of_trees[0]),
        "cameras": cameras,
        "columns": column_summaries(first),
        "dataset": read_dataset(first),
        "forgotten": [
            {"video_id": video, "path": tables[0][video].path} for video in first.manifest.forgotten_videos
        ],
        "superseded": superseded,
    }


def _generations(tree: CacheTree) -> list[StatedGeneration]:
    return [
        StatedGeneration(
            folder=each.folder,
            first_frame=each.entry.first_frame,
            first_video=each.entry.first_video,
            generation=each.generation,
        )
        for each in tree.generations
    ]


def column_summaries(tree: CacheTree) -> list[ColumnSummary]:
    """A record for each column that all videos of a cache have."""
    summaries: dict[str, ColumnSummary] = {}
    times: Counter[str] = Counter()
    for entry in tree.manifest.columns:
        for found in summaries_of(read_columns_record(tree.store_path, entry)):
            before = summaries.get(found.name)
            summaries[found.name] = (
                found
                if before is None
                else msgspec.structs.replace(
                    found,
                    num_missing=before.num_missing + found.num_missing,
                    num_bytes=before.num_bytes + found.num_bytes,
                )
            )
            times[found.name] += 1
    return [found for name, found in summaries.items() if times[name] == len(tree.manifest.columns)]
