"""`Sources`: what the user gives; `look_into`: the videos in it, the same for builds, repairs and live stores.

A new kind of source is a function that gives `SourceContents`, and a line in `_look_into_one`.
"""

import os
import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from cache_builder.errors import ConfigError, InputFolderError
from cache_builder.setting_names import SettingError
from cache_builder.sources.camera_folder import cameras_of
from cache_builder.sources.camera_pattern import CameraPattern
from cache_builder.sources.contents import (
    NOTHING_PASSED_OVER,
    SourceContents,
    SourceVideo,
    all_passed_over,
)
from cache_builder.sources.filters import VideoFilter
from cache_builder.sources.folder import look_into_folder
from cache_builder.sources.lerobot import is_lerobot, look_into_lerobot
from cache_builder.sources.list_file import is_list, look_into_list
from cache_builder.sources.names import (
    Place,
    base_name,
    mode_of,
    named_path,
    place_of,
    printable,
    source_path,
)
from cache_builder.sources.patterns import PathPattern
from cache_builder.sources.remote import look_into_url
from cache_builder.staging import Stage, StageSettings
from frame_store.remote import RemoteUrl
from frame_store.shared import EXTENSIONS_TEXT, is_video_name, raise_if_out_of_files


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """One or several sources of videos, and which of their videos are taken."""

    paths: tuple[Path | RemoteUrl, ...]
    """Each a folder, a video or a list of videos, or the URL of one; at least one."""
    filter: VideoFilter = field(default_factory=VideoFilter)
    """Compares paths as they are recorded: of several sources, with the base name in front."""
    camera_pattern: CameraPattern | None = None
    """Which video of a folder is which camera's of which episode; None: a folder has no cameras."""
    stage: StageSettings = field(default_factory=StageSettings)
    """Where videos at URLs are downloaded to."""

    def __post_init__(self) -> None:
        """Refuse no source at all."""
        if not self.paths:
            raise SettingError("no source is given: a folder of videos, a video, or a list of videos")

    @classmethod
    def of(
        cls,
        videos: "Place | Sequence[Place] | Sources",
        *,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        limit: int | None = None,
        camera_pattern: str | None = None,
    ) -> "Sources":
        """Sources as a call in Python gives them; a single path or pattern need not be in a list.

        Raises:
            SettingError: no source, an empty pattern, a limit below 1, or a camera pattern that is none.
            ValueError: an empty path, or a URL that is none, or has credentials in it.
        """
        if isinstance(videos, Sources):
            return videos
        paths = [videos] if isinstance(videos, str | os.PathLike | RemoteUrl) else videos
        return cls(
            paths=tuple(place_of(path) for path in paths),
            filter=VideoFilter(
                include=_patterns("include", include), exclude=_patterns("exclude", exclude), limit=limit
            ),
            camera_pattern=None if camera_pattern is None else CameraPattern(camera_pattern),
        )

    @property
    def text(self) -> str:
        """The paths, for a message."""
        return ", ".join(map(str, self.paths))


def _patterns(name: str, texts: str | Sequence[str]) -> tuple[PathPattern, ...]:
    try:
        return tuple(map(PathPattern, [texts] if isinstance(texts, str) else texts))
    except SettingError as error:
        raise SettingError(f"{{--{name}}}: {error.marked_text}") from error


def discover_videos(source: Place | Sources) -> list[SourceVideo]:
    """The videos of `look_into`: their row in this list is their `video_id`.

    Raises: as `look_into`.
    """
    return look_into(source).videos


def look_into(sources: Place | Sources, *, not_counted: Collection[Path] = ()) -> SourceContents:
    """The videos of the sources, in the order of the sources and of each source, and what was passed over.

    A folder with a file `meta/info.json` is a LeRobot data set, whose videos are its episodes. Any other folder is
    searched with its subfolders, in the order of the paths below it; with a camera pattern, its videos are episodes,
    too. A single video has its file name as its path, as if it were alone in a folder. For a list, see `list_file`. If
    there are several sources, none of which may have cameras, each path begins with the base name of its source; the
    path of a single video is that base name. `not_counted` (absolute paths) are files and folders of the build itself:
    in a folder they count neither as videos nor as other files.

    Raises:
        InputFolderError: a source does not exist, cannot be listed or read, holds no video, or has the base name of
            another; or two videos would have the same path.
        MachineError: an object store cannot be reached, or refuses.
        ConfigError: two sources hold the same file, a pattern that is to be included matches no video, there are
            several sources and one has cameras, or a camera pattern is given for what is no plain folder.
        OSError: no more files can be opened.
    """
    sources = Sources.of(sources)
    own = sources.stage.own_folder
    not_counted = [*not_counted, *([own] if own is not None else [])]
    stage = cache(partial(sources.stage.stage_of, sources.paths))
    parts = [_look_into_one(path, sources.camera_pattern, not_counted, stage) for path in sources.paths]
    _refuse_several_with_cameras(sources, parts)
    if len(parts) == 1:
        contents = sources.filter.applied(parts[0])
    else:
        prefixed = [
            [_prefixed(video, name) for video in part.videos]
            for name, part in zip(_base_names(sources.paths), parts, strict=True)
        ]
        contents = sources.filter.applied(
            SourceContents(
                videos=[video for videos in prefixed for video in videos],
                passed_over=all_passed_over(part.passed_over for part in parts),
            )
        )
        _refuse_same_files(contents.videos)
    _refuse_same_paths(contents.videos)
    return contents


