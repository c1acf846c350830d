"""What a source holds: its videos, in its order, and what was passed over."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.staging import FileStatus, StagedObject
from frame_store.manifest import JsonValue
from frame_store.shared import counted
from frame_store.tables import Table

_MAX_EXTENSIONS_LISTED = 8
_MAX_FEATURES_LISTED = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpisodeSpan:
    """The stretch of a file that is one video, as its source states it. Its frames are found by their pts."""

    from_seconds: float
    to_seconds: float
    frame_seconds: npt.NDArray[np.float64]
    """Pts in the file of each frame of the video, rising: shape (n,). The n frames follow one another in the file."""
    tolerance_seconds: float
    """How far the pts of a frame may be from its entry in `frame_seconds`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceVideo:
    """A video of a source: a file, or a stretch of one."""

    relative_path: str
    """What the video is called: a posix path as valid UTF-8, other bytes as `\\xNN`; the episode's name where one file
    holds several. No two videos of a camera have the same."""
    path: Path
    """The path of its file to open, exactly as the file system has it."""
    file_path: str | None = None
    """What its file is called, where that is not `relative_path`."""
    span: EpisodeSpan | None = None
    """None: all of the file."""
    camera: str | None = None
    """The camera that filmed it; None in a source without cameras."""
    stated_sizes: tuple[tuple[int, int], ...] = ()
    """(height, width) of its file's pictures, as the source states it, in one way or several; empty where it does not.
    A file whose pictures have none of these sizes is not the one that the source means."""
    staged: StagedObject | None = None
    """The object of a store that is downloaded to `path` while it is read; None for a file that is there."""
    problem: str | None = None
    """Why the source's own metadata shows that the video cannot be used; None if nothing is known against it."""

    @property
    def file(self) -> str:
        """What its file is called: one name for all videos in it."""
        return self.relative_path if self.file_path is None else self.file_path

    def status(self) -> FileStatus:
        """Size and modification time of its file or object, without a request to a store.

        Raises:
            OSError: it is no file, or cannot be looked at.
        """
        if self.staged is not None:
            return self.staged.status
        status = os.stat(self.path)  # noqa: PTH116 - of what the link leads to
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no file", os.fspath(self.path))
        return FileStatus(num_bytes=status.st_size, mtime_ns=status.st_mtime_ns)

    def at_hand(self) -> AbstractContextManager[Path]:
        """The path of its file, which is downloaded first where it is an object.

        Raises: as `StagedObject.at_hand`.
        """
        return nullcontext(self.path) if self.staged is None else self.staged.at_hand(self.file)


