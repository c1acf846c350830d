"""The table of videos of a cache in repair: read, or made again from the report of the build."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Final

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


_MAX_CHOICES: Final = 1000


def videos_of(tree: CacheTree, *, reports: Sequence[Path], broken: Collection[str]) -> list[VideoEntry]:
    """The table of videos of a generation. `broken` has the names of the files that differ from their recorded hashes.

    If the table is one of them, it comes from `reports`, those of builds and appends, the last one first. Decoding the
    videos again would not give it: it records what a decoder said about each video, also about videos that were not
    readable then. That of a joined generation comes from the tables of its parts.

    Raises:
        RepairError: the table is damaged, and no report has it; or it is not the generation's.
        OSError: no more files can be opened.
    """
    if VIDEOS_NAME not in broken:
        try:
            return tree.read_videos()
        except StoreFormatError as error:
            raise RepairError(f"{error}; {REBUILD}") from error
    camera = None if tree.camera is None else tree.camera.name
    tables, problems = [], []
    for report in reports:
        try:
            tables.append(msgspec.json.decode(report.read_bytes(), type=_Report).of_camera(camera))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise_if_out_of_files(error)
            problems.append(_problem_of(report, error))
        else:
            problems.append(f"{report}: is the report of another build")
    expected = tree.common.file(VIDEOS_NAME).sha256
    for videos in _candidates(tree, tables):
        if _digest_of(videos) == expected:
            return videos
    path = tree.generations[0].path / VIDEOS_NAME
    is_missing = len(problems) == 1 and not reports[0].exists()
    raise RepairError(
        f"{path}: is damaged, and only the report of its build states what it held; "
        f"{'; '.join(problems[:3])}{'; else' if is_missing else ';'} {REBUILD}"
    )


def _candidates(tree: CacheTree, tables: Sequence[list[VideoEntry]]) -> Iterator[list[VideoEntry]]:
    """What the table may be: one of the tables, or, of a joined generation, one for each of its parts."""
    yield from tables
    if tree.common.parts:
        of_parts = [
            [
                table
                for table in tables
                if (len(table), sum(video.num_frames_stored for video in table))
                == (part.num_videos, part.num_frames)
            ]
            for part in tree.parts
        ]
        for chosen in islice(product(*of_parts), _MAX_CHOICES):
            yield [video for table in chosen for video in table]


def _digest_of(videos: Sequence[VideoEntry]) -> str:
    digest = hashlib.sha256()
    for line in encode_videos(videos):
        digest.update(line)
    return digest.hexdigest()


def _problem_of(report: Path, error: Exception) -> str:
    """Why a report cannot be used."""
    if isinstance(error, FileNotFoundError):
        return f"{report}: {error.strerror}; if the report lies elsewhere, copy it there"
    return f"{report}: {error.strerror if isinstance(error, OSError) else 'is not a report of this version'}"
