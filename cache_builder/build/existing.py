"""The cache that exists at the output of a build already: whether it is intact, and how it differs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache_builder.errors import OutputError
from cache_builder.findings import ON_DEVICE_COUNT
from cache_builder.inputs import content_text
from cache_builder.settings import BuildConfig
from cache_builder.stages import list_changes, setting_differences
from frame_store.errors import StoreError, StoreNotFoundError
from frame_store.manifest import CacheTree, FileEntry, Generation, VideoEntry, read_trees
from frame_store.shared import counted
from frame_store.verify import has_size


@dataclass(frozen=True, kw_only=True)
class ExistingPart:
    """A camera of a cache at the output, or all of a cache without cameras."""

    camera: str | None
    generation: Generation
    broken_files: list[FileEntry]
    """Files that are missing or have another length; `cache-verify` checks every byte."""
    videos: list[VideoEntry] | None
    """None where the table of videos cannot be read."""
    problem: str | None
    """Why it cannot be read."""

    def differences(
        self, config: BuildConfig, videos: Mapping[str, str], *, on_device: Iterable[str]
    ) -> list[str]:
        """One line for each thing in which this differs from a build that is asked for, or is damaged.

        `videos` is the identity of the build's inputs: path to content, or why it is unreadable. `on_device` has the
        paths of the files that a GPU would decode.
        """
        lines = [
            f"{entry.name}: missing, or not {counted(entry.num_bytes, 'byte')} long"
            for entry in self.broken_files
        ]
        lines += setting_differences(config.to_builtins(), self.generation.config)
        if self.videos is None:
            return [*lines, f"{self.problem}"]
        asked = {
            path: None if content.startswith("unreadable") else content for path, content in videos.items()
        }
        found = {video.path: content_of_entry(video, asked.get(video.path)) for video in self.videos}
        lines += list_changes(found, asked)
        on_device_there = {
            video.path if video.span is None else video.span.file
            for video in self.videos
            if ON_DEVICE_COUNT in video.facts
        }
        for path in sorted(on_device_there.symmetric_difference(on_device)):
            before, now = ("a GPU", "the CPU") if path in on_device_there else ("the CPU", "a GPU")
            lines.append(f"video {path}: decoded by {before} there, by {now} now ({{--device}})")
        if [*videos] != [*found] and not lines:
            lines.append("the videos come in another order there")
        return lines


@dataclass(frozen=True, kw_only=True)
class ExistingCache:
    """A cache at the output."""

    parts: list[ExistingPart]
    """Its cameras; a single part for a cache without cameras."""

    def is_complete(self, cameras: Sequence[str | None], fingerprints: Sequence[str]) -> bool:
        """Whether it is an undamaged cache of these cameras, with these fingerprints."""
        return [(part.camera, part.generation.fingerprint) for part in self.parts] == [
            *zip(cameras, fingerprints, strict=True)
        ] and not any(part.broken_files or part.videos is None for part in self.parts)

    def differences(
        self,
        cameras: Sequence[str | None],
        configs: Sequence[BuildConfig],
        videos: Sequence[Mapping[str, str]],
        *,
        on_device: Sequence[Iterable[str]],
    ) -> list[str]:
        """`ExistingPart.differences` of every camera; all sequences have an entry for each of `cameras`."""
        there = [part.camera for part in self.parts]
        if there != [*cameras]:
            return [f"{cameras_text(there)} there, {cameras_text(cameras)} asked for"]
        lines: list[str] = []
        for part, config, of_camera, by_gpu in zip(self.parts, configs, videos, on_device, strict=True):
            where = "" if part.camera is None else f"camera {part.camera}: "
            lines += [where + line for line in part.differences(config, of_camera, on_device=by_gpu)]
        if lines:
            return lines
        if any("unreadable" in content for of_camera in videos for content in of_camera.values()):
            return ["videos that were and are unreadable, now for another reason"]
        return ["what the data set states about its episodes has changed: times of frames, or values"]


def content_of_entry(video: VideoEntry, asked: str | None) -> str | None:
    """The content of a video as `Inputs.identity` states it."""
    if video.sha256 is None:
        return None
    if video.span is not None:
        return content_text(video.sha256, video.span.file, (video.span.from_seconds, video.span.to_seconds))
    # Where an episode of a readable file was left out, its place in the file is not known.
    is_same_file = video.verdict == "unreadable" and asked is not None and asked.startswith(video.sha256)
    return asked if is_same_file else video.sha256


def cameras_text(cameras: Sequence[str | None]) -> str:
    """The names of cameras, or that there are none."""
    names = [camera for camera in cameras if camera is not None]
    return f"cameras {', '.join(names)}" if names else "no cameras"


def read_existing_cache(output: Path) -> ExistingCache:
    """The cache at `output`, a folder that is not empty.

    Raises:
        OutputError: the folder holds no cache, or one of which a build cannot tell what it holds.
    """
    try:
        return ExistingCache(parts=[_read_part(tree) for tree in read_trees(output)])
    except StoreNotFoundError as error:
        raise OutputError(
            f"{output}: holds files that are no cache; give {{--out}} a folder that does not exist yet"
        ) from error
    except StoreError as error:
        raise OutputError(f"{error}; move it away, or give another {{--out}}") from error


def _read_part(tree: CacheTree) -> ExistingPart:
    videos, problem = None, None
    try:
        videos = tree.read_videos()
    except StoreError as error:
        problem = str(error)
    files = [file.inside(tree.generations[0].folder) for file in [*tree.common.files, *tree.common.shards]]
    return ExistingPart(
        camera=None if tree.camera is None else tree.camera.name,
        generation=tree.common,
        broken_files=[file for file in files if not has_size(tree.store_path, file)],
        videos=videos,
        problem=problem,
    )
