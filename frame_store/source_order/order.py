"""Source order: the frames of a store video by video, and in time order within each video (FORMAT.md section 4.1).

Two countings run through it. A *row* is a decoded frame: row first_row[v] + k is frame k of video v, stored or not. A
*place* is a stored frame: the places first_stored[v] to first_stored[v + 1] - 1 are the stored frames of video v.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.errors import FrameIdError, StoreDamagedError
from frame_store.shared import counted

Int64s: TypeAlias = npt.NDArray[np.int64]

NO_PLACE: Final = -1
"""The place of a decoded frame that is not stored."""


class PtsOfRows(Protocol):
    """Pts of rows: an array of float64, shape (R,), or what reads as one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(R,)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401 - as numpy's
        """The pts at a slice, or at an array of rows."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceOrder:
    """The source order of a store of V videos, R decoded frames and N stored ones.

    Arrays may be mapped files; all but the first two may be a `DeferredArray`.
    """

    first_row: Int64s
    """Decoded frames before each video: int64, shape (V + 1,), from 0 to R."""
    first_stored: Int64s
    """Stored frames before each video: int64, shape (V + 1,), from 0 to N."""
    order: npt.NDArray[Any] | None = None
    """Frame id at each place: whole numbers, shape (N,). None where the id is the place."""
    source_frames: npt.NDArray[Any] | None = None
    """`frame_in_video` at each place, rising within a video: whole numbers, shape (N,). None where every decoded frame
    is stored."""
    source_pts: PtsOfRows | None = None
    """`pts_seconds` of every row, shape (R,), NaN where the source has none. None where they are not known."""
    label: str = ""
    """What stands before the name of a column in messages: the folder of its files, and a slash."""

    def __post_init__(self) -> None:
        """Check that the shapes fit together, and that each video has its frames."""
        for name in ("first_row", "first_stored"):
            starts = getattr(self, name)
            if starts.dtype != np.int64 or starts.ndim != 1 or not len(starts):
                raise ValueError(
                    f"{name} must be int64 of shape (V + 1,), found {starts.dtype} of {starts.shape}"
                )
            if starts[0] != 0 or (starts[1:] < starts[:-1]).any():
                raise ValueError(f"{name} must begin with 0 and never fall")
        if self.first_row.shape != self.first_stored.shape:
            raise ValueError(
                f"first_row and first_stored must have the same shape (V + 1,), found {self.first_row.shape} and "
                f"{self.first_stored.shape}"
            )
        has_more = np.diff(self.first_stored) > np.diff(self.first_row)
        if has_more.any():
            raise ValueError(f"video {int(np.argmax(has_more))} has more stored than decoded frames")
        for name, length in (
            ("order", self.num_stored),
            ("source_frames", self.num_stored),
            ("source_pts", self.num_rows),
        ):
            column = getattr(self, name)
            if column is not None and column.shape != (length,):
                raise ValueError(f"{name} must have shape ({length},), found {column.shape}")
        if self.source_frames is None and self.num_rows != self.num_stored:
            raise ValueError(
                f"source_frames is needed: {self.num_stored} of {counted(self.num_rows, 'decoded frame')} are stored"
            )

    @property
    def num_videos(self) -> int:
        """V."""
        return len(self.first_row) - 1

    @property
    def num_rows(self) -> int:
        """Decoded frames of all videos, R."""
        return int(self.first_row[-1])

    @property
    def num_stored(self) -> int:
        """Stored frames, N."""
        return int(self.first_stored[-1])

    def ids_of_video(self, video_id: int) -> Int64s:
        """Ids of the stored frames of a video in time order: int64, shape (n,).

        Raises:
            FrameIdError: no such video.
            StoreDamagedError: as `ids_at`.
        """
        if not 0 <= video_id < self.num_videos:
            raise FrameIdError(f"video {video_id} is outside [0, {self.num_videos})")
        return self.ids_at(
            np.arange(self.first_stored[video_id], self.first_stored[video_id + 1], dtype=np.int64)
        )

    def ids_at(self, places: Int64s) -> Int64s:
        """Frame ids at `places`, which lie in [0, N): int64 of the same shape.

        Raises:
            StoreDamagedError: `order` holds a number that is no frame id.
        """
        if self.order is None:
            return places
        ids: Int64s = self.order[places].astype(np.int64)
        if ids.size and int(ids.max()) >= self.num_stored:
            raise self._damaged("order", f"frame id {ids.max()} is outside [0, {self.num_stored})")
        return ids

    def frames_at(self, places: Int64s, video_ids: Int64s) -> Int64s:
        """`frame_in_video` at `places`, which belong to the videos `video_ids`: int64 of the same shape.

        Raises:
            StoreDamagedError: `source_frames` holds a frame that lies outside of its video.
        """
        if self.source_frames is None:
            return places - self.first_stored[video_ids]
        frames: Int64s = self.source_frames[places].astype(np.int64)
        outside = frames >= self._num_decoded(video_ids)
        if outside.any():
            raise self._damaged(
                "source_frames", f"place {_one_of(places, outside)} holds a frame outside of its video"
            )
        return frames

    def places_of(self, video_ids: Int64s, frame_in_video: Int64s) -> Int64s:
        """The place of each frame, or `NO_PLACE` where it is not stored. A frame outside of its video has no place.

        Args:
            video_ids: int64, each in [0, V).
            frame_in_video: int64, any numbers. The two shapes are broadcast, which also is the shape of the result.
        """
        places = self.places_from(video_ids, frame_in_video)
        if self.source_frames is None:
            is_stored = places == self.first_stored[video_ids] + frame_in_video
            is_stored &= places < self.first_stored[video_ids + 1]
        elif not self.num_stored:
            return np.full_like(places, NO_PLACE)
        else:
            is_stored = places < self.first_stored[video_ids + 1]
            is_stored &= self.source_frames.take(places, mode="clip") == frame_in_video
        return np.where(is_stored, places, NO_PLACE)

    def places_from(self, video_ids: Int64s, frame_in_video: Int64s) -> Int64s:
        """The first place of each video whose frame is `frame_in_video` or later; the video's end if none is.

        Shapes are as in `places_of`.
        """
        first, end = self.first_stored[video_ids], self.first_stored[video_ids + 1]
        if self.source_frames is None:
            places: Int64s = np.clip(first + frame_in_video, first, end)
            return places
        return _lower_bound(self.source_frames, first, end, frame_in_video)

    def rows_of(self, video_ids: Int64s, frame_in_video: Int64s) -> Int64s:
        """The row of each frame, stored or not: int64. Shapes are broadcast. The frames lie inside their videos."""
        rows: Int64s = self.first_row[video_ids] + frame_in_video
        return rows

    def _num_decoded(self, video_ids: Int64s) -> Int64s:
        counts: Int64s = self.first_row[video_ids + 1] - self.first_row[video_ids]
        return counts

    def _damaged(self, name: str, reason: str) -> StoreDamagedError:
        """The error for a wrong number in the column `name`."""
        return StoreDamagedError(f"{self.label}{name}.npy: {reason}; run cache-verify")


def _one_of(values: Int64s, is_wrong: npt.NDArray[np.bool_]) -> int:
    """The first wrong one."""
    return int(np.broadcast_to(values, is_wrong.shape)[is_wrong][0])


def _lower_bound(values: npt.NDArray[Any], first: Int64s, end: Int64s, wanted: Int64s) -> Int64s:
    """The first position in [first, end) whose value is not below `wanted`, else `end`; values rise in the range."""
    # `below` is the last position known to hold a smaller value. Steps halve, and one that would leave the range is
    # cut to its last position, so all searches take the same number of steps.
    shape = np.broadcast_shapes(first.shape, wanted.shape)
    below = np.array(np.broadcast_to(first - 1, shape))
    longest, last = int((end - first).max(initial=0)), end - 1
    step = 1 << longest.bit_length() >> 1
    while step:
        probe = np.minimum(below + step, last)
        np.copyto(below, probe, where=(values.take(probe, mode="clip") < wanted) & (probe > below))
        step >>= 1
    return below + 1


def source_order_of_rows(
    video_ids: npt.NDArray[Any], frame_in_video: npt.NDArray[Any], *, num_decoded: npt.ArrayLike
) -> SourceOrder:
    """The source order of frames in the order of their ids.

    Args:
        video_ids: video of each frame id, shape (N,).
        frame_in_video: its ordinal among the decoded frames of the video, shape (N,).
        num_decoded: decoded frames of each video, shape (V,).

    >>> order = source_order_of_rows(np.array([1, 0, 1]), np.array([4, 0, 2]), num_decoded=[1, 6])
    >>> order.ids_of_video(1).tolist(), order.first_row.tolist()
    ([2, 0], [0, 1, 7])

    Raises:
        ValueError: a frame lies outside of its video.
    """
    decoded = np.asarray(num_decoded, np.int64)
    if len(video_ids) and (
        int(video_ids.max()) >= len(decoded) or (frame_in_video >= decoded[video_ids]).any()
    ):
        raise ValueError("a frame lies outside of its video")
    order = np.lexsort((frame_in_video, video_ids))
    num_stored = np.bincount(video_ids, minlength=len(decoded))
    is_identity = bool((order == np.arange(len(order))).all())
    return SourceOrder(
        first_row=_starts(decoded),
        first_stored=_starts(num_stored),
        order=None if is_identity else order.astype(np.uint32),
        source_frames=None if decoded.sum() == len(order) else frame_in_video[order].astype(np.uint32),
    )


def _starts(counts: npt.NDArray[Any]) -> Int64s:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
