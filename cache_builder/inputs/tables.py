"""The table of videos that a build works on, one row a video, readable or not; their files; and its fingerprint."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from cache_builder.errors import VideoChangedError, VideoError
from cache_builder.findings import DecodedVideo
from cache_builder.folder_scan import ScanPool, scan_videos
from cache_builder.gpu import DecoderChoice
from cache_builder.plan import other_size_error
from cache_builder.settings import BuildConfig
from cache_builder.sources import EpisodeSpan, SourceContents, SourceVideo
from cache_builder.video.scan import VideoScan
from frame_store.manifest import VideoEntry

NO_FILE = -1


class Inputs(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The table of videos and the table of their files, which are scanned and decoded.

    A video is a file of its own, or, with a span, an episode in a file. With cameras, `videos` has all videos of the
    first one, then of the next.
    """

    videos: list[SourceVideo]
    file_ids: list[int]
    """Row of each video's file; `NO_FILE` where the source itself shows that the video cannot be used."""
    files: list[SourceVideo]
    """A row per file, named by its `relative_path`. Without spans and cameras, the files are the videos."""
    scans: list[VideoScan | VideoError]
    """Of each file: its scan, or the error that prevented it."""
    cameras: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str | None, ...]:
        """The cameras; a single None for a source without cameras."""
        return self.cameras or (None,)

    @property
    def num_packets(self) -> int:
        """Packets of all readable files."""
        return sum(scan.facts.num_packets for scan in self.scans if isinstance(scan, VideoScan))

    def rows_of(self, camera: str | None) -> list[int]:
        """Rows of a camera's videos; for None, of a source without cameras."""
        return [row for row, video in enumerate(self.videos) if video.camera == camera]

    def files_of(self, camera: str | None) -> list[int]:
        """Rows of a camera's files."""
        return [row for row, file in enumerate(self.files) if file.camera == camera]

    def episodes(self) -> dict[int, list[tuple[str, EpisodeSpan]]]:
        """Name and span of the episodes of each file that holds some, in the order of `rows_in`."""
        return self._episodes

    @cached_property
    def _episodes(self) -> dict[int, list[tuple[str, EpisodeSpan]]]:
        found: dict[int, list[tuple[str, EpisodeSpan]]] = {}
        for video, file_id in zip(self.videos, self.file_ids, strict=True):
            if video.span is not None and file_id != NO_FILE:
                found.setdefault(file_id, []).append((video.relative_path, video.span))
        return found

    def rows_in(self, file_id: int) -> list[int]:
        """Rows of the videos in a file."""
        return self._rows_in[file_id]

    @cached_property
    def _rows_in(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in self.files]
        for row, file_id in enumerate(self.file_ids):
            if file_id != NO_FILE:
                rows[file_id].append(row)
        return rows

    def scan_of(self, row: int) -> VideoScan | VideoError:
        """Scan of the file of a video; an error where it has none that can be used."""
        video, file_id = self.videos[row], self.file_ids[row]
        if video.problem is not None or file_id == NO_FILE:
            return VideoError(video.relative_path, video.problem or "has no file")
        scan = self.scans[file_id]
        return error_of(video, scan) if isinstance(scan, VideoError) else scan

    def changed(self, decoded: Sequence[DecodedVideo | VideoError]) -> "Inputs":
        """These inputs, with an error for every file that had changed before it was decoded."""
        scans = [
            row if isinstance(row, VideoChangedError) else scan
            for scan, row in zip(self.scans, decoded, strict=True)
        ]
        return msgspec.structs.replace(self, scans=scans)

    def of_names(self, names: Collection[str]) -> "Inputs":
        """The videos of these names alone. All files stay, so that their rows do."""
        rows = [row for row, video in enumerate(self.videos) if video.relative_path in names]
        return msgspec.structs.replace(
            self,
            videos=[self.videos[row] for row in rows],
            file_ids=[self.file_ids[row] for row in rows],
        )

    def identity(self, camera: str | None = None) -> dict[str, str]:
        """Name of each video of a camera -> SHA-256 of its file, and its place there; or why it is unreadable."""
        return {self.videos[row].relative_path: self._content(row) for row in self.rows_of(camera)}

    def _content(self, row: int) -> str:
        scan, video = self.scan_of(row), self.videos[row]
        if isinstance(scan, VideoError):
            return f"unreadable: {scan.reason}"
        if video.span is None:
            return scan.facts.sha256
        return content_text(scan.facts.sha256, video.file, (video.span.from_seconds, video.span.to_seconds))

    def order_identity(self, camera: str | None = None) -> dict[str, str]:
        """The part of a cache's identity that the order of the videos is: empty where they are sorted by path."""
        paths = [self.videos[row].relative_path for row in self.rows_of(camera)]
        if paths == sorted(paths):
            return {}
        return {"order of the videos": hashlib.sha256(msgspec.json.encode(paths)).hexdigest()}

    def span_identity(self, camera: str | None = None) -> dict[str, str]:
        """The part of a cache's identity that the times of the episodes' frames are: empty without episodes."""
        digest = hashlib.sha256()
        spans = [(self.videos[row].relative_path, self.videos[row].span) for row in self.rows_of(camera)]
        for name, span in spans:
            if span is not None:
                digest.update(
                    msgspec.json.encode([name, len(span.frame_seconds), span.tolerance_seconds])
                    + span.frame_seconds.tobytes()
                )
        has_spans = any(span is not None for _, span in spans)
        return {"times of the episodes' frames": digest.hexdigest()} if has_spans else {}


