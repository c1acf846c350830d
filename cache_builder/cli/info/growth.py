"""How a cache came to be, in a few lines for `cache-info`: its generations, forgotten videos and older versions."""

from collections.abc import Sequence
from typing import Final

import msgspec

from cache_builder.cli.info.table import table_lines
from frame_store.manifest import CacheTree, VideoEntry, many_generations_hint
from frame_store.names import manifest_name
from frame_store.shared import counted, without_controls

_MAX_NAMED: Final = 5
_COLUMNS: Final = ("generation", "first frame", "frames", "first video", "videos", "shards", "MB", "made of")


class SupersededFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that earlier versions of a cache name."""

    folder: str
    num_bytes: int | None
    """Of its files; None where it was removed."""


def superseded_folders(tree: CacheTree) -> list[SupersededFolder]:
    """The folders that only earlier versions of a cache name, there or removed.

    Raises:
        StoreError: no cache is there any more.
    """
    if not tree.manifest.superseded:
        return []
    from cache_builder import compaction

    there = {found.folder: found.num_bytes for found in compaction.superseded_folders(tree.store_path)}
    return [
        SupersededFolder(folder=folder, num_bytes=there.get(folder)) for folder in tree.manifest.superseded
    ]


def generations_text(tree: CacheTree) -> list[str]:
    """A table with a line for each generation; empty for a cache as a build made it."""
    if len(tree.generations) == 1 and not tree.common.parts:
        return []
    rows: list[Sequence[str]] = [_COLUMNS]
    for each in tree.generations:
        entry, generation = each.entry, each.generation
        rows.append(
            (
                each.folder,
                *(str(number) for number in (entry.first_frame, entry.num_frames)),
                *(str(number) for number in (entry.first_video, entry.num_videos)),
                str(len(generation.shards)),
                f"{generation.num_bytes / 1e6:.1f}",
                counted(len(generation.built_parts), "build"),
            )
        )
    lines = table_lines(rows, left={"generation"})
    if (hint := many_generations_hint(len(tree.generations))) is not None:
        lines.append(f"  {hint}")
    return lines


def forgotten_text(tree: CacheTree, videos: Sequence[VideoEntry]) -> list[str]:
    """A line about forgotten videos; no line without any."""
    forgotten = tree.manifest.forgotten_videos
    if not forgotten:
        return []
    num_frames = sum(videos[video].num_frames_stored for video in forgotten)
    named = [repr(without_controls(videos[video].path)) for video in forgotten[:_MAX_NAMED]]
    if len(forgotten) > _MAX_NAMED:
        named.append(counted(len(forgotten) - _MAX_NAMED, "other"))
    return [
        f"forgotten  {counted(len(forgotten), 'video')} with {counted(num_frames, 'frame')}, which readers leave out: "
        f"{', '.join(named)}"
    ]


def versions_text(tree: CacheTree, superseded: Sequence[SupersededFolder]) -> list[str]:
    """Lines about the version of a cache and what earlier ones left; no line for its first version."""
    version = tree.manifest.version
    if not version:
        return []
    lines = [f"version    {version}: {manifest_name(version)} is the newest manifest"]
    if superseded:
        sizes = [found.num_bytes for found in superseded if found.num_bytes is not None]
        there = (
            f"{len(sizes)} there with {sum(sizes) / 1e6:.1f} MB; cache-compact --remove-superseded removes them"
            if sizes
            else "all removed"
        )
        lines.append(f"superseded {counted(len(superseded), 'folder')} of earlier versions, {there}")
    return lines
