"""Videos that a cache forgets: readers leave them out, and nothing is removed from the disk."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from cache_builder.errors import ConfigError, MachineError
from cache_builder.growing.live_cache import LiveCache, read_live_cache, require_cache
from cache_builder.stages import Workspace, commit_next, resolved
from frame_store.manifest import CacheManifest, next_manifest
from frame_store.shared import counted, without_controls

_NUM_NAMES_TOLD: Final = 3
_MAX_NAMES_COMPARED: Final = 1000


class ForgetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `forget_videos` did."""

    output: str
    forgotten: list[str]
    """Paths of the videos that it left out."""
    were_forgotten: list[str]
    """Paths of those that no version of the cache had any more."""
    num_videos: int
    """Videos of the cache that are left."""
    num_frames: int
    """Frames of these; of a cache of cameras, the frames of each camera."""


def forget_videos(cache: Path | str, paths: str | Sequence[str]) -> ForgetReport:
    """Leave videos out of a complete cache, in a new version of its manifest. The frames of the others keep their ids.

    Samples, splits and columns no longer have the videos. Their frames stay on disk, and an append of the same files
    takes them back without decoding. Of a cache of cameras, all cameras forget a video.

    Args:
        cache: path of the cache.
        paths: of the videos, as `cache-info --videos` shows them; for episodes, their names.

    Raises:
        ConfigError: the cache has no such video, or none would be left.
        OutputError: no cache at this path, another process writes to it, or it cannot be written.
        MachineError: disk full, I/O error. The same call goes on.
    """
    output = resolved(Path(cache))
    wanted = [paths] if isinstance(paths, str) else [*paths]
    try:
        require_cache(output)  # before anything is written beside what is no cache
        workspace = Workspace(output)
        with workspace.locked(if_not_writable="copy the cache to a place that can be"):
            return _forget(workspace, wanted)
    except OSError as error:
        raise MachineError(
            f"{error.filename or output}: {error.strerror or error}; the same command resumes"
        ) from error


def _forget(workspace: Workspace, wanted: Sequence[str]) -> ForgetReport:
    workspace.clear_columns()
    workspace.columns.mkdir()
    cache, ids = read_live_cache(workspace.output), list[int]()

    def next_version() -> CacheManifest | None:
        nonlocal cache, ids
        cache = read_live_cache(workspace.output)
        ids = ids_to_forget(cache, wanted)
        require_some_left(cache, ids)
        if not ids:
            return None
        return next_manifest(cache.manifest, forgotten_videos=[*cache.manifest.forgotten_videos, *ids])

    try:
        commit_next(workspace.output, next_version, scratch=workspace.columns)
    finally:
        workspace.clear_columns()
    gone = set(ids)
    left = [video_id for video_id in cache.live.values() if video_id not in gone]
    forgotten = {path: None for path, video_id in cache.live.items() if video_id in gone}
    return ForgetReport(
        output=without_controls(str(workspace.output)),
        forgotten=[*forgotten],
        were_forgotten=[path for path in dict.fromkeys(wanted) if path not in forgotten],
        num_videos=len(left),
        num_frames=sum(cache.tables[0][video_id].num_frames_stored for video_id in left),
    )


def ids_to_forget(cache: LiveCache, paths: Iterable[str]) -> list[int]:
    """video_ids of the live videos of these paths, ascending. Paths of videos that are forgotten already give none.

    Raises:
        ConfigError: the cache has and had no video of a path.
    """
    ids = set()
    for path in paths:
        if path in cache.live:
            ids.add(cache.live[path])
        elif path not in cache.forgotten:
            near = difflib.get_close_matches(
                path, [*cache.live][:_MAX_NAMES_COMPARED], n=_NUM_NAMES_TOLD, cutoff=0.0
            )
            shown = ", ".join(map(repr, near))
            raise ConfigError(
                f"{{--forget}}: {cache.path} has no video {path!r}; its "
                f"{counted(len(cache.live), 'video')} are like {shown}"
            )
    return sorted(ids)


def require_some_left(cache: LiveCache, ids: Iterable[int], *, num_new_frames: int = 0) -> None:
    """Raise ConfigError where no stored frame would be left of any video."""
    gone = set(ids)
    left = sum(
        cache.tables[0][video_id].num_frames_stored
        for video_id in cache.live.values()
        if video_id not in gone
    )
    if gone and left + num_new_frames == 0:
        raise ConfigError(
            f"{{--forget}}: {cache.path} would have no frame left; remove the cache, or build another with "
            "{--overwrite}"
        )


def forget_text(report: ForgetReport) -> str:
    """The report for a terminal."""
    lines = [f"  {path!r}: was forgotten already" for path in report.were_forgotten]
    forgotten = ", ".join(map(repr, report.forgotten[:8]))
    more = f" and {len(report.forgotten) - 8} more" if len(report.forgotten) > 8 else ""
    said = (
        f"forgot {counted(len(report.forgotten), 'video')} ({forgotten}{more})"
        if forgotten
        else "nothing to do"
    )
    return "\n".join(
        [
            *lines,
            f"{report.output}: {said}; {counted(report.num_videos, 'video')} with "
            f"{counted(report.num_frames, 'frame')} left",
        ]
    )
