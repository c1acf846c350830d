"""How videos differ from those that a cache was made from."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cache_builder.sources import Sources, SourceVideo, discover_videos
from cache_builder.stages import list_changes
from cache_builder.video.opening import hash_file
from frame_store.manifest import VideoEntry
from frame_store.shared import raise_if_out_of_files


def changes_since(entries: Sequence[VideoEntry], videos: Path | Sources) -> list[str]:
    """`list_changes` from a cache, given by its table of videos, to the sources `videos` as they are now.

    Files are read and hashed; nothing is decoded.
    A video that was unreadable when the cache was made has no hash in it, and counts as unchanged while it exists.
    The same videos in another order are one difference more, because the order is part of a cache's identity.

    Raises:
        InputFolderError: a source does not exist or holds no video; see `look_into`.
        ConfigError: two sources hold one file.
        OSError: no more files can be opened.
    """
    then = {video.path: video for video in entries}
    now: dict[str, str | None] = {}
    for video in discover_videos(videos):
        entry = then.get(video.relative_path)
        # A new video is listed without its hash, and so is one whose length has changed.
        is_hashed = entry is not None and entry.sha256 is not None
        now[video.relative_path] = (
            _digest(video, expected_bytes=entry.num_bytes) if entry is not None and is_hashed else None
        )
    changes = list_changes({path: video.sha256 for path, video in then.items()}, now)
    if now.keys() == then.keys() and [*now] != [*then]:
        changes.append("the videos come in another order in the cache")
    return changes


def _digest(video: SourceVideo, *, expected_bytes: int | None) -> str:
    try:
        status = os.stat(video.path)  # noqa: PTH116 - of what the link leads to
        if not stat.S_ISREG(status.st_mode) or status.st_size != expected_bytes:
            return "another length"
        return hash_file(video.path)
    except OSError as error:
        raise_if_out_of_files(error)
        return error.strerror or "unreadable"
