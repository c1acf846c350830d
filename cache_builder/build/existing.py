"""The cache that exists at the output of a build already: whether it is intact, and how it differs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cache_builder.errors import OutputError
from cache_builder.findings import ON_DEVICE_COUNT
from cache_builder.settings import BuildConfig
from cache_builder.stages import list_changes, setting_differences
from frame_store.errors import StoreError, StoreNotFoundError
from frame_store.manifest import CacheTree, FileEntry, VideoEntry, read_tree
from frame_store.shared import counted
from frame_store.verify import has_size


@dataclass(frozen=True, kw_only=True)
class ExistingCache:
    """A cache at the output."""

    tree: CacheTree
    broken_files: list[FileEntry]
    """Files that are missing or have another length; `cache-verify` checks every byte."""
    videos: list[VideoEntry] | None
    """None where the table of videos cannot be read."""
    problem: str | None
    """Why it cannot be read."""

    def differences(
        self, config: BuildConfig, videos: dict[str, str], *, on_device: Iterable[str]
    ) -> list[str]:
        """One line for each thing in which the cache differs from a build that is asked for, or is damaged.

        `videos` is the identity of the build's inputs: path to SHA-256, or why it is unreadable. `on_device` has the
        paths of the videos that a GPU would decode.
        """
        lines = [
            f"{entry.name}: missing, or not {counted(entry.num_bytes, 'byte')} long"
            for entry in self.broken_files
        ]
        lines += setting_differences(config.to_builtins(), self.tree.generation.config)
        if self.videos is None:
            return [*lines, f"{self.problem}"]
        found = {video.path: video.sha256 for video in self.videos}
        asked = {path: None if digest.startswith("unreadable") else digest for path, digest in videos.items()}
        lines += list_changes(found, asked)
        on_device_there = {video.path for video in self.videos if ON_DEVICE_COUNT in video.facts}
        for path in sorted(on_device_there.symmetric_difference(on_device)):
            before, now = ("a GPU", "the CPU") if path in on_device_there else ("the CPU", "a GPU")
            lines.append(f"video {path}: decoded by {before} there, by {now} now ({{--device}})")
        if [*videos] != [*found] and not lines:
            lines.append("the videos come in another order there")
        return lines or ["videos that were and are unreadable, now for another reason"]


def read_existing_cache(output: Path) -> ExistingCache:
    """The cache at `output`, a folder that is not empty.

    Raises:
        OutputError: the folder holds no cache, or one of which a build cannot tell what it holds.
    """
    try:
        tree = read_tree(output)
    except StoreNotFoundError as error:
        raise OutputError(
            f"{output}: holds files that are no cache; give {{--out}} a folder that does not exist yet"
        ) from error
    except StoreError as error:
        raise OutputError(f"{error}; move it away, or give another {{--out}}") from error
    entries = [entry.inside(tree.folder) for entry in [*tree.generation.files, *tree.generation.shards]]
    videos, problem = None, None
    try:
        videos = tree.read_videos()
    except StoreError as error:
        problem = str(error)
    return ExistingCache(
        tree=tree,
        broken_files=[entry for entry in entries if not has_size(output, entry)],
        videos=videos,
        problem=problem,
    )
