"""The files of source order made again.

They come from the table of videos and the index. The times of frames that are not stored come from the videos.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_builder.errors import RepairError, VideoError
from cache_builder.executors import WorkerPool
from cache_builder.folder_scan import scan_frames
from cache_builder.progress import Progress
from cache_builder.repair.checks import REBUILD
from cache_builder.repair.needed_videos import NeededVideos
from cache_builder.sources import Sources
from cache_builder.video.decode import FrameTable
from cache_builder.video.scan import VideoScan, ticks_to_seconds
from frame_store.index import FrameIndex
from frame_store.manifest import FileEntry, VideoEntry
from frame_store.shared import counted
from frame_store.source_files import SOURCE_FILE_NAMES, SOURCE_PTS_NAME, order_of_index, write_source_order
from frame_store.verify import check_file


@dataclass(frozen=True, kw_only=True)
class SourceOrderRepair:
    """Makes the broken files of source order of a generation again."""

    cache: Path
    folder: str
    """Of the generation, inside the cache. Both are for messages."""
    entries: Sequence[VideoEntry]
    """The table of videos."""
    broken: Sequence[FileEntry]
    """Broken files of the generation, of source order or not."""
    is_shuffled: bool
    sources: Sources | None
    """Where the videos are."""
    camera: str | None
    """The camera whose generation it is; None in a cache without cameras."""
    workers: int
    progress: Progress
    forgotten: Collection[int] = ()
    """`video_id`s of forgotten videos."""

    @property
    def names(self) -> Collection[str]:
        """The files of source order that are broken."""
        return {entry.name for entry in self.broken if entry.name in SOURCE_FILE_NAMES}

    @property
    def needed(self) -> list[int]:
        """`video_id` of each video that has to be read: its frames are not all stored, and their times are lost."""
        if SOURCE_PTS_NAME not in self.names:
            return []
        return [
            row
            for row, entry in enumerate(self.entries)
            if entry.num_frames_stored < entry.num_frames_decoded
        ]

    def require_videos(self) -> None:
        """Refuse early what only the videos can give, where none are given.

        Raises:
            RepairError: the message has the file and the videos.
        """
        needed = self.needed
        if needed and self.sources is None:
            others = f" and {counted(len(needed) - 1, 'other')}" if needed[1:] else ""
            raise RepairError(
                f"{self.cache}: only the videos can give {self.folder}/{SOURCE_PTS_NAME} again, as it has the times of "
                f"frames that are not stored, of {self.entries[needed[0]].path}{others}; give what it was built from: "
                "{--videos SOURCE}"
            )

    def write(self, folder: Path, index: FrameIndex) -> None:
        """Write the broken files into `folder`. `index` is intact.

        Raises:
            RepairError: the index contradicts the table of videos, or a video gives another number of frames.
            VideosNotWholeError: a needed video is missing, cannot be read, or has changed since the cache was made.
        """
        if not self.needed:
            self._write(folder, index, {})
            return
        # Where a video is damaged, its packets may promise other frames than decode.
        for decode_all in (False, True):
            times = self._times_of_videos(decode_all=decode_all)
            wrong = [
                row for row, seconds in times.items() if len(seconds) != self.entries[row].num_frames_decoded
            ]
            if not wrong:
                self._write(folder, index, times)
                if not any(
                    check_file(folder, entry) for entry in self.broken if entry.name == SOURCE_PTS_NAME
                ):
                    return
        for row in wrong:
            entry = self.entries[row]
            raise RepairError(
                f"{entry.path}: gave {counted(len(times[row]), 'frame')}, and {entry.num_frames_decoded} when the "
                f"cache was made; {REBUILD}"
            )

    def _write(self, folder: Path, index: FrameIndex, times: dict[int, npt.NDArray[np.float64]]) -> None:
        try:
            order = order_of_index(index, num_decoded=[entry.num_frames_decoded for entry in self.entries])
        except ValueError as error:
            raise RepairError(
                f"{self.cache}: the index contradicts the table of videos: {error}; {REBUILD}"
            ) from error
        pts = np.array(order.source_pts)
        for row, seconds in times.items():
            pts[order.first_row[row] : order.first_row[row + 1]] = seconds
        order = replace(order, source_pts=pts)
        write_source_order(folder, order, is_shuffled=self.is_shuffled, names=self.names)

    def _times_of_videos(self, *, decode_all: bool) -> dict[int, npt.NDArray[np.float64]]:
        """`pts_seconds` of all frames of the needed videos.

        They come from the packets where these are reliable, else from decoding. With `decode_all` all are decoded.
        """
        assert self.sources is not None  # `require_videos` has refused that
        videos = NeededVideos(
            self.sources, self.entries, self.needed, camera=self.camera, forgotten=self.forgotten
        )
        files = {video.file: video for video in videos.found.values()}
        num_scanned = 0

        def advance(done: int, _total: int) -> None:
            nonlocal num_scanned
            self.progress.advance(done - num_scanned)
            num_scanned = done

        self.progress.start("scan", len(files), "videos")
        # No scan cache: it recognizes files by size and time, but in a repair every byte must be the same.
        with WorkerPool[Any, Any](num_workers=self.workers) as pool:
            found = scan_frames(
                [
                    replace(video, relative_path=name, file_path=None, span=None)
                    for name, video in files.items()
                ],
                cache_path=None,
                pool=pool,
                decode_all=decode_all,
                progress=advance,
            )
        of_file = dict(zip(files, found, strict=True))
        rows = {row: of_file[video.file] for row, video in videos.found.items()}
        videos.check([scan if isinstance(scan, VideoError) else scan[0] for scan in rows.values()])
        return {
            row: self._times_of(self.entries[row], *scan)
            for row, scan in rows.items()
            if not isinstance(scan, VideoError)
        }

    def _times_of(self, entry: VideoEntry, scan: VideoScan, table: FrameTable) -> npt.NDArray[np.float64]:
        """Of the frames of a video, which may be a stretch of its file."""
        seconds = ticks_to_seconds(table.pts, scan.time_base)
        if entry.span is None:
            return seconds
        first = entry.span.first_frame
        return seconds[first : first + entry.num_frames_decoded]