def error_of(video: SourceVideo, error: VideoError) -> VideoError:
    """What an error of its file is to a video, whose name may be another."""
    if video.file == video.relative_path:
        return error
    return VideoError(video.relative_path, f"{video.file}: {error.reason}")


def content_text(sha256: str, file: str, seconds: tuple[float, float]) -> str:
    """What an episode's frames are: its file, with its hash, and its place there."""
    return f"{sha256} {seconds[0]!r} to {seconds[1]!r} s of {file}"


def content_of_entry(video: VideoEntry, asked: str | None) -> str | None:
    """The content of a video as `Inputs.identity` states it."""
    if video.sha256 is None:
        return None
    if video.span is not None:
        return content_text(video.sha256, video.span.file, (video.span.from_seconds, video.span.to_seconds))
    # Where an episode of a readable file was left out, its place in the file is not known.
    is_same_file = video.verdict == "unreadable" and asked is not None and asked.startswith(video.sha256)
    return asked if is_same_file else video.sha256


def read_inputs(
    contents: SourceContents,
    *,
    scan_cache: Path | None,
    pool: ScanPool,
    progress: Callable[[int, int], None] | None = None,
    keep_others: bool = False,
) -> Inputs:
    """Scan the files of a source, each once. `progress` is called with (files scanned, files).

    With `keep_others` the scan cache keeps the scans of other files.
    """
    videos, file_ids, files = tables_of(contents)
    scans = scan_videos(files, cache_path=scan_cache, pool=pool, progress=progress, keep_others=keep_others)
    return Inputs(
        videos=videos,
        file_ids=file_ids,
        files=files,
        scans=[
            scan
            if isinstance(scan, VideoError)
            else other_size_error(scan.facts, file.stated_sizes, name=file.relative_path) or scan
            for file, scan in zip(files, scans, strict=True)
        ],
        cameras=contents.cameras,
    )


def tables_of(contents: SourceContents) -> tuple[list[SourceVideo], list[int], list[SourceVideo]]:
    """`videos`, `file_ids` and `files` of the `Inputs` of a source."""
    rows: dict[tuple[str | None, str], int] = {}
    files: list[SourceVideo] = []
    file_ids: list[int] = []
    for video in contents.videos:
        key = (video.camera, video.file)
        if video.problem is None and key not in rows:
            rows[key] = len(files)
            files.append(
                SourceVideo(
                    relative_path=video.file,
                    path=video.path,
                    staged=video.staged,
                    camera=video.camera,
                    stated_sizes=video.stated_sizes,
                )
            )
        file_ids.append(rows[key] if video.problem is None else NO_FILE)
    return contents.videos, file_ids, files


def fingerprint(
    inputs: Inputs,
    config: BuildConfig,
    decoders: DecoderChoice,
    *,
    camera: str | None = None,
    dataset: str | None = None,
) -> str:
    """SHA-256 over the videos' paths, contents and order, the configuration and the list of videos a GPU decodes.

    With `camera`, of that camera's videos, and its name. `dataset` is the hash of what the source states beside its
    videos. Equal fingerprints, library versions and machine give equal caches.
    """
    identity: dict[str, Any] = {
        "config": config.to_builtins(),
        "videos": inputs.identity(camera),
        **inputs.order_identity(camera),
        **inputs.span_identity(camera),
        **decoders.identity(),
        **({} if camera is None else {"camera": camera}),
        **({} if dataset is None else {"dataset": dataset}),
    }
    return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()
