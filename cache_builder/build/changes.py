"""How videos differ from those that a cache was made from."""

from collections.abc import Sequence
from pathlib import Path

from cache_builder.build.existing import cameras_text
from cache_builder.columns import DATASET_DIGEST, dataset_differs, read_dataset
from cache_builder.errors import VideoError
from cache_builder.growing import LiveCache
from cache_builder.inputs import content_of_entry, content_text
from cache_builder.sources import SourceContents, Sources, SourceVideo, look_into
from cache_builder.stages import list_changes
from cache_builder.video.opening import hash_file
from frame_store.column_files import read_dataset as recorded_dataset
from frame_store.manifest import VideoEntry
from frame_store.shared import raise_if_out_of_files


def changes_since(cache: LiveCache, videos: Path | Sources) -> list[str]:
    """`list_changes` from a cache to the sources `videos` as they are now.

    Forgotten videos are no part of the cache. Where all videos are the same, the values of a data set are read and
    compared with what the cache records, too. Files are read and hashed, each once; nothing is decoded.
    A video that was unreadable when the cache was made has no hash in it, and counts as unchanged while it exists.
    In a cache of one build, the same videos in another order are one difference more, because the order is part of its
    identity; a cache that has grown has them in the order in which they came.

    Raises:
        InputFolderError: a source does not exist or holds no video; see `look_into`.
        ConfigError: two sources hold one file.
        ColumnsError: the values of the data set cannot be read.
        StoreError: columns of the cache are damaged.
        OSError: no more files can be opened.
    """
    contents = look_into(videos)
    cameras: list[str | None] = [*contents.cameras] or [None]
    if cameras != [*cache.cameras]:
        return [f"the cache has {cameras_text(cache.cameras)}, the videos given have {cameras_text(cameras)}"]
    hashes: dict[Path, str] = {}
    lines = []
    for camera, entries in cache.live_tables().items():
        where = "" if camera is None else f"camera {camera}: "
        lines += [
            where + line
            for line in _changes(entries, contents.videos_of(camera), hashes, is_as_built=cache.is_as_built)
        ]
    if not lines and _dataset_changed(cache, contents):
        lines.append("the data set has other values beside its videos, or states something else of itself")
    return lines


def _dataset_changed(cache: LiveCache, contents: SourceContents) -> bool:
    if not cache.is_as_built:
        return dataset_differs(cache.trees[0], cache.tables[0], contents)
    then = (recorded_dataset(cache.trees[0]) or {}).get(DATASET_DIGEST)
    now = None if then is None else read_dataset(contents)
    return then is not None and (now is None or now.digest != then)


def _changes(
    entries: Sequence[VideoEntry],
    videos: Sequence[SourceVideo],
    hashes: dict[Path, str],
    *,
    is_as_built: bool,
) -> list[str]:
    then = {video.path: video for video in entries}
    now: dict[str, str | None] = {}
    for video in videos:
        entry = then.get(video.relative_path)
        # A new video is listed without its hash, and so is one whose length has changed.
        is_hashed = entry is not None and entry.sha256 is not None and video.problem is None
        now[video.relative_path] = (
            _content(video, hashes, expected_bytes=entry.num_bytes)
            if entry is not None and is_hashed
            else None
        )
    changes = list_changes(
        {path: content_of_entry(video, now.get(path)) for path, video in then.items()}, now
    )
    if is_as_built and now.keys() == then.keys() and [*now] != [*then]:
        changes.append("the videos come in another order in the cache")
    return changes


def _content(video: SourceVideo, hashes: dict[Path, str], *, expected_bytes: int | None) -> str:
    if video.path not in hashes:
        hashes[video.path] = _digest(video, expected_bytes=expected_bytes)
    if video.span is None:
        return hashes[video.path]
    return content_text(hashes[video.path], video.file, (video.span.from_seconds, video.span.to_seconds))


def _digest(video: SourceVideo, *, expected_bytes: int | None) -> str:
    try:
        if video.status().num_bytes != expected_bytes:
            return "another length"
        with video.at_hand() as path:
            return hash_file(path)
    except VideoError as error:
        return error.reason
    except OSError as error:
        raise_if_out_of_files(error)
        return error.strerror or "unreadable"
