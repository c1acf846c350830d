"""How videos differ from those that a cache was made from."""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cache_builder.build.existing import cameras_text, content_of_entry
from cache_builder.columns import DATASET_DIGEST, read_dataset
from cache_builder.inputs import content_text
from cache_builder.sources import Sources, SourceVideo, look_into
from cache_builder.stages import list_changes
from cache_builder.video.opening import hash_file
from frame_store.manifest import VideoEntry
from frame_store.shared import raise_if_out_of_files


def changes_since(
    tables: Mapping[str | None, Sequence[VideoEntry]],
    videos: Path | Sources,
    *,
    dataset: Mapping[str, Any] | None = None,
    has_grown: bool = False,
) -> list[str]:
    """`list_changes` from a cache, given by its tables of videos, to the sources `videos` as they are now.

    `tables` has the table of each camera by its name; the table of a cache without cameras has the key None.
    `dataset` is what the cache records of the data set that it was made from. Where all videos are the same, the values
    of the data set are read and compared, too. Files are read and hashed, each once; nothing is decoded.
    A video that was unreadable when the cache was made has no hash in it, and counts as unchanged while it exists.
    The same videos in another order are one difference more, because the order is part of a cache's identity. Not so
    where the cache `has_grown`: videos that came later lie behind the others.

    Raises:
        InputFolderError: a source does not exist or holds no video; see `look_into`.
        ConfigError: two sources hold one file.
        ColumnsError: the values of the data set cannot be read.
        OSError: no more files can be opened.
    """
    contents = look_into(videos)
    cameras: list[str | None] = [*contents.cameras] or [None]
    if cameras != [*tables]:
        return [f"the cache has {cameras_text([*tables])}, the videos given have {cameras_text(cameras)}"]
    hashes: dict[Path, str] = {}
    lines = []
    for camera, entries in tables.items():
        where = "" if camera is None else f"camera {camera}: "
        lines += [
            where + line
            for line in _changes(entries, contents.videos_of(camera), hashes, has_order=not has_grown)
        ]
    then = None if dataset is None else dataset.get(DATASET_DIGEST)
    if not lines and then is not None:
        now = read_dataset(contents)
        if now is None or now.digest != then:
            lines.append(
                "the data set has other values beside its videos, or states something else of itself"
            )
    return lines


def _changes(
    entries: Sequence[VideoEntry], videos: Sequence[SourceVideo], hashes: dict[Path, str], *, has_order: bool
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
    if has_order and now.keys() == then.keys() and [*now] != [*then]:
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
        status = os.stat(video.path)  # noqa: PTH116 - of what the link leads to
        if not stat.S_ISREG(status.st_mode) or status.st_size != expected_bytes:
            return "another length"
        return hash_file(video.path)
    except OSError as error:
        raise_if_out_of_files(error)
        return error.strerror or "unreadable"
