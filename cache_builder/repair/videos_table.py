"""The table of videos of a cache in repair: read, or made again from the report of the build."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import msgspec

from cache_builder.errors import RepairError
from cache_builder.repair.checks import REBUILD
from frame_store.errors import StoreFormatError
from frame_store.manifest import CacheTree, VideoEntry, encode_videos
from frame_store.names import VIDEOS_NAME
from frame_store.shared import raise_if_out_of_files


class _CameraReport(msgspec.Struct):
    """The same of a camera."""

    name: str
    videos: list[VideoEntry]


class _Report(msgspec.Struct):
    """The part of `CACHE.report.json` that states what the table of videos holds."""

    videos: list[VideoEntry]
    cameras: list[_CameraReport] = []

    def of_camera(self, name: str | None) -> list[VideoEntry]:
        """The table of a camera, empty where there is none of that name; for None, of a cache without cameras."""
        if name is None:
            return self.videos
        return next((camera.videos for camera in self.cameras if camera.name == name), [])


def videos_of(tree: CacheTree, *, report: Path, broken: Collection[str]) -> list[VideoEntry]:
    """The table of videos of a cache. `broken` has the names of the files that differ from their recorded hashes.

    If the table is one of them, it comes from `report`, the report of the build. Decoding the videos again would not
    give it: it records what a decoder said about each video, also about videos that were not readable then.

    Raises:
        RepairError: the table is damaged, and the report is missing or another build's; or it is not the cache's.
        OSError: no more files can be opened.
    """
    if VIDEOS_NAME not in broken:
        try:
            return tree.read_videos()
        except StoreFormatError as error:
            raise RepairError(f"{error}; {REBUILD}") from error
    path = tree.generations[0].path / VIDEOS_NAME
    table = f"{path}: is damaged, and only the report of its build states what it held"
    try:
        found = msgspec.json.decode(report.read_bytes(), type=_Report)
        videos = found.of_camera(None if tree.camera is None else tree.camera.name)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise_if_out_of_files(error)
        reason = error.strerror if isinstance(error, OSError) else "is not a report of this version"
        elsewhere = (
            "if the report lies elsewhere, copy it there; else "
            if isinstance(error, FileNotFoundError)
            else ""
        )
        raise RepairError(f"{table}; {report}: {reason}; {elsewhere}{REBUILD}") from error
    digest = hashlib.sha256()
    for line in encode_videos(videos):
        digest.update(line)
    if digest.hexdigest() != tree.common.file(VIDEOS_NAME).sha256:
        raise RepairError(f"{table}; {report}: is the report of another build; {REBUILD}")
    return videos
