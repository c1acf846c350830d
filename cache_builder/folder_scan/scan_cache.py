"""Scans many videos in parallel and keeps the scans in one file, so that a second run of the same folder is instant.

Scans run in the processes of a worker pool. A file that makes FFmpeg crash, hang or take too much memory costs only its
own video. Threads could not be stopped, and the first crash would end them all.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import av
import msgspec
import numpy as np

from cache_builder.errors import VideoError
from cache_builder.executors import Executor, JobDied, JobRaised, Outcome
from cache_builder.folder_scan.scan_job import CountJob, ScanJob, StartCheckJob
from cache_builder.sources import SourceVideo
from cache_builder.video.decode import FrameTable, predict_frames, starts_to_try
from cache_builder.video.packets import PACKET_COLUMNS, PacketTable
from cache_builder.video.scan import VideoFacts, VideoScan
from frame_store.files import write_file
from frame_store.shared import raise_if_out_of_files

_DIGEST_BYTES: Final = 32
_CACHE_VERSION: Final = f"9, PyAV {av.__version__}"
"""Another build of FFmpeg may number packets differently."""


class _CachedVideo(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    num_bytes: int
    mtime_ns: int
    facts: VideoFacts
    packets: bytes
    """The columns of `PACKET_COLUMNS`, one after the other."""
    counted_frames: bytes | None
    """`packet` and `pts` of a `FrameTable` found by decoding."""
    unit_starts: bytes
    """`unit_starts` of the same table."""


class _CacheFile(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    videos: dict[str, _CachedVideo]


def scan_videos(
    videos: Sequence[SourceVideo],
    *,
    cache_path: Path | None,
    pool: "ScanPool",
    progress: Callable[[int, int], None] | None = None,
    keep_others: bool = False,
) -> list[VideoScan | VideoError]:
    """Scan every video in `pool`, or take its scan from `cache_path` if size and mtime are the same.

    Returns a row per video: its scan, or the error that prevented it. Errors are not kept in the file. `progress` is
    called with (videos done, videos). A cache file that cannot be read counts as empty. With `keep_others` the scans of
    other videos stay in the file.
    """
    scans = _Scanning(videos, cache_path, pool, progress, with_frames=False, keep_others=keep_others).run()
    return [scan if isinstance(scan, VideoError) else scan[0] for scan in scans]


def scan_frames(
    videos: Sequence[SourceVideo],
    *,
    cache_path: Path | None,
    pool: "ScanPool",
    decode_all: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[VideoScan, FrameTable] | VideoError]:
    """Like `scan_videos`, with a table of every video's frames.

    If packets alone do not determine the frames, the video is decoded once. With `decode_all` every video is decoded.
    """
    scans = _Scanning(videos, cache_path, pool, progress, with_frames=True, decode_all=decode_all).run()
    return [scan if isinstance(scan, VideoError) else (scan[0], _require(scan[1])) for scan in scans]


class ScannedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache file knows of a video's file."""

    num_bytes: int
    mtime_ns: int
    sha256: str


def scanned_files(cache_path: Path) -> dict[str, ScannedFile]:
    """The files that were scanned, by their names; empty for a cache file that cannot be read."""
    return {
        path: ScannedFile(num_bytes=entry.num_bytes, mtime_ns=entry.mtime_ns, sha256=entry.facts.sha256)
        for path, entry in _read_cache(cache_path).items()
    }


def forget_scans(cache_path: Path, relative_paths: Sequence[str]) -> None:
    """Remove videos from the cache file, so that the next run scans them again.

    Needed for a video that has changed and kept its size and time, as a copy can, or whose first scan was wrong because
    a read failed.
    """
    cached = _read_cache(cache_path)
    kept = {path: entry for path, entry in cached.items() if path not in set(relative_paths)}
    if len(kept) < len(cached):
        _write_cache(cache_path, {}, kept=kept)


_Found: TypeAlias = tuple[VideoScan, FrameTable | None]
_Job: TypeAlias = ScanJob | StartCheckJob | CountJob
ScanPool: TypeAlias = Executor[_Job, VideoScan | FrameTable]