class PassedOver(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a source that do not count as videos, and videos that the user left out."""

    by_extension: dict[str, int]
    """Lower-case extension with its dot ("" for none) -> number of files, largest first."""
    num_hidden: int
    """Files and folders whose names begin with a dot; the contents of such a folder are not counted."""
    num_excluded: int = 0
    """Videos that no pattern of `include` matches, or that one of `exclude` matches."""
    num_beyond_limit: int = 0
    """Videos after the first `limit` that are neither excluded nor passed over."""
    unmatched_excludes: list[str] = []
    """Patterns of `exclude` that match no video."""
    num_unmatched: int = 0
    """Videos that the camera pattern does not match."""
    features: dict[str, str] = {}
    """Features of a data set that become no column -> why."""

    @property
    def text(self) -> str | None:
        """One line; None if nothing was passed over."""
        counts = [
            f"{count} {extension or 'without an extension'}" for extension, count in self.by_extension.items()
        ]
        more = len(counts) - _MAX_EXTENSIONS_LISTED
        if more > 0:
            num_files = sum(list(self.by_extension.values())[_MAX_EXTENSIONS_LISTED:])
            counts[_MAX_EXTENSIONS_LISTED:] = [f"{num_files} of {counted(more, 'other kind')}"]
        parts = [f"passed over by extension: {', '.join(counts)}"] if counts else []
        parts += [f"passed over as hidden: {self.num_hidden}"] if self.num_hidden else []
        parts += [f"not matched by the camera pattern: {counted(self.num_unmatched, 'video')}"] * bool(
            self.num_unmatched
        )
        parts += [
            f"feature {name!r} is left out: {why}"
            for name, why in list(self.features.items())[:_MAX_FEATURES_LISTED]
        ]
        more = len(self.features) - _MAX_FEATURES_LISTED
        parts += [f"{counted(more, 'other feature')} left out"] if more > 0 else []
        parts += [f"excluded: {counted(self.num_excluded, 'video')}"] if self.num_excluded else []
        parts += [f"beyond the limit: {counted(self.num_beyond_limit, 'video')}"] * bool(
            self.num_beyond_limit
        )
        parts += [f"no video to exclude matches {pattern!r}" for pattern in self.unmatched_excludes]
        return "; ".join(parts) or None


NOTHING_PASSED_OVER: Final = PassedOver(by_extension={}, num_hidden=0)


def all_passed_over(parts: Iterable[PassedOver]) -> PassedOver:
    """What several sources passed over, together."""
    extensions: Counter[str] = Counter()
    num_hidden = 0
    for part in parts:
        extensions.update(part.by_extension)
        num_hidden += part.num_hidden
    return PassedOver(by_extension=largest_first(extensions), num_hidden=num_hidden)


def largest_first(extensions: Mapping[str, int]) -> dict[str, int]:
    """The counts, the largest first, equal ones by extension.

    >>> largest_first({".b": 1, ".c": 2, ".a": 1})
    {'.c': 2, '.a': 1, '.b': 1}
    """
    return dict(sorted(extensions.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceDataset:
    """The columns of a data set, and what it states about itself."""

    read_tables: Callable[[], list[Table]]
    """Reads the columns. The tables have the keys `video` (the names of `SourceVideo`) and, of frames, `frame`."""
    statement: dict[str, JsonValue]
    """Recorded as `ColumnsRecord.dataset`: `kind` (`lerobot`), and what that kind needs."""
    read_tables_of: Callable[[Collection[str]], list[Table]] | None = None
    """Reads the rows of the videos of these names alone; None where all rows are always read."""

    def of_videos(self, names: Collection[str]) -> "SourceDataset":
        """The data set with the rows of these videos alone."""
        if self.read_tables_of is None:
            return self
        return replace(self, read_tables=partial(self.read_tables_of, names))


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceContents:
    """What a source holds."""

    videos: list[SourceVideo]
    """In the order of the source: a folder's by relative path, a list's as its lines, a data set's by episode.
    `video_id` is the row. With cameras: all videos of the first one, then all of the next, each with the same names in
    the same order, so that `video_id` is the row within a camera."""
    passed_over: PassedOver
    cameras: tuple[str, ...] = ()
    """Names of the cameras, in the order of `videos`; empty for a source without cameras."""
    depth_cameras: frozenset[str] = frozenset()
    """The cameras whose pixels are depths, stored as `gray16`."""
    dataset: SourceDataset | None = None
    """What the source states beside its videos; None for plain videos."""

    def videos_of(self, camera: str | None) -> list[SourceVideo]:
        """The videos of a camera in their order; for None, of a source without cameras."""
        return [video for video in self.videos if video.camera == camera]

    def remove_temporary_stages(self) -> None:
        """Remove the folders for downloaded videos that no user named."""
        for stage in {video.staged.stage for video in self.videos if video.staged is not None}:
            stage.remove_if_temporary()

    def of_names(self, names: Collection[str]) -> "SourceContents":
        """The videos of these names alone, of every camera, and their rows of the data set."""
        kept = frozenset(names)
        videos = [video for video in self.videos if video.relative_path in kept]
        dataset = self.dataset
        if dataset is not None and len(videos) < len(self.videos):
            dataset = dataset.of_videos(kept)
        return replace(self, videos=videos, dataset=dataset)
