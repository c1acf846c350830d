"""Videos and the files that they lie in: a video is a file, or a stretch of one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError
from cache_builder.folder_scan import ScanPool, scan_frames
from cache_builder.plan import Cut, cut_file, other_size_error
from cache_builder.sources import SourceVideo
from cache_builder.video.decode import FrameTable, gop_units
from cache_builder.video.scan import VideoScan, ticks_to_seconds
from frame_store.names import INDEX_DTYPE

Int64s: TypeAlias = npt.NDArray[np.int64]

Scanned: TypeAlias = tuple[VideoScan, FrameTable] | VideoError
"""The scan of a file and its frames, or why it cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FootageFile:
    """A file that can be read."""

    path: Path
    """To open."""
    scan: VideoScan
    frames: FrameTable
    """All frames of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedVideo:
    """A video whose frames are known."""

    file: int
    """Row in the table of files."""
    first_frame: int
    """Number of its first frame among those of the file."""
    num_frames: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Footage:
    """A table of videos, each with its place in a file, and a table of the files."""

    videos: list[SourceVideo]
    """`video_id` is the row."""
    places: list[PlacedVideo | VideoError]
    """Where each video lies, or why it cannot be read."""
    files: list[FootageFile]

    def without(self, problems: Mapping[int, VideoError]) -> "Footage":
        """The same videos, of which some, by their `video_id`, count as unreadable."""
        places = [problems.get(video_id, place) for video_id, place in enumerate(self.places)]
        return Footage(videos=self.videos, places=places, files=self.files)

    def num_frames(self) -> Int64s:
        """Frames of each video, 0 for an unreadable one: shape (V,)."""
        return np.array(
            [0 if isinstance(place, VideoError) else place.num_frames for place in self.places], np.int64
        )

    def first_lines(self) -> Int64s:
        """Frames of all files before each one, and their number at the end: shape (number of files + 1,)."""
        return np.cumsum([0, *(len(file.frames) for file in self.files)], dtype=np.int64)

    def packets(self) -> npt.NDArray[np.int32]:
        """Packet of each frame of all files. It is int32, so that scans of 10,000 videos fit in memory."""
        return np.concatenate(
            [np.zeros(0, np.int32), *(file.frames.packet.astype(np.int32) for file in self.files)]
        )

    def make_index(self) -> npt.NDArray[Any]:
        """A row of `INDEX_DTYPE` for each frame of each video."""
        num_frames = self.num_frames()
        index = np.zeros(int(num_frames.sum()), INDEX_DTYPE)
        index["video_id"] = index["shard_id"] = np.repeat(np.arange(len(num_frames)), num_frames)
        ends = np.cumsum(num_frames).tolist()
        for place, end in zip(self.places, ends, strict=True):
            if isinstance(place, VideoError):
                continue
            file = self.files[place.file]
            ticks = file.frames.pts[place.first_frame : place.first_frame + place.num_frames]
            rows = index[end - place.num_frames : end]
            rows["frame_in_video"] = rows["slot"] = np.arange(place.num_frames)
            rows["pts_seconds"] = ticks_to_seconds(ticks, file.scan.time_base)
        index.flags.writeable = False
        return index

    def find_starts(self) -> Int64s:
        """Frames of the files at whose packets decoding may start, counted over all files, ascending."""
        starts = [np.zeros(0, np.int64)]
        for first_line, file in zip(self.first_lines().tolist(), self.files, strict=False):
            if len(file.frames):
                starts.append(first_line + _starts_in(file))
        return np.concatenate(starts)


def _starts_in(file: FootageFile) -> Int64s:
    packets, table = file.frames.packet, file.scan.packets
    # Decoding from the first packet gives all frames, including those that lead up to the first packet's own.
    may_start = table.can_start_unit[packets] & (packets > 0)
    may_start[0] = True
    may_start[_is_repeated(packets)] = False
    if len(file.frames.unit_starts) == 1 and len(gop_units(table)) > 1:  # its units did not fit together
        may_start[1:] = False
    return np.flatnonzero(may_start)


def _is_repeated(values: Int64s) -> npt.NDArray[np.bool_]:
    """bool per value: whether an equal value came before."""
    is_repeated = np.ones(len(values), np.bool_)
    is_repeated[np.unique(values, return_index=True)[1]] = False
    return is_repeated


def scan_files(
    videos: Sequence[SourceVideo],
    *,
    cache_path: Path | None,
    pool: ScanPool,
    decode_all: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Scanned]:
    """Scan each file that holds one of the videos once, whatever their number: its name -> what was found.

    For the arguments see `scan_frames`. A video with a `problem` needs no file.
    """
    used = {video.file: video for video in videos if video.problem is None}
    files = [
        SourceVideo(relative_path=name, path=video.path, staged=video.staged) for name, video in used.items()
    ]
    scans = scan_frames(files, cache_path=cache_path, pool=pool, decode_all=decode_all, progress=progress)
    return {
        name: scanned
        if isinstance(scanned, VideoError)
        else other_size_error(scanned[0].facts, video.stated_sizes, name=name) or scanned
        for (name, video), scanned in zip(used.items(), scans, strict=True)
    }


def place_videos(videos: Sequence[SourceVideo], scans: Mapping[str, Scanned]) -> Footage:
    """Find each video in its file. `scans` has what was scanned, by the file's name."""
    files: list[FootageFile] = []
    places: dict[int, PlacedVideo | VideoError] = {}
    for name, rows in _rows_of_files(videos).items():
        scanned = scans[name]
        if isinstance(scanned, VideoError):
            places |= {row: _error_of(videos[row], scanned) for row in rows}
            continue
        file = FootageFile(path=videos[rows[0]].path, scan=scanned[0], frames=scanned[1])
        places |= _places_in(file, len(files), {row: videos[row] for row in rows})
        files.append(file)
    for row, video in enumerate(videos):
        if video.problem is not None:
            places[row] = VideoError(video.relative_path, video.problem)
    return Footage(videos=list(videos), places=[places[row] for row in range(len(videos))], files=files)


def _rows_of_files(videos: Sequence[SourceVideo]) -> dict[str, list[int]]:
    """The rows of the videos of each file, by the file's name."""
    rows: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        if video.problem is None:
            rows.setdefault(video.file, []).append(row)
    return rows


def _error_of(video: SourceVideo, error: VideoError) -> VideoError:
    if video.file == video.relative_path:
        return error
    return VideoError(video.relative_path, f"{video.file}: {error.reason}")


def _places_in(
    file: FootageFile, number: int, videos: Mapping[int, SourceVideo]
) -> dict[int, PlacedVideo | VideoError]:
    """Where the videos of a file lie in it, by their rows."""
    spans = {row: video.span for row, video in videos.items() if video.span is not None}
    places: dict[int, PlacedVideo | VideoError] = {
        row: PlacedVideo(file=number, first_frame=0, num_frames=len(file.frames)) for row in videos
    }
    if not spans:
        return places
    pts_seconds = ticks_to_seconds(file.frames.pts, file.scan.time_base)
    cuts = cut_file(pts_seconds, [(videos[row].relative_path, span) for row, span in spans.items()])
    for row, cut in zip(spans, cuts, strict=True):
        if isinstance(cut, Cut):
            places[row] = PlacedVideo(file=number, first_frame=cut.first_frame, num_frames=cut.num_frames)
        else:
            places[row] = VideoError(videos[row].relative_path, f"{videos[row].file}: {cut}")
    return places
