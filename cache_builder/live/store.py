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
from cache_builder.live.footage import Footage
from cache_builder.live.idle_files import OpenFiles
from cache_builder.live.open_file import ConvertsFrames, DecodeStarts, LearnedOfFile, LiveFile, Outs
from cache_builder.sources import PassedOver, SourceVideo
from cache_builder.video.decode import CPU, DecodeBackend, VideoReader
from cache_builder.video.picture import FrameGeometry, converter_of
from cache_builder.video.scan import VideoFacts
from frame_store.columns import NO_COLUMNS, Columns
from frame_store.frame_sequence import FrameSequence
from frame_store.names import NUM_CHANNELS, PIXEL_DTYPE, PixelDtype, PixelName
from frame_store.protocol import FrameIds, FrameRows, Frames, check_frame_ids, check_out, check_outs
from frame_store.reader import StoreIndex
from frame_store.shared import counted, is_out_of_files
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoRow, VideoTable

MAX_IDLE_BYTES: Final = 128 << 20
"""Memory of the decoders of files that are kept open: five of 1080p. Reopening a video costs 3 to 20 ms."""

_MOST_NAMED: Final = 3


class LiveStore(FrameSequence):
    """Frames of a table of videos, decoded on demand. Implements `DecodesInGroups`.

    Frame ids run through the videos in the order of their table, and through each video in output order. Every
    video counts as one shard. An unreadable video is a shard without frames.
    """

    _max_idle_bytes: int = MAX_IDLE_BYTES

    def __init__(
        self,
        footage: Footage,
        *,
        geometry: FrameGeometry,
        pixel: PixelName = "rgb8",
        max_open: int,
        passed_over: PassedOver | None = None,
    ) -> None:
        self._sources = footage.videos
        self._errors = [place if isinstance(place, VideoError) else None for place in footage.places]
        self._files = [(file.path, file.scan) for file in footage.files]
        self._geometry = geometry
        self._pixel: PixelName = pixel
        self._max_open = max_open
        self.passed_over = passed_over
        """Files of the folder that were not taken for videos; None if no folder was searched."""
        self._shard_sizes = footage.num_frames()
        self._shard_sizes.flags.writeable = False
        self._index = footage.make_index()
        self._first_ids = np.cumsum(self._shard_sizes) - self._shard_sizes
        # A *line* is a frame of a file: the lines of the first file come first, then those of the next.
        self._first_lines = footage.first_lines()
        self._packet_of_line = footage.packets()
        self._file_of_video, self._first_frames = np.array(
            [(-1, 0) if isinstance(place, VideoError) else (place.file, place.first_frame) for place in footage.places],
            np.int64,
        ).reshape(-1, 2).T  # fmt: skip
        self._line_minus_id = self._first_lines[self._file_of_video] + self._first_frames - self._first_ids
        self._unit_starts = [file.frames.unit_starts for file in footage.files]
        self._starts = DecodeStarts(footage.find_starts())
        self._learned = [LearnedOfFile() for _ in footage.files]
        self._columns = NO_COLUMNS
        self._open = self._open_none()

    @property
    def columns(self) -> Columns:
        """The columns of the data set that the videos come from; none for plain videos."""
        return self._columns

    @columns.setter
    def columns(self, columns: Columns) -> None:
        self._columns = columns

    @cached_property
    def videos(self) -> VideoTable:
        """The table of videos; `video_id` is the row."""
        sizes = self._shard_sizes.tolist()
        return VideoTable(
            _video_row(video, facts, size, first_frame=first)
            for video, facts, size, first in zip(
                self._sources, self.facts_of_videos, sizes, self._first_frames.tolist(), strict=True
            )
        )

    @cached_property
    def source_order(self) -> SourceOrder:
        """See `FrameStore`. Every frame that decodes can be read, and ids are in source order."""
        first = np.append(self._first_ids, len(self))
        return SourceOrder(first_row=first, first_stored=first, source_pts=self._index["pts_seconds"])

    @property
    def facts_of_videos(self) -> list[VideoFacts | VideoError]:
        """Facts of each video's file, or the reason why the video cannot be read; `video_id` is the row."""
        return [
            self._files[file][1].facts if error is None else error
            for file, error in zip(self._file_of_video.tolist(), self._errors, strict=True)
        ]

    @property
    def copies(self) -> list[list[str]]:
        """Groups of relative paths of files with the same bytes."""
        return find_copies((scan.facts.path, scan.facts.sha256) for _, scan in self._files)

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
        """SHA-256 over the videos' paths and contents, the geometry and the kind of pixels."""
        identity = self._identity()
        return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()

    def _identity(self) -> dict[str, Any]:
        """Everything that decides the frames."""
        return {
            "geometry": msgspec.to_builtins(self._geometry),
            "pixel": self._pixel,
            "videos": [self._video_identity(video_id) for video_id in range(len(self._sources))],
        }

    def _video_identity(self, video_id: int) -> tuple[object, ...]:
        video = self._sources[video_id]
        if self._errors[video_id] is not None:
            return (video.relative_path, None)
        sha256 = self._files[self._file_of_video[video_id]][1].facts.sha256
        if video.span is None:
            return (video.relative_path, sha256)
        return (
            video.relative_path,
            sha256,
            int(self._first_frames[video_id]),
            int(self._shard_sizes[video_id]),
        )

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
        made_at_first_use = {"_open", "videos", "source_order"}
        return {name: value for name, value in self.__dict__.items() if name not in made_at_first_use}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open = self._open_none()

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order: (B, H, W, C) of `frame_dtype`, into `out` where given.

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
        """Write frame frame_ids[i] to outs[i], (H, W, C) of `frame_dtype`; otherwise as `read_frames`.

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
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        lines = self._lines_of(ids)
        return ids - (lines - self._starts.before(lines))

    def _lines_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        lines: npt.NDArray[np.int64] = ids + self._line_minus_id[self._index["video_id"][ids]]
        return lines

    def _read(self, ids: npt.NDArray[np.int64], outs: Outs) -> None:
        lines = self._lines_of(ids)
        order = np.argsort(lines, kind="stable")
        lines = lines[order]
        files = np.searchsorted(self._first_lines, lines, side="right") - 1
        bounds = np.flatnonzero(np.diff(files, prepend=-1, append=-1))
        for first, end in pairwise(bounds.tolist()):
            file = int(files[first])
            wanted = (lines[first:end] - self._first_lines[file]).tolist()
            try:
                self._read_file(file, wanted, order[first:end].tolist(), outs)
            except VideoError as error:
                raise self._naming_videos(error, ids[order[first:end]]) from error

    def _read_file(self, file: int, wanted: list[int], positions: list[int], outs: Outs) -> None:
        files = self._open_files()
        while True:
            try:
                with files.borrow(file) as video:
                    video.read(wanted, positions, outs)
            except OSError as error:
                if not is_out_of_files(error) or not files.close_oldest():
                    raise
            else:
                return

    def _naming_videos(self, error: VideoError, ids: npt.NDArray[np.int64]) -> VideoError:
        """The error of a file, with the wanted videos where these have names of their own."""
        videos = [self._sources[video_id] for video_id in np.unique(self._index["video_id"][ids]).tolist()]
        if all(video.file == video.relative_path for video in videos):
            return error
        names = ", ".join(video.relative_path for video in videos[:_MOST_NAMED])
        more = ", ..." if len(videos) > _MOST_NAMED else ""
        camera = "" if videos[0].camera is None else f" of camera {videos[0].camera!r}"
        return type(error)(error.path, f"{error.reason}; wanted were frames of {names}{more}{camera}")

    def close(self) -> None:
        """Close all videos. The next read reopens them."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_files(self) -> OpenFiles:
        # A forked child opens its own videos: a descriptor that it shares with the parent has one file position for
        # both.
        if self._open.pid != os.getpid():
            self._open = self._open_none()
        return self._open

    def _open_none(self) -> OpenFiles:
        return OpenFiles(self._make_file, self._max_open, max_idle_bytes=self._max_idle_bytes)

    def _make_file(self, file: int) -> LiveFile:
        _, scan = self._files[file]
        converter = converter_of(self._pixel, self._geometry, scan.facts.presentation.plain)
        return self._assemble_file(file, converter=converter, backend=CPU)

    def _assemble_file(self, file: int, *, converter: ConvertsFrames, backend: DecodeBackend) -> LiveFile:
        path, scan = self._files[file]
        first, end = self._first_lines[file : file + 2].tolist()
        return LiveFile(
            reader=VideoReader(path, scan, opens_quickly=True, backend=backend),
            packet_of_frame=self._packet_of_line[first:end],
            converter=converter,
            unit_starts=self._unit_starts[file],
            first_line=first,
            starts=self._starts,
            learned=self._learned[file],
        )


def _video_row(
    video: SourceVideo, facts: VideoFacts | VideoError, num_frames: int, *, first_frame: int
) -> VideoRow:
    if isinstance(facts, VideoError):
        return VideoRow(
            path=video.relative_path,
            verdict="unreadable",
            num_frames_stored=0,
            num_frames_decoded=0,
            width=None,
            height=None,
            fps=None,
            duration_seconds=None,
            transfer=None,
            sha256=None,
        )
    rate, span = facts.average_rate, video.span
    return VideoRow(
        path=video.relative_path,
        verdict=None,
        num_frames_stored=num_frames,
        num_frames_decoded=num_frames,
        width=facts.width,
        height=facts.height,
        fps=None if rate is None else rate[0] / rate[1],
        duration_seconds=facts.end_seconds_of_packets
        if span is None
        else span.to_seconds - span.from_seconds,
        transfer=facts.color_transfer,
        sha256=facts.sha256,
        first_frame_in_file=None if span is None else first_frame,
    )
