"""What the versions of a cache, and its generations, state about each other."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from frame_store.errors import StoreError
from frame_store.manifest import (
    CacheManifest,
    CacheTree,
    GenerationEntry,
    PartEntry,
    joined_fingerprint,
    read_manifest,
)
from frame_store.names import VIDEOS_NAME, generation_folder, manifest_name
from frame_store.shared import counted, without_controls
from frame_store.verify.generation import CheckedGeneration


def find_version_problems(
    store_path: Path, manifest: CacheManifest, trees: Sequence[CacheTree | None]
) -> Iterator[str]:
    """One line for each manifest before the newest that is damaged, or that contradicts the cache as it is.

    A version keeps all ids of the version before: its generations begin with the same built ones, in the same order,
    however they are joined.

    Args:
        store_path: the cache.
        manifest: its newest manifest.
        trees: all generations of each camera, or of the cache without cameras; None where one cannot be read.
    """
    cameras = _cameras(manifest)
    num_frames = 0
    for version in range(manifest.version):
        name = manifest_name(version)
        try:
            older = read_manifest(store_path, version=version)
        except StoreError as error:
            yield f"{name}: {str(error).removeprefix(f'{store_path / name}: ')}"
            continue
        if _cameras(older) != cameras:
            yield f"{name}: has other cameras than {manifest_name(manifest.version)}"
            continue
        if older.num_frames < num_frames:
            yield (
                f"{name}: has {counted(older.num_frames, 'frame')}, an earlier version has {num_frames}; "
                "a cache never loses frames"
            )
        num_frames = max(num_frames, older.num_frames)
        of_cameras = [camera.generations for camera in older.cameras] or [older.generations]
        for entries, tree in zip(of_cameras, trees, strict=True):
            if tree is not None and (problem := _chain_problem(entries, tree.parts)) is not None:
                yield f"{name}: {problem}; no version changes the frames of an earlier one"


def _cameras(manifest: CacheManifest) -> list[tuple[str, str]]:
    """Name and folder of each camera."""
    return [(camera.name, camera.folder) for camera in manifest.cameras]


def _chain_problem(entries: Sequence[GenerationEntry], parts: Sequence[PartEntry]) -> str | None:
    """Why generations of an earlier version are not the first ones of the newest, by their parts; None if they are."""
    frames = [*accumulate((part.num_frames for part in parts), initial=0)]
    videos = [*accumulate((part.num_videos for part in parts), initial=0)]
    edges = dict(zip(zip(frames, videos, strict=True), range(len(frames)), strict=True))
    for entry in entries:
        begin = edges.get((entry.first_frame, entry.first_video))
        end = edges.get((entry.end_frame, entry.end_video))
        if begin is None or end is None:
            return (
                f"{entry.folder}: holds ids [{entry.first_frame}, {entry.end_frame}) and videos [{entry.first_video}, "
                f"{entry.end_video}), and the newest version has no such generations"
            )
        expected = generation_folder(joined_fingerprint([part.fingerprint for part in parts[begin:end]]))
        if entry.folder != expected:
            return (
                f"{entry.folder}: holds ids [{entry.first_frame}, {entry.end_frame}), which are those of "
                f"{expected} in the newest version"
            )
    return None


def find_path_problems(manifest: CacheManifest, checked: Sequence[CheckedGeneration]) -> Iterator[str]:
    """One line for each path that two videos of a cache have, of those that are not forgotten.

    `checked` has the generations of the cache, or of its first camera, whose tables of videos can be read.
    """
    forgotten = set(manifest.forgotten_videos)
    seen: dict[str, int] = {}
    for each in checked:
        for video_id, video in enumerate(each.videos or (), start=each.tree.entry.first_video):
            if video_id in forgotten:
                continue
            first = seen.setdefault(video.path, video_id)
            if first != video_id:
                yield (
                    f"{each.tree.folder}/{VIDEOS_NAME}: videos {first} and {video_id} of the cache are both "
                    f"{without_controls(video.path)!r}"
                )
