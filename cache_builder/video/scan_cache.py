"""Scans of many videos, in parallel, remembered in one file: a second run of the same folder is instant."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

import av
import msgspec
import numpy as np

from cache_builder.discover import SourceVideo
from cache_builder.errors import VideoError
from cache_builder.video.frame_table import FrameTable, count_frames, predict_frames
from cache_builder.video.scan import PACKET_COLUMNS, PacketTable, VideoFacts, VideoScan, scan_video
from frame_store.publish import write_file

_DIGEST_BYTES: Final = 32
_CACHE_VERSION: Final = f"3, PyAV {av.__version__}"
"""Another build of FFmpeg may number packets otherwise."""


class _CachedVideo(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    num_bytes: int
    mtime_ns: int
    facts: VideoFacts
    packets: bytes
    """The columns of `PACKET_COLUMNS`, one behind the other."""
    counted_frames: bytes | None
    """Both columns of a `FrameTable` found by decoding."""


class _CacheFile(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    videos: dict[str, _CachedVideo]


def scan_videos(
    videos: Sequence[SourceVideo],
    *,
    cache_path: Path | None,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[VideoScan | VideoError]:
    """Scan every video, or take its scan from the file at `cache_path` if size and mtime are the same.

    Returns a row per video: its scan, or the reason why there is none. Reasons are not remembered.
    `progress` is called with (videos done, videos). A cache file that cannot be read counts as none.
    """
    scans = _run(videos, cache_path, workers, progress, with_frames=False)
    return [scan if isinstance(scan, VideoError) else scan[0] for scan in scans]


def scan_frames(
    videos: Sequence[SourceVideo],
    *,
    cache_path: Path | None,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[VideoScan, FrameTable] | VideoError]:
    """Like `scan_videos`, and tell every video's frames: those that only decoding can count are decoded once."""
    scans = _run(videos, cache_path, workers, progress, with_frames=True)
    return [scan if isinstance(scan, VideoError) else (scan[0], _require(scan[1])) for scan in scans]


_Found = tuple[VideoScan, FrameTable | None]


def _run(
    videos: Sequence[SourceVideo],
    cache_path: Path | None,
    workers: int,
    progress: Callable[[int, int], None] | None,
    *,
    with_frames: bool,
) -> list[_Found | VideoError]:
    cached = _read_cache(cache_path)
    found: dict[int, _Found | VideoError] = {}
    num_new = 0
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = {
            pool.submit(_look_at, video, cached.get(video.relative_path), with_frames=with_frames): row
            for row, video in enumerate(videos)
        }
        for job in as_completed(jobs):
            found[jobs[job]], is_new = job.result()
            num_new += is_new
            if progress is not None:
                progress(len(found), len(videos))
    finally:  # interrupted, what was scanned is kept, and only the videos in hand are waited for
        pool.shutdown(cancel_futures=True)
        if cache_path is not None and num_new:
            unseen = {video.relative_path for row, video in enumerate(videos) if row not in found}
            kept = {path: entry for path, entry in cached.items() if path in unseen}
            _write_cache(cache_path, {videos[row]: found[row] for row in sorted(found)}, kept=kept)
    return [found[row] for row in range(len(videos))]


def _look_at(
    video: SourceVideo, cached: _CachedVideo | None, *, with_frames: bool
) -> tuple[_Found | VideoError, bool]:
    """What there is to know of a video, and whether it is news to the cache."""
    try:
        known = _unpack(video, cached) if cached is not None else None
        scan, frames = known or (scan_video(video.path, video.relative_path), None)
        is_new = known is None
        if with_frames and frames is None:
            frames = predict_frames(scan)
            if frames is None:
                frames = count_frames(video.path, scan)
                is_new = True
    except VideoError as error:
        return error, False
    return (scan, frames), is_new


def _require(frames: FrameTable | None) -> FrameTable:
    assert frames is not None
    return frames


def _read_cache(path: Path | None) -> dict[str, _CachedVideo]:
    """What the file remembers; nothing if it is missing, damaged, or of another version."""
    try:
        raw = path.read_bytes() if path is not None else b""
        digest, data = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:  # a flipped bit would be a wrong timestamp for ever
            return {}
        file = msgspec.msgpack.decode(data, type=_CacheFile)
    except (OSError, msgspec.MsgspecError):
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
        counted = frames is not None and scan.facts.uncounted_reason is not None
        entries[video.relative_path] = _CachedVideo(
            num_bytes=scan.facts.num_bytes,
            mtime_ns=scan.mtime_ns,
            facts=scan.facts,
            packets=packets,
            counted_frames=_require(frames).packet.tobytes() + _require(frames).pts.tobytes()
            if counted
            else None,
        )
    data = msgspec.msgpack.encode(_CacheFile(version=_CACHE_VERSION, videos=entries))
    write_file(path, hashlib.sha256(data).digest() + data)


def _unpack(video: SourceVideo, cached: _CachedVideo) -> _Found | None:
    """The cached scan, None if the file changed since or the columns make no sense."""
    try:
        status = video.path.stat()
    except OSError:
        return None
    if (status.st_size, status.st_mtime_ns) != (cached.num_bytes, cached.mtime_ns):
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
        frames = FrameTable(packet=packet, pts=pts)
    return scan, frames