class _Scanning:
    def __init__(
        self,
        videos: Sequence[SourceVideo],
        cache_path: Path | None,
        pool: ScanPool,
        progress: Callable[[int, int], None] | None,
        *,
        with_frames: bool,
        decode_all: bool = False,
        keep_others: bool = False,
    ) -> None:
        self._keep_others = keep_others
        self._videos = videos
        self._cache_path = cache_path
        self._pool = pool
        self._progress = progress
        self._with_frames = with_frames
        self._decode_all = decode_all
        self._cached = _read_cache(cache_path)
        self._scans: dict[int, VideoScan] = {}
        self._found: dict[int, _Found | VideoError] = {}
        self._has_news = False

    def run(self) -> list[_Found | VideoError]:
        try:
            for row, video in enumerate(self._videos):
                entry = self._cached.get(video.relative_path)
                known = _unpack(video, entry) if entry is not None else None
                if known is None:
                    self._pool.submit(
                        ScanJob(
                            row=row,
                            path=video.path,
                            staged=video.staged,
                            relative_path=video.relative_path,
                        )
                    )
                else:
                    self._take_scan(row, *known)
            for outcome in self._pool.outcomes(retry_deaths=True):
                self._take(outcome)
        finally:  # an interrupted run keeps its scans
            if self._cache_path is not None and self._has_news:
                self._write()
        return [self._found[row] for row in range(len(self._videos))]

    def _take(self, outcome: Outcome[_Job, VideoScan | FrameTable]) -> None:
        job = outcome.job
        if isinstance(outcome, JobDied):
            self._settle(job.row, VideoError(job.name, f"the process reading it {outcome.how}, twice"))
        elif isinstance(outcome, JobRaised):
            if not isinstance(outcome.error, VideoError):
                raise outcome.error
            self._settle(job.row, outcome.error)
        else:
            self._has_news = True
            if isinstance(outcome.result, FrameTable):
                self._settle(job.row, (self._scans[job.row], outcome.result))
            elif not isinstance(job, StartCheckJob) and starts_to_try(outcome.result):
                self._pool.submit(
                    StartCheckJob(row=job.row, path=job.path, staged=job.staged, scan=outcome.result)
                )
            else:
                self._take_scan(job.row, outcome.result, None)

    def _take_scan(self, row: int, scan: VideoScan, frames: FrameTable | None) -> None:
        if self._with_frames and frames is None:
            frames = None if self._decode_all else predict_frames(scan)
            if frames is None:
                self._scans[row] = scan
                video = self._videos[row]
                self._pool.submit(CountJob(row=row, path=video.path, staged=video.staged, scan=scan))
                return
        self._settle(row, (scan, frames))

    def _settle(self, row: int, found: _Found | VideoError) -> None:
        self._found[row] = found
        if self._progress is not None:
            self._progress(len(self._found), len(self._videos))

    def _write(self) -> None:
        assert self._cache_path is not None
        seen = {self._videos[row].relative_path for row in self._found}
        others = {} if self._keep_others else {video.relative_path: video for video in self._videos}
        kept = {
            path: entry
            for path, entry in self._cached.items()
            if path not in seen and (self._keep_others or path in others)
        }
        rows = {self._videos[row]: self._found[row] for row in sorted(self._found)}
        _write_cache(self._cache_path, rows, kept=kept)


def _require(frames: FrameTable | None) -> FrameTable:
    assert frames is not None
    return frames


def _read_cache(path: Path | None) -> dict[str, _CachedVideo]:
    """The entries of the file; empty if it is missing, damaged, or of another version."""
    try:
        raw = path.read_bytes() if path is not None else b""
        digest, data = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:  # a flipped bit would stay as a wrong timestamp
            return {}
        file = msgspec.msgpack.decode(data, type=_CacheFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise_if_out_of_files(error)
        return {}
    return file.videos if file.version == _CACHE_VERSION else {}


def _write_cache(
    path: Path, rows: dict[SourceVideo, _Found | VideoError], *, kept: dict[str, _CachedVideo]
) -> None:
    entries = dict(kept)
    for video, row in rows.items():
        if isinstance(row, VideoError):
            continue
        scan, frames = row
        packets = b"".join(getattr(scan.packets, name).tobytes() for name in PACKET_COLUMNS)
        counted = frames is not None and frames.is_counted
        entries[video.relative_path] = _CachedVideo(
            num_bytes=scan.facts.num_bytes,
            mtime_ns=scan.mtime_ns,
            facts=scan.facts,
            packets=packets,
            counted_frames=_require(frames).packet.tobytes() + _require(frames).pts.tobytes()
            if counted
            else None,
            unit_starts=_require(frames).unit_starts.tobytes() if counted else b"",
        )
    data = msgspec.msgpack.encode(_CacheFile(version=_CACHE_VERSION, videos=entries))
    write_file(path, hashlib.sha256(data).digest() + data)


def _unpack(video: SourceVideo, cached: _CachedVideo) -> _Found | None:
    """The cached scan; None if the video's file has changed, or if the columns have a wrong length."""
    try:
        status = video.status()
    except OSError:
        return None
    if (status.num_bytes, status.mtime_ns) != (cached.num_bytes, cached.mtime_ns):
        return None
    num_packets = cached.facts.num_packets
    if len(cached.packets) != num_packets * sum(dtype.itemsize for dtype in PACKET_COLUMNS.values()):
        return None
    columns = {}
    position = 0
    for name, dtype in PACKET_COLUMNS.items():
        columns[name] = np.frombuffer(cached.packets, dtype, num_packets, position)
        position += num_packets * dtype.itemsize
    scan = VideoScan(facts=cached.facts, packets=PacketTable(**columns), mtime_ns=cached.mtime_ns)
    frames = None
    if cached.counted_frames is not None:
        packet, pts = np.frombuffer(cached.counted_frames, np.int64).reshape(2, -1)
        frames = FrameTable(
            packet=packet,
            pts=pts,
            unit_starts=np.frombuffer(cached.unit_starts, np.int64),
            is_counted=True,
        )
    return scan, frames
