"""Videos as a frame store: every look-up decodes the part of a unit that it needs."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError
from cache_builder.findings import find_copies
from cache_builder.live.idle_videos import OpenVideos
from cache_builder.live.video import ConvertsFrames, DecodeStarts, LearnedOfVideo, LiveVideo, Outs
from cache_builder.sources import PassedOver, SourceVideo
from cache_builder.video.decode import CPU, DecodeBackend, FrameTable, VideoReader, gop_units
from cache_builder.video.picture import FrameConverter, FrameGeometry
from cache_builder.video.scan import VideoFacts, VideoScan, ticks_to_seconds
from frame_store.frame_sequence import FrameSequence
from frame_store.names import INDEX_DTYPE, NUM_CHANNELS, PIXEL_DTYPE, PixelDtype, PixelName
from frame_store.protocol import FrameIds, FrameRows, Frames, check_frame_ids, check_out, check_outs
from frame_store.reader import StoreIndex
from frame_store.shared import counted, is_out_of_files
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoRow, VideoTable

MAX_IDLE_BYTES: Final = 128 << 20
"""Memory of the decoders of videos that are kept open: five of 1080p. Reopening a video costs 3 to 20 ms."""


class LiveStore(FrameSequence):
    """Frames of a table of videos, decoded on demand. Implements `DecodesInGroups`.

    Frame ids run through the videos in the order of their table, and through each video in output order. Every
    video counts as one shard. An unreadable video is a shard without frames.
    """

    _max_idle_bytes: int = MAX_IDLE_BYTES

    def __init__(
        self,
        videos: Sequence[SourceVideo],
        scans: Sequence[tuple[VideoScan, FrameTable] | VideoError],
        *,
        geometry: FrameGeometry,
        pixel: PixelName = "rgb8",
        max_open: int,
        passed_over: PassedOver | None = None,
    ) -> None:
        self._sources = list(videos)
        self._scans = [scan if isinstance(scan, VideoError) else scan[0] for scan in scans]
        self._geometry = geometry
        self._pixel: PixelName = pixel
        self._max_open = max_open
        self.passed_over = passed_over
        """Files of the folder that were not taken for videos; None if no folder was searched."""
        self._shard_sizes = np.array(
            [0 if isinstance(scan, VideoError) else len(scan[1]) for scan in scans], np.int64
        )
        self._shard_sizes.flags.writeable = False
        self._index = _make_index(scans, self._shard_sizes)
        self._first_ids = np.cumsum(self._shard_sizes) - self._shard_sizes
        # One column for all videos, as int32 instead of int64, so that scans of 10,000 videos fit in memory.
        packets = [np.zeros(0, np.int64)]
        packets += [scan[1].packet for scan in scans if not isinstance(scan, VideoError)]
        self._packet_of_frame = np.concatenate(packets).astype(np.int32)
        self._unit_starts = [
            np.zeros(0, np.int64) if isinstance(scan, VideoError) else scan[1].unit_starts for scan in scans
        ]
        self._starts = _find_starts(self._scans, self._unit_starts, self._packet_of_frame, self._shard_sizes)
        self._learned = [LearnedOfVideo() for _ in videos]
        self._open_videos = self._open_none()

    @cached_property
    def videos(self) -> VideoTable:
        """The table of videos; `video_id` is the row."""
        sizes = self._shard_sizes.tolist()
        return VideoTable(
            _video_row(video, scan, size)
            for video, scan, size in zip(self._sources, self._scans, sizes, strict=True)
        )

    @cached_property
    def source_order(self) -> SourceOrder:
        """See `FrameStore`. Every frame that decodes can be read, and ids are in source order."""
        first = np.append(self._first_ids, len(self))
        return SourceOrder(first_row=first, first_stored=first, source_pts=self._index["pts_seconds"])

    @property
    def facts_of_videos(self) -> list[VideoFacts | VideoError]:
        """Facts of each video, or the reason why it cannot be read; `video_id` is the row."""
        return [scan if isinstance(scan, VideoError) else scan.facts for scan in self._scans]

    @property
    def copies(self) -> list[list[str]]:
        """Groups of relative paths of videos with the same bytes."""
        scans = (scan for scan in self._scans if isinstance(scan, VideoScan))
        return find_copies((scan.facts.path, scan.facts.sha256) for scan in scans)

    @property
    def index(self) -> StoreIndex:
        """Rows of `frame_store.reader.store_index.ROW_DTYPE`, N of them; nothing lies at a byte offset: 0."""
        return StoreIndex(self._index)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return (self._geometry.height, self._geometry.width, NUM_CHANNELS[self._pixel])

    @property
    def frame_dtype(self) -> PixelDtype:
        """uint8 for colour, uint16 for 16-bit gray."""
        return PIXEL_DTYPE[self._pixel]

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per video, shape (number of videos,)."""
        return self._shard_sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the videos' paths and contents and the geometry."""
        identity = self._identity()
        return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()

    def _identity(self) -> dict[str, Any]:
        """Everything that decides the frames."""
        return {
            "geometry": msgspec.to_builtins(self._geometry),
            "videos": [
                (video.relative_path, None if isinstance(scan, VideoError) else scan.facts.sha256)
                for video, scan in zip(self._sources, self._scans, strict=True)
            ],
        }

    @property
    def may_cross_fork(self) -> bool:
        """True: a forked child opens the videos again."""
        return True

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        videos = counted(len(self._sources), "video")
        return f"LiveStore({counted(len(self), 'frame')} of {self.frame_shape} in {videos})"

    def __getstate__(self) -> dict[str, Any]:
        made_at_first_use = {"_open_videos", "videos", "source_order"}
        return {name: value for name, value in self.__dict__.items() if name not in made_at_first_use}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open_videos = self._open_none()

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order: uint8 RGB (B, H, W, 3), into `out` where given.

        The request is sorted by video and position, so that a call decodes every unit once, up to the last frame that
        it needs.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: `out` has another shape or dtype, or is not contiguous.
            VideoError: a video changed since it was scanned, or decodes to other frames than the scan predicted.
            OSError: the machine failed to read a video, or no more files can be opened.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        out = check_out(out, num_frames=len(ids), store=self)
        self._read(ids, out)
        return out

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """Rows of `frame_store.reader.store_index.ROW_DTYPE` in request order, shape (B,).

        Raises:
            FrameIdError: an id outside [0, len(self)).
        """
        rows: FrameRows = self.index[check_frame_ids(frame_ids, num_frames=len(self))]
        return rows

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """`read_frames` and `rows_of` in one. Raises what `read_frames` raises."""
        return self.read_frames(frame_ids, out), self.rows_of(frame_ids)

    def read_frames_into(self, frame_ids: FrameIds, outs: Sequence[Frames]) -> None:
        """Write frame frame_ids[i] to outs[i], uint8 RGB (H, W, 3); otherwise as `read_frames`.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: `outs` has another length than the ids, or one of them has another shape or dtype, or is not
                contiguous.
            VideoError, OSError: as `read_frames`.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        check_outs(outs, num_frames=len(ids), store=self)
        self._read(ids, outs)

    def decode_groups(self, frame_ids: FrameIds) -> npt.NDArray[np.int64]:
        """For each frame the id of the frame at which decoding starts, int64 (B,): `DecodesInGroups`.

        Groups are the GOPs at whose keyframes decoding may start, as far as that is known.

        Raises:
            FrameIdError: an id outside [0, len(self)).
        """
        return self._starts.before(check_frame_ids(frame_ids, num_frames=len(self)))

    def _read(self, ids: npt.NDArray[np.int64], outs: Outs) -> None:
        order = np.argsort(ids, kind="stable")
        rows = self._index[ids[order]]
        bounds = np.flatnonzero(np.diff(rows["video_id"].astype(np.int64), prepend=-1, append=-1))
        for first, end in pairwise(bounds.tolist()):
            self._read_video(
                int(rows["video_id"][first]),
                rows["frame_in_video"][first:end].tolist(),
                order[first:end].tolist(),
                outs,
            )

    def _read_video(self, video_id: int, wanted: list[int], positions: list[int], outs: Outs) -> None:
        videos = self._videos()
        while True:
            try:
                with videos.borrow(video_id) as video:
                    video.read(wanted, positions, outs)
            except OSError as error:
                if not is_out_of_files(error) or not videos.close_oldest():
                    raise
            else:
                return

    def close(self) -> None:
        """Close all videos. The next read reopens them."""
        self._open_videos.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _videos(self) -> OpenVideos:
        # A forked child opens its own videos: a descriptor that it shares with the parent has one file position for
        # both.
        if self._open_videos.pid != os.getpid():
            self._open_videos = self._open_none()
        return self._open_videos

    def _open_none(self) -> OpenVideos:
        return OpenVideos(self._make_video, self._max_open, max_idle_bytes=self._max_idle_bytes)

    def _scan_of(self, video_id: int) -> VideoScan:
        scan = self._scans[video_id]
        assert not isinstance(scan, VideoError)  # no frame id belongs to an unreadable video
        return scan

    def _make_video(self, video_id: int) -> LiveVideo:
        scan = self._scan_of(video_id)
        converter = FrameConverter(self._geometry, scan.facts.presentation.plain)
        return self._assemble_video(video_id, converter=converter, backend=CPU)

    def _assemble_video(
        self, video_id: int, *, converter: ConvertsFrames, backend: DecodeBackend
    ) -> LiveVideo:
        first = int(self._first_ids[video_id])
        return LiveVideo(
            reader=VideoReader(
                self._sources[video_id].path,
                self._scan_of(video_id),
                opens_quickly=True,
                backend=backend,
            ),
            packet_of_frame=self._packet_of_frame[first : first + int(self._shard_sizes[video_id])],
            converter=converter,
            unit_starts=self._unit_starts[video_id],
            first_id=first,
            starts=self._starts,
            learned=self._learned[video_id],
        )


def _video_row(video: SourceVideo, scan: VideoScan | VideoError, num_frames: int) -> VideoRow:
    facts = None if isinstance(scan, VideoError) else scan.facts
    return VideoRow(
        path=video.relative_path,
        verdict="unreadable" if facts is None else None,
        num_frames_stored=num_frames,
        num_frames_decoded=num_frames,
        width=None if facts is None else facts.width,
        height=None if facts is None else facts.height,
        fps=None
        if facts is None or facts.average_rate is None
        else facts.average_rate[0] / facts.average_rate[1],
        duration_seconds=None if facts is None else facts.end_seconds_of_packets,
        transfer=None if facts is None else facts.color_transfer,
        sha256=None if facts is None else facts.sha256,
    )


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


def _find_starts(
    scans: Sequence[VideoScan | VideoError],
    unit_starts: Sequence[npt.NDArray[np.int64]],
    packet_of_frame: npt.NDArray[np.int32],
    num_frames: npt.NDArray[np.int64],
) -> DecodeStarts:
    starts = [np.zeros(0, np.int64)]
    end = 0
    for scan, firsts, size in zip(scans, unit_starts, num_frames.tolist(), strict=True):
        if isinstance(scan, VideoError) or not size:
            continue
        packets = packet_of_frame[end : end + size]
        # Decoding from the first packet gives all frames, including those that lead up to the first packet's own.
        may_start = scan.packets.can_start_unit[packets] & (packets > 0)
        may_start[0] = True
        may_start[_is_repeated(packets)] = False
        if len(firsts) == 1 and len(gop_units(scan.packets)) > 1:  # its units did not fit together
            may_start[1:] = False
        starts.append(end + np.flatnonzero(may_start))
        end += size
    return DecodeStarts(np.concatenate(starts))


def _is_repeated(values: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """bool per value: whether an equal value came before."""
    is_repeated = np.ones(len(values), np.bool_)
    is_repeated[np.unique(values, return_index=True)[1]] = False
    return is_repeated
