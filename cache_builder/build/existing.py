"""The cache that exists at the output of a build already: whether it is intact, and how it differs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cache_builder.columns import dataset_differs
from cache_builder.errors import OutputError
from cache_builder.findings import ON_DEVICE_COUNT
from cache_builder.growing import LiveCache
from cache_builder.inputs import content_of_entry
from cache_builder.settings import BuildConfig
from cache_builder.sources import SourceContents
from cache_builder.stages import Workspace, list_changes, setting_differences
from frame_store.errors import StoreError, StoreNotFoundError
from frame_store.manifest import CacheTree, FileEntry, Generation, VideoEntry, read_trees
from frame_store.shared import counted


@dataclass(frozen=True, kw_only=True)
class ExistingPart:
    """A camera of a cache at the output, or all of a cache without cameras."""

    camera: str | None
    generations: list[Generation]
    broken_files: list[FileEntry]
    """Files that are missing or have another length; `cache-verify` checks every byte."""
    videos: list[VideoEntry] | None
    """Without forgotten ones; None where the table of videos cannot be read."""
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
        asked_config = config.to_builtins()
        of_each = [setting_differences(asked_config, generation.config) for generation in self.generations]
        lines += dict.fromkeys(line for of_one in of_each for line in of_one)
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
        is_built_at_once = sum(len(generation.built_parts) for generation in self.generations) == 1
        if is_built_at_once and [*videos] != [*found] and not lines:
            lines.append("the videos come in another order there")
        return lines


@dataclass(frozen=True, kw_only=True)
class ExistingCache:
    """A cache at the output."""

    parts: list[ExistingPart]
    """Its cameras; a single part for a cache without cameras."""
    live: LiveCache | None
    """Its videos; None where a table cannot be read."""

    def is_complete(self, cameras: Sequence[str | None], fingerprints: Sequence[str]) -> bool:
        """Whether it is an undamaged cache of one build, of these cameras, with these fingerprints."""
        if self.live is None or not self.live.is_as_built:
            return False
        return [(part.camera, part.generations[0].fingerprint) for part in self.parts] == [
            *zip(cameras, fingerprints, strict=True)
        ] and not any(part.broken_files or part.videos is None for part in self.parts)

    def only_lacks_videos(self, videos: Sequence[Mapping[str, str]]) -> bool:
        """Whether the sources have all that the cache has, and more: an append may be meant."""
        return self.live is not None and all(self.live.live.keys() < of_camera.keys() for of_camera in videos)

    def differences(
        self,
        cameras: Sequence[str | None],
        configs: Sequence[BuildConfig],
        videos: Sequence[Mapping[str, str]],
        *,
        on_device: Sequence[Iterable[str]],
        contents: SourceContents,
    ) -> list[str]:
        """`ExistingPart.differences` of every camera; all sequences have an entry for each of `cameras`.

        Where the cache has grown, no line means that it is the cache that is asked for.
        """
        there = [part.camera for part in self.parts]
        if there != [*cameras]:
            return [f"{cameras_text(there)} there, {cameras_text(cameras)} asked for"]
        lines: list[str] = []
        for part, config, of_camera, by_gpu in zip(self.parts, configs, videos, on_device, strict=True):
            where = "" if part.camera is None else f"camera {part.camera}: "
            lines += [where + line for line in part.differences(config, of_camera, on_device=by_gpu)]
        if lines:
            return lines
        if self.live is not None and not self.live.is_as_built:
            changed = dataset_differs(self.live.trees[0], self.live.tables[0], contents)
            return (
                ["what the data set states about its episodes has changed, or its values"] if changed else []
            )
        if any("unreadable" in content for of_camera in videos for content in of_camera.values()):
            return ["videos that were and are unreadable, now for another reason"]
        return ["what the data set states about its episodes has changed: times of frames, or values"]


def cameras_text(cameras: Sequence[str | None]) -> str:
    """The names of cameras, or that there are none."""
    names = [camera for camera in cameras if camera is not None]
    return f"cameras {', '.join(names)}" if names else "no cameras"


def read_existing_cache(workspace: Workspace) -> ExistingCache:
    """The cache at the output of a workspace, which is not empty.

    Raises:
        OutputError: the folder holds no cache, or one of which a build cannot tell what it holds.
    """
    output = workspace.output
    try:
        trees = read_trees(output)
    except StoreNotFoundError as error:
        raise OutputError(
            f"{output}: holds files that are no cache; give {{--out}} a folder that does not exist yet"
        ) from error
    except StoreError as error:
        raise OutputError(f"{error}; move it away, or give another {{--out}}") from error
    live, problem = None, None
    try:
        live = LiveCache(trees=trees, tables=[tree.read_videos() for tree in trees])
    except StoreError as error:
        problem = str(error)
    return ExistingCache(parts=[_part(workspace, tree, live, problem) for tree in trees], live=live)


def _part(workspace: Workspace, tree: CacheTree, live: LiveCache | None, problem: str | None) -> ExistingPart:
    files = [
        file.inside(each.folder)
        for each in tree.generations
        for file in [*each.generation.files, *each.generation.shards]
    ]
    camera = None if tree.camera is None else tree.camera.name
    return ExistingPart(
        camera=camera,
        generations=[each.generation for each in tree.generations],
        broken_files=[file for file in files if not workspace.has_size(file)],
        videos=None if live is None else live.live_tables()[camera],
        problem=problem,
    )
