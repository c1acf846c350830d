"""The table of videos that a build works on, one row a video, readable or not; and its fingerprint."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cache_builder.errors import VideoChangedError, VideoError
from cache_builder.findings import DecodedVideo
from cache_builder.folder_scan import ScanPool, scan_videos
from cache_builder.gpu import DecoderChoice
from cache_builder.settings import BuildConfig
from cache_builder.sources import SourceVideo
from cache_builder.video.scan import VideoScan


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """The table of videos; `video_id` is the row. Each video has a scan, or the error that prevented it."""

    videos: list[SourceVideo]
    scans: list[VideoScan | VideoError]

    @property
    def num_packets(self) -> int:
        """Packets of all readable videos."""
        return sum(scan.facts.num_packets for scan in self.scans if isinstance(scan, VideoScan))

    def changed(self, decoded: Sequence[DecodedVideo | VideoError]) -> "Inputs":
        """These inputs, with an error for every video whose file had changed before it was decoded."""
        scans = [
            row if isinstance(row, VideoChangedError) else scan
            for scan, row in zip(self.scans, decoded, strict=True)
        ]
        return Inputs(videos=self.videos, scans=scans)

    def identity(self) -> dict[str, str]:
        """Relative path of each video -> its SHA-256, or why it is unreadable."""
        return {
            video.relative_path: f"unreadable: {scan.reason}"
            if isinstance(scan, VideoError)
            else scan.facts.sha256
            for video, scan in zip(self.videos, self.scans, strict=True)
        }

    def order_identity(self) -> dict[str, str]:
        """The part of a cache's identity that the order of the videos is: empty where they are sorted by path."""
        paths = [video.relative_path for video in self.videos]
        if paths == sorted(paths):
            return {}
        return {"order of the videos": hashlib.sha256(msgspec.json.encode(paths)).hexdigest()}


def read_inputs(
    videos: list[SourceVideo],
    *,
    scan_cache: Path | None,
    pool: ScanPool,
    progress: Callable[[int, int], None] | None = None,
) -> Inputs:
    """Scan `videos`. `progress` is called with (videos scanned, videos)."""
    scans = scan_videos(videos, cache_path=scan_cache, pool=pool, progress=progress)
    return Inputs(videos=videos, scans=scans)


def fingerprint(inputs: Inputs, config: BuildConfig, decoders: DecoderChoice) -> str:
    """SHA-256 over the videos' paths, contents and order, the configuration and the list of videos a GPU decodes.

    Equal fingerprints, library versions and machine give equal caches.
    """
    identity = {
        "config": config.to_builtins(),
        "videos": inputs.identity(),
        **inputs.order_identity(),
        **decoders.identity(),
    }
    return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()
