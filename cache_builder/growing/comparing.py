"""How the videos of sources stand to those of a cache: there already, new, changed, or no longer there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cache_builder.errors import OutputError, VideoError
from cache_builder.folder_scan import ScannedFile
from cache_builder.growing.live_cache import LiveCache
from cache_builder.inputs import Inputs, content_of_entry
from cache_builder.sources import SourceContents, SourceVideo
from cache_builder.video.opening import hash_file
from frame_store.manifest import VideoEntry
from frame_store.shared import counted, listed, raise_if_out_of_files, without_controls


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The videos of sources, by their names, each in the order of the sources."""

    new: list[str]
    there: list[str]
    """Live videos of the cache that are as they were, as far as sizes and times tell."""
    grown: list[str]
    """Episodes of the cache whose file has become another, and holds new episodes, too: to be decoded and compared."""
    changed: dict[str, str]
    """Live videos of the cache that are not as they were -> what was recorded and what was found."""
    absent: list[str]
    """Live videos of the cache that the sources do not have."""


def compare_videos(
    cache: LiveCache,
    contents: SourceContents,
    *,
    scanned: Mapping[str, ScannedFile],
    rehash: bool = False,
) -> Compared:
    """Compare by name, size, and, where `scanned` knows it, modification time. A file is read only if its time differs.

    A video that was unreadable when it came into the cache counts as unchanged while it exists.

    Args:
        cache: the cache, with the same cameras as the sources.
        contents: the sources.
        scanned: what is known of each file, by its name.
        rehash: read and hash all files of videos that the cache has.

    Raises:
        OSError: no more files can be opened.
    """
    files = _Files(scanned, rehash=rehash)
    parts = contents.cameras or (None,)
    videos = [contents.videos_of(part) for part in parts]
    names = [video.relative_path for video in videos[0]]
    new = [name for name in names if name not in cache.live]
    files_of_new = {
        (number, video.file)
        for number, of_part in enumerate(videos)
        for video in of_part
        if video.relative_path not in cache.live
    }
    changed: dict[str, str] = {}
    grown: list[str] = []
    for row, name in enumerate(names):
        if name not in cache.live:
            continue
        for number, of_part in enumerate(videos):
            video, entry = of_part[row], cache.tables_now[number][cache.live[name]]
            problem = files.difference(number, video, entry)
            if problem is None:
                continue
            if (
                video.span is not None
                and _same_stretch(video, entry)
                and (number, video.file) in files_of_new
            ):
                grown.append(name)
            else:
                changed.setdefault(
                    name, ("" if video.camera is None else f"camera {video.camera}: ") + problem
                )
    grown = [name for name in dict.fromkeys(grown) if name not in changed]
    given = set(names)
    return Compared(
        new=new,
        there=[name for name in names if name in cache.live and name not in changed],
        grown=grown,
        changed=changed,
        absent=[name for name in cache.live if name not in given],
    )


def compared_or_refused(
    cache: LiveCache,
    contents: SourceContents,
    *,
    forget: Collection[int],
    scanned: Mapping[str, ScannedFile],
    rehash: bool,
) -> Compared:
    """`compare_videos`, in which a forgotten episode of a grown file counts as changed.

    Raises:
        OutputError: a video has changed that is not forgotten.
    """
    compared = compare_videos(cache, contents, scanned=scanned, rehash=rehash)
    changed = {name: problem for name, problem in compared.changed.items() if cache.live[name] not in forget}
    if changed:
        raise changed_error(cache, changed)
    again = {name: None for name in compared.grown if cache.live[name] in forget}
    if not again:
        return compared
    return replace(
        compared,
        grown=[name for name in compared.grown if name not in again],
        changed=compared.changed | dict.fromkeys(again, "its file has become another"),
    )


