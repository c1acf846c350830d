"""The videos that a repair needs: found in the sources, and proved to be those that the cache was made from."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.inputs import Inputs, tables_of
from cache_builder.repair.checks import REBUILD
from cache_builder.sources import NOTHING_PASSED_OVER, SourceContents, Sources, SourceVideo, look_into
from cache_builder.video.scan import VideoScan
from frame_store.manifest import VideoEntry


class NeededVideos:
    """Some videos of a cache, among those of its sources."""

    def __init__(
        self,
        sources: Sources,
        entries: Sequence[VideoEntry],
        needed: Collection[int],
        *,
        camera: str | None,
        forgotten: Collection[int] = (),
    ) -> None:
        """Find them.

        Args:
            sources: where they are.
            entries: the table of videos of a generation.
            needed: `video_id`s in it.
            camera: whose generation it is; None in a cache without cameras.
            forgotten: `video_id`s of forgotten videos, needed or not.
        """
        self._sources = sources
        self._entries = entries
        by_path = {
            video.relative_path: replace(video, camera=None)
            for video in look_into(sources).videos_of(camera)
            if video.problem is None
        }
        self.found = {row: by_path[entries[row].path] for row in needed if entries[row].path in by_path}
        """By `video_id`: those that exist."""
        where = "" if camera is None else f" of camera {camera}"
        self._forgotten = frozenset(forgotten)
        self._missing = [
            f"{entries[row].path}{where}: missing{self._note(row)}" for row in needed if row not in self.found
        ]

    def inputs(self, scan: Callable[[list[SourceVideo]], list[VideoScan | VideoError]]) -> Inputs:
        """All videos of the cache, of which only the needed ones have a file; `scan` scans these.

        Raises: as `check`.
        """
        not_needed = [
            SourceVideo(relative_path=entry.path, path=Path(entry.path), problem="is not needed")
            for entry in self._entries
        ]
        videos = [self.found.get(row, other) for row, other in enumerate(not_needed)]
        videos, file_ids, files = tables_of(SourceContents(videos=videos, passed_over=NOTHING_PASSED_OVER))
        inputs = Inputs(videos=videos, file_ids=file_ids, files=files, scans=scan(files))
        self.check([inputs.scan_of(row) for row in self.found])
        return inputs

    def check(self, scans: Sequence[VideoScan | VideoError]) -> dict[int, VideoScan]:
        """The scans by `video_id`. They are given in the order of `found`; several videos may lie in one file.

        Raises:
            VideosNotWholeError: a needed video is missing, cannot be read, or has changed since the cache was made.
        """
        problems = [*self._missing]
        checked: dict[int, VideoScan] = {}
        for (row, video), scan in zip(self.found.items(), scans, strict=True):
            if isinstance(scan, VideoError):
                problems.append(str(scan))
            elif scan.facts.sha256 != self._entries[row].sha256:
                problems.append(f"{video.relative_path}: changed since (its sha256 differs){self._note(row)}")
            else:
                checked[row] = scan
        if problems:
            raise VideosNotWholeError(
                sorted(set(problems)),
                fault=f"in {self._sources.text} are not those that the cache was made from",
                remedy=f"give all that it was built from, or {REBUILD}",
            )
        return checked

    def _note(self, row: int) -> str:
        """The end of a line about a video that cannot be read as it was."""
        if row not in self._forgotten:
            return ""
        return " (it is forgotten, and frames of other videos lie in the same shards: its file as it was is needed)"
