"""The videos themselves as a frame store: every look-up decodes the part of a unit that it needs."""

import hashlib
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from cache_builder.discover import SourceVideo, discover_videos
from cache_builder.errors import UnitNotIndependentError, VideoError
from cache_builder.video.convert import FrameConverter
from cache_builder.video.decode import VideoReader
from cache_builder.video.frame_table import FrameTable
from cache_builder.video.geometry import FrameGeometry, Resize
from cache_builder.video.scan import VideoFacts, VideoScan, ticks_to_seconds
from cache_builder.video.scan_cache import scan_frames
from cache_builder.video.units import gop_units
from frame_store.frame_index import check_frame_ids, check_out
from frame_store.layout import INDEX_DTYPE
from frame_store.protocol import FrameIds, Frames


def open_videos(
    folder: Path | str,
    *,
    size: int | tuple[int, int] = 224,
    resize: Resize = "crop",
    crop_aspect: tuple[int, int] | None = None,
    scan_cache: Path | str | None = None,
    max_open: int = 32,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "LiveStore":
    """Open a folder of videos as a frame store that decodes on demand.

    Args:
        folder: Searched with its subfolders; `video_id` is the row in the sorted table of its videos.
        size: Side of the square frames, or (height, width).
        resize: `crop`, `stretch` or `pad`, as `FrameGeometry` says.
        crop_aspect: Display aspect (width, height) whose centre is cut out first.
        scan_cache: File that remembers the scan, so that opening again is instant; None scans anew.
        max_open: Videos kept open for later look-ups, at most.
        workers: Threads that scan; None means one per core.
        progress: Called with (videos scanned, videos).

    Raises:
        InputFolderError: no such folder, or no video in it.
        ValueError: a size, an aspect, `max_open` or `workers` out of range.
        OSError: the scan cache cannot be written.
    """
    if max_open < 1 or (workers is not None and workers < 1):
        raise ValueError(f"max_open and workers must be 1 or more, found {max_open} and {workers}")
    height, width = (size, size) if isinstance(size, int) else size
    geometry = FrameGeometry(height=height, width=width, resize=resize, crop_aspect=crop_aspect)
    videos = discover_videos(Path(folder))
    scans = scan_frames(
        videos,
        cache_path=None if scan_cache is None else Path(scan_cache),
        workers=workers or len(os.sched_getaffinity(0)),
        progress=progress,
    )
    return LiveStore(videos, scans, geometry=geometry, max_open=max_open)


class LiveStore:
    """Frames of a table of videos, decoded when asked for. Implements `FrameStore`.

    Frame ids run through the videos in the order of their table, and through each in output order. Every
    video counts as one shard, an unreadable one as a shard without frames.
    """

    def __init__(
        self,
        videos: Sequence[SourceVideo],
        scans: Sequence[tuple[VideoScan, FrameTable] | VideoError],
        *,
        geometry: FrameGeometry,
        max_open: int,
    ) -> None:
        self._sources = list(videos)
        self._scans = list(scans)
        self._geometry = geometry
        self._max_open = max_open
        self._shard_sizes = np.array(
            [0 if isinstance(scan, VideoError) else len(scan[1]) for scan in scans], np.int64
        )
        self._shard_sizes.flags.writeable = False
        self._index = _make_index(self._scans, self._shard_sizes)
        self._starts: dict[int, _UnitStarts] = {}
        self._open_videos = _OpenVideos(self._make_video, max_open)

    @property
    def videos(self) -> list[VideoFacts | VideoError]:
        """Facts of each video, or why it cannot be read; `video_id` is the row."""
        return [scan if isinstance(scan, VideoError) else scan[0].facts for scan in self._scans]

    @property
    def index(self) -> npt.NDArray[Any]:
        """Rows of `frame_store.layout.INDEX_DTYPE`, shape (N,), read-only; nothing lies at a byte offset: 0."""
        return self._index

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return (self._geometry.height, self._geometry.width, 3)

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per video, shape (number of videos,)."""
        return self._shard_sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the videos' paths and contents and the geometry."""
        identity = {
            "geometry": msgspec.to_builtins(self._geometry),
            "videos": [
                (video.relative_path, None if isinstance(scan, VideoError) else scan[0].facts.sha256)
                for video, scan in zip(self._sources, self._scans, strict=True)
            ],
        }
        return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"LiveStore({len(self)} frames of {self.frame_shape} in {len(self._sources)} videos)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_open_videos"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open_videos = _OpenVideos(self._make_video, self._max_open)

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order: uint8 RGB (B, H, W, 3), into `out` where given.

        Sorts the request by video and place, so that every unit is decoded once a call, up to the last
        frame wanted of it.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: `out` has another shape or dtype, or is not contiguous.
            VideoError: a video changed since it was scanned, or decodes to other frames than the scan told.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        out = check_out(out, num_frames=len(ids), frame_shape=self.frame_shape)
        order = np.argsort(ids, kind="stable")
        rows = self._index[ids[order]]
        bounds = np.flatnonzero(np.diff(rows["video_id"].astype(np.int64), prepend=-1, append=-1))
        for first, end in pairwise(bounds.tolist()):
            positions = order[first:end]
            with self._videos().borrow(int(rows["video_id"][first])) as video:
                video.read(rows["frame_in_video"][first:end].tolist(), positions.tolist(), out)
        return out

    def close(self) -> None:
        """Close all videos; reading afterwards reopens them."""
        self._open_videos.close()

    def _videos(self) -> "_OpenVideos":
        # A forked child opens its own: a descriptor shared with the parent has one file position for both.
        if self._open_videos.pid != os.getpid():
            self._open_videos = _OpenVideos(self._make_video, self._max_open)
        return self._open_videos

    def _make_video(self, video_id: int) -> "_LiveVideo":
        found = self._scans[video_id]
        assert not isinstance(found, VideoError)  # it has no frames that could be asked for
        scan, frames = found
        if video_id not in self._starts:
            self._starts[video_id] = _UnitStarts(scan, frames)
        return _LiveVideo(
            reader=VideoReader(self._sources[video_id].path, scan),
            frames=frames,
            converter=FrameConverter(
                self._geometry,
                rotation_degrees=scan.facts.rotation_degrees,
                sample_aspect_ratio=scan.sample_aspect_ratio,
            ),
            starts=self._starts[video_id],
        )


class _DamagedError(Exception):
    """Frames depend on damage, and on what the decoder saw before it."""


class _UnitStarts:
    """Frames of one video at whose packets decoding may start; learns from failures, shared by threads."""

    def __init__(self, scan: VideoScan, frames: FrameTable) -> None:
        may_start = np.flatnonzero(scan.packets.can_start_unit[frames.packet])
        build_packets = [first for first, _ in gop_units(scan.packets)]
        self._starts = sorted({0, *may_start.tolist()})
        self._in_builds = frozenset(np.flatnonzero(np.isin(frames.packet, build_packets)).tolist()) | {0}

    def before(self, frame_in_video: int) -> int:
        """The last start at or before a frame."""
        starts = self._starts
        return starts[bisect_right(starts, frame_in_video) - 1]

    def is_in_builds(self, start: int) -> bool:
        """Whether a build starts a unit there, too."""
        return start in self._in_builds

    def drop(self, start: int) -> None:
        """Never start there again."""
        self._starts = [other for other in self._starts if other != start]


@dataclass(kw_only=True)
class _LiveVideo:
    """An open video, used by one thread at a time."""

    reader: VideoReader
    frames: FrameTable
    converter: FrameConverter
    starts: _UnitStarts

    def read(self, wanted: list[int], positions: list[int], out: Frames) -> None:
        """Decode the frames `wanted`, ascending and with duplicates, each to its position in `out`."""
        done = 0
        while done < len(wanted):
            start = self.starts.before(wanted[done])
            try:
                done = self._read_from(start, wanted, positions, done, out)
            except (UnitNotIndependentError, _DamagedError):
                # Raised before any frame is out; the start before is tried next, the first one never fails.
                self.starts.drop(start)

    def _read_from(self, start: int, wanted: list[int], positions: list[int], done: int, out: Frames) -> int:
        """Decode from `start` until the next frame wanted is better sought; how many of `wanted` are done."""
        expected = self.frames.packet
        facts = self.reader.scan.facts
        # Frames before the first packet's own: those of an open GOP that the video begins with.
        first_packet = int(expected[start]) if start else 0
        decoder = self.reader.decode(first_packet, facts.num_packets)
        is_damaged = False
        for frame_in_video, decoded in enumerate(decoder, start=start):
            # What a decoder makes of damage depends on all that came before: start where a build does.
            is_damaged = is_damaged or decoded.is_corrupt or bool(decoder.errors)
            if is_damaged and not self.starts.is_in_builds(start):
                raise _DamagedError
            if frame_in_video >= len(expected) or decoded.packet != expected[frame_in_video]:
                break
            if frame_in_video < wanted[done]:
                continue
            self._convert(decoded.frame, out[positions[done]])
            first_done = done
            done += 1
            while done < len(wanted) and wanted[done] == frame_in_video:
                out[positions[done]] = out[positions[first_done]]
                done += 1
            if done == len(wanted) or self.starts.before(wanted[done]) > frame_in_video + 1:
                return done
        raise VideoError(
            facts.path,
            f"decodes to other frames than its {facts.num_packets} packets and their pts promised, "
            f"near frame {wanted[done]}",
        )

    def _convert(self, frame: VideoFrame, out: Frames) -> None:
        try:
            self.converter.convert(frame, out)
        except ValueError as error:
            raise VideoError(self.reader.scan.facts.path, str(error)) from error


class _OpenVideos:
    """Videos open in this process: lent to one thread at a time, the least recently used closed first."""

    def __init__(self, make_video: Callable[[int], _LiveVideo], max_open: int) -> None:
        self.pid = os.getpid()
        self._make_video = make_video
        self._max_open = max_open
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, _LiveVideo] = OrderedDict()

    @contextmanager
    def borrow(self, video_id: int) -> Iterator[_LiveVideo]:
        """An open video that no other thread uses; opens another one if it must."""
        with self._lock:
            video = self._idle.pop(video_id, None)
        if video is None:
            video = self._make_video(video_id)
        try:
            yield video
        except BaseException:
            video.reader.close()
            raise
        with self._lock:
            evicted = [self._idle.pop(video_id)] if video_id in self._idle else []
            self._idle[video_id] = video
            while len(self._idle) > self._max_open:
                evicted.append(self._idle.popitem(last=False)[1])
        for other in evicted:
            other.reader.close()

    def close(self) -> None:
        """Close the videos that are not lent out."""
        with self._lock:
            idle, self._idle = self._idle, OrderedDict()
        for video in idle.values():
            video.reader.close()


def _make_index(
    scans: Sequence[tuple[VideoScan, FrameTable] | VideoError], num_frames: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    index = np.zeros(int(num_frames.sum()), INDEX_DTYPE)
    end = 0
    for video_id, found in enumerate(scans):
        if isinstance(found, VideoError):
            continue
        scan, frames = found
        rows = index[end : end + len(frames)]
        rows["video_id"] = rows["shard_id"] = video_id
        rows["frame_in_video"] = rows["slot"] = np.arange(len(frames))
        rows["pts_seconds"] = ticks_to_seconds(frames.pts, scan.time_base)
        end += len(frames)
    index.flags.writeable = False
    return index