def changed_error(cache: LiveCache, changed: Mapping[str, str]) -> OutputError:
    """The error for live videos that are not as they were: name -> what was recorded and what was found."""
    first = without_controls(next(iter(changed)))
    return OutputError(
        listed(
            f"{cache.path}: {counted(len(changed), 'video')} changed since the cache has "
            f"{'it' if len(changed) == 1 else 'them'}",
            [f"{without_controls(name)}: {problem}" for name, problem in changed.items()],
            f"put the old file back; {{--forget}} with {first!r} takes the new file in place of the old frames, whose "
            "ids stay unused; or build all videos anew with {--overwrite} in place of {--append}",
        )
    )


class _Files:
    def __init__(self, scanned: Mapping[str, ScannedFile], *, rehash: bool) -> None:
        self._scanned = scanned
        self._rehash = rehash
        self._found: dict[tuple[int, str], str | None] = {}

    def difference(self, number: int, video: SourceVideo, entry: VideoEntry) -> str | None:
        """What differs between a video of camera `number` and its record; None if it is the same."""
        if entry.sha256 is None:
            return None
        if video.problem is not None:
            return None if entry.verdict == "unreadable" else f"cannot be used now: {video.problem}"
        if entry.span is not None or video.span is not None:
            if entry.span is None:  # it was left out, and its place is not known
                return None if entry.verdict == "unreadable" else "was a file of its own"
            if not _same_stretch(video, entry):
                then = f"{entry.span.from_seconds:g} to {entry.span.to_seconds:g} s of {entry.span.file}"
                return f"was {then}, and is another stretch now"
        key = (number, video.file)
        if key not in self._found:
            self._found[key] = self._file_difference(video, entry)
        return self._found[key]

    def _file_difference(self, video: SourceVideo, entry: VideoEntry) -> str | None:
        try:
            status = video.status()
        except OSError as error:
            raise_if_out_of_files(error)
            return f"{error.strerror or 'cannot be read'}"
        if status.num_bytes != entry.num_bytes:
            return f"{counted(entry.num_bytes or 0, 'byte')} recorded, {status.num_bytes} found"
        known = self._scanned.get(video.file)
        is_as_scanned = known is None or known.sha256 != entry.sha256 or known.mtime_ns == status.mtime_ns
        if is_as_scanned and not self._rehash:
            return None
        found = _hash(video)
        return (
            None
            if found == entry.sha256
            else f"sha256 {(entry.sha256 or '')[:16]}... recorded, {found[:16]}... found"
        )


def _same_stretch(video: SourceVideo, entry: VideoEntry) -> bool:
    return (
        video.span is not None
        and entry.span is not None
        and (video.file, video.span.from_seconds, video.span.to_seconds)
        == (entry.span.file, entry.span.from_seconds, entry.span.to_seconds)
    )


def _hash(video: SourceVideo) -> str:
    try:
        with video.at_hand() as path:
            return hash_file(path)
    except VideoError as error:
        return error.reason
    except OSError as error:
        raise_if_out_of_files(error)
        return error.strerror or "unreadable"


def same_as_recorded(cache: LiveCache, names: Collection[str], contents: SourceContents) -> set[str]:
    """Which live videos of these names are, by their hashes, what the sources have. Each file is read."""
    chosen = contents.of_names(names)
    compared = compare_videos(cache, chosen, scanned={}, rehash=True)
    unread = {name for name in names if any(table[cache.live[name]].sha256 is None for table in cache.tables)}
    return set(compared.there) - set(compared.grown) - unread


def unchanged_forgotten(cache: LiveCache, inputs: Inputs, names: Collection[str]) -> list[int]:
    """video_ids of forgotten videos that the scanned sources have with the same content, in every camera.

    `names` are those of the sources' videos that may be meant.
    """
    found = []
    identities = [inputs.identity(camera) for camera in inputs.parts]
    for name in names:
        asked = [
            None if identity[name].startswith("unreadable") else identity[name] for identity in identities
        ]
        for video_id in cache.forgotten.get(name, []):
            then = [
                content_of_entry(table[video_id], content)
                for table, content in zip(cache.tables_now, asked, strict=True)
            ]
            if then == asked:
                found.append(video_id)
                break
    return found