def default_output(sources: Place | Sources) -> Path:
    """`DIR.cache` beside the folder of videos, or `FILE.cache` beside the one video or list.

    Raises:
        InputFolderError: nothing is there.
        ConfigError: there are several sources, the source is a URL, or the folder has no name (the root of the file
            system).
    """
    sources = Sources.of(sources)
    if len(sources.paths) > 1:
        raise ConfigError(
            f"{len(sources.paths)} sources are given, {sources.text}: give {{--out}}, where their one cache goes"
        )
    if isinstance(sources.paths[0], RemoteUrl):
        raise ConfigError(f"{sources.text}: is a URL: give {{--out}}, where the cache goes")
    source = named_path(sources.paths[0])  # the cache goes beside a link, not beside its target
    if not source.name:
        raise ConfigError(f"{source}: give {{--out}}, there is no place beside it")
    return source.with_name(source.name + ".cache")


def _look_into_one(
    place: Path | RemoteUrl,
    pattern: CameraPattern | None,
    not_counted: Collection[Path],
    stage: Callable[[], Stage],
) -> SourceContents:
    if isinstance(place, RemoteUrl):
        return look_into_url(place, stage, pattern)
    path = source_path(place)
    is_folder = stat.S_ISDIR(mode_of(path))
    if is_folder and is_lerobot(path):
        if pattern is not None:
            raise ConfigError(
                f"{path}: is a LeRobot data set, whose meta/info.json names its cameras; {{--camera-pattern}} is for "
                "plain folders: leave it out"
            )
        return look_into_lerobot(path)
    if pattern is not None:
        if not is_folder:
            raise ConfigError(f"{path}: is no folder, and {{--camera-pattern}} is for folders")
        return cameras_of(look_into_folder(path, not_counted=not_counted), path, pattern)
    if is_folder:
        return look_into_folder(path, not_counted=not_counted)
    if is_video_name(path.name):
        video = SourceVideo(relative_path=printable(path.name), path=path)
        return SourceContents(videos=[video], passed_over=NOTHING_PASSED_OVER)
    if is_list(path):
        return look_into_list(path, stage)
    raise InputFolderError(
        path,
        "is neither a folder nor a file with the extension of a video, nor text that lists videos; "
        f"videos have these extensions: {EXTENSIONS_TEXT}",
    )


def _prefixed(video: SourceVideo, name: str) -> SourceVideo:
    return (
        video
        if video.relative_path == name
        else replace(video, relative_path=f"{name}/{video.relative_path}")
    )


def _base_names(paths: Sequence[Path | RemoteUrl]) -> list[str]:
    names: dict[str, Path | RemoteUrl] = {}
    for path in paths:
        name = base_name(path)
        if name in names:
            raise InputFolderError(
                str(path),
                f"has the base name of {names[name]}, {name!r}, and paths of several sources begin with their base "
                "names; give the folder above both, a link of another name, or one list of all videos",
            )
        names[name] = path
    return [*names]


def _refuse_several_with_cameras(sources: Sources, parts: Sequence[SourceContents]) -> None:
    for path, part in zip(sources.paths, parts, strict=True):
        if part.cameras and len(parts) > 1:
            kind = "is a LeRobot data set" if part.dataset is not None else "has cameras"
            remedy = (
                "; LeRobot's own lerobot-edit-dataset merges data sets" if part.dataset is not None else ""
            )
            raise ConfigError(
                f"{path}: {kind}, and {len(parts)} sources are given; a source with cameras is built alone{remedy}"
            )


def _refuse_same_files(videos: Sequence[SourceVideo]) -> None:
    """Refuse a file that two sources hold, which is mostly a folder and a part of it. One source may have links."""
    seen: dict[tuple[int, int] | tuple[str, str, str], SourceVideo] = {}
    for video in videos:
        try:
            other = seen.setdefault(_identity(video), video)
        except OSError as error:
            raise_if_out_of_files(error)
            continue  # the scan reports it
        if _source_of(other) != _source_of(video):
            raise ConfigError(
                f"{other.relative_path!r} and {video.relative_path!r} are one file, which two of the sources hold; "
                "give it once, or leave one out by {--exclude}"
            )


def _identity(video: SourceVideo) -> tuple[int, int] | tuple[str, str, str]:
    if video.staged is not None:
        return video.staged.place
    status = os.stat(video.path)  # noqa: PTH116 - of what the link leads to
    return (status.st_dev, status.st_ino)


def _source_of(video: SourceVideo) -> str:
    return video.relative_path.partition("/")[0]


def _refuse_same_paths(videos: Sequence[SourceVideo]) -> None:
    r"""Refuse two files that would be recorded under one path: bytes that are no UTF-8 are recorded as `\xNN`."""
    seen: dict[tuple[str | None, str], SourceVideo] = {}
    for video in videos:
        other = seen.setdefault((video.camera, video.relative_path), video)
        if other is not video:
            raise InputFolderError(
                _where(video),
                f"would be recorded as {video.relative_path!r}, and so would {_where(other)!r}: "
                "rename one of them",
            )


def _where(video: SourceVideo) -> str:
    return printable(os.fspath(video.path)) if video.staged is None else video.staged.text
