"""The videos that a repair needs: found in the sources, and proved to be those that the cache was made from."""

from collections.abc import Collection, Sequence

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.repair.checks import REBUILD
from cache_builder.sources import Sources, discover_videos
from cache_builder.video.scan import VideoScan
from frame_store.manifest import VideoEntry


class NeededVideos:
    """Some videos of a cache, among those of its sources."""

    def __init__(self, sources: Sources, entries: Sequence[VideoEntry], needed: Collection[int]) -> None:
        """`entries` is the table of videos, `needed` has the `video_id`s."""
        self._sources = sources
        self._entries = entries
        by_path = {video.relative_path: video for video in discover_videos(sources)}
        self.found = {row: by_path[entries[row].path] for row in needed if entries[row].path in by_path}
        """By `video_id`: those that exist."""
        self._missing = [entries[row].path for row in needed if row not in self.found]

    def check(self, scans: Sequence[VideoScan | VideoError]) -> dict[int, VideoScan]:
        """The scans by `video_id`. They are given in the order of `found`.

        Raises:
            VideosNotWholeError: a needed video is missing, cannot be read, or has changed since the cache was made.
        """
        problems = [f"{path}: missing" for path in self._missing]
        checked: dict[int, VideoScan] = {}
        for (row, video), scan in zip(self.found.items(), scans, strict=True):
            if isinstance(scan, VideoError):
                problems.append(str(scan))
            elif scan.facts.sha256 != self._entries[row].sha256:
                problems.append(f"{video.relative_path}: changed since (its sha256 differs)")
            else:
                checked[row] = scan
        if problems:
            raise VideosNotWholeError(
                sorted(problems),
                fault=f"in {self._sources.text} are not those that the cache was made from",
                remedy=f"give all that it was built from, or {REBUILD}",
            )
        return checked
