"""A view: some frames of a store, as a store of their own."""

import hashlib
import operator
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from frame_store.columns import NO_COLUMNS, Columns
from frame_store.errors import FrameIdError, ViewError
from frame_store.frame_sequence import FrameSequence
from frame_store.names import PixelDtype
from frame_store.protocol import FrameIds, FrameRows, Frames, FrameStore, check_frame_ids, frames_ahead
from frame_store.shared import counted_in_groups
from frame_store.source_order import Int64s, PtsOfRows, SourceOrder
from frame_store.video_table import VideoTable
from frame_store.views.content import digest_of_orders, order_of_view
from frame_store.views.selection import NOT_SELECTED, Selection, digest_of

_PLACES_AT_ONCE: Final = 1 << 20


class View(FrameSequence):
    """Some frames of a store, with dense ids in the order of the store's ids. Implements `FrameStore`.

    Frames are read from `base`, a store that is no view. A loader reads them there itself, by `cache_ids`, and so keeps
    what the base can do beside `FrameStore`. The view keeps ranges of ids, or 4 bytes a frame where that is less (8
    where the base has 2**32 frames or more): O(videos) where the base has its frames video by video.

    `select`, `split` and `concat` make views.
    """

    def __init__(
        self, base: FrameStore, selection: Selection, *, video_ids: Int64s, frames_of_video: Int64s
    ) -> None:
        """Of the frames `selection` of `base`.

        Args:
            base: no view.
            selection: frame ids of the base.
            video_ids: rows of `base.videos` that the view has, ascending, int64, shape (V,).
            frames_of_video: frames of each of them in the view, shape (V,).
        """
        self._base = base
        self._selection = selection
        self._video_ids = _read_only(video_ids)
        self._frames_of_video = frames_of_video
        self._count_shards()

    def _count_shards(self) -> None:
        shard_ends = np.cumsum(self._base.shard_sizes)
        sizes = np.diff(self._selection.num_below(shard_ends), prepend=0)
        self._shard_ids = np.flatnonzero(sizes)
        """The base's shards that hold frames of the view, ascending."""
        self._shard_sizes = _read_only(sizes[self._shard_ids])

    @property
    def base(self) -> FrameStore:
        """The store that the frames come from, never a view: a cache, a live store, a group or a concatenation."""
        return self._base

    @property
    def selection(self) -> Selection:
        """The frame ids of the base that the view has."""
        return self._selection

    @property
    def video_ids(self) -> Int64s:
        """The view's videos as rows of `base.videos`: int64, shape (V,), ascending."""
        return self._video_ids

    @property
    def frames_of_video(self) -> Int64s:
        """Frames of each video in the view: int64, shape (V,)."""
        return self._frames_of_video

    def cache_ids(self, frame_ids: npt.ArrayLike) -> Int64s:
        """The base's ids of frames of the view: int64 of the same shape.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: not integers.
        """
        ids = np.asarray(frame_ids)
        checked = check_frame_ids(ids.reshape(-1), num_frames=len(self))
        return self._selection.ids_at(checked).reshape(ids.shape)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self._base.frame_shape

    @property
    def frame_dtype(self) -> PixelDtype:
        """As the base."""
        return self._base.frame_dtype

    @property
    def shard_sizes(self) -> Int64s:
        """Frames of the view in each shard of the base that holds some, shape (S,)."""
        return self._shard_sizes

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the base's fingerprint and of the ids; the same however the view was made."""
        identity = f"view {self._base.fingerprint} {digest_of(self._selection)}"
        return hashlib.sha256(identity.encode()).hexdigest()

    @cached_property
    def videos(self) -> VideoTable:
        """The view's videos. `num_frames_stored` counts the frames of the view."""
        table = self._base.videos
        pairs = zip(self._video_ids.tolist(), self._frames_of_video.tolist(), strict=True)
        return VideoTable(
            row if row.num_frames_stored == held else replace(row, num_frames_stored=held)
            for row, held in ((table[video_id], held) for video_id, held in pairs)
        )

    @cached_property
    def source_order(self) -> SourceOrder:
        """See `FrameStore`. It is copied out of the base's at its first use; loaders look into the base's."""
        base, videos = self._base.source_order, self._video_ids
        first_row, end_row = base.first_row[videos], base.first_row[videos + 1]
        # Whether the view has every decoded frame of its videos.
        is_whole = int((end_row - first_row).sum()) == len(self)
        return SourceOrder(
            first_row=np.append(0, np.cumsum(end_row - first_row)),
            first_stored=np.append(0, np.cumsum(self._frames_of_video)),
            order=self.ids_by_video,
            source_frames=None if is_whole else _frames_of(self),
            source_pts=None if base.source_pts is None else _cut_out(base.source_pts, first_row, end_row),
        )

    @cached_property
    def ids_by_video(self) -> npt.NDArray[Any] | None:
        """Ids in source order, shape (N,), 4 bytes each; None if they are in source order already."""
        if self._base.source_order.order is None:
            return None
        ids = np.concatenate([own for own, _ in _held_places(self)])
        return None if (ids == np.arange(len(ids))).all() else ids

    @cached_property
    def content_order(self) -> npt.NDArray[Any] | None:
        """The view's ids in the content order of the base; see `content_ids`."""
        return order_of_view(self._base, self._selection)

    @property
    def content_digest(self) -> str | None:
        """SHA-256, hex, that identifies the content order; None without one."""
        of_base: str | None = getattr(self._base, "content_digest", None)
        return digest_of_orders("view", [of_base], digest_of(self._selection)) if of_base else None

    @property
    def columns(self) -> Columns:
        """The columns of the base: rows and video_ids are those of the base."""
        columns: Columns = getattr(self._base, "columns", NO_COLUMNS)
        return columns

    @property
    def dataset(self) -> Mapping[str, Any] | None:
        """What the data set that the videos come from states about itself: that of the base."""
        dataset: Mapping[str, Any] | None = getattr(self._base, "dataset", None)
        return dataset

    @property
    def frames_ahead(self) -> int:
        """As of the base. See `frame_store.protocol.frames_ahead`."""
        return frames_ahead(self._base)

    @property
    def may_cross_fork(self) -> bool:
        """As the base."""
        return self._base.may_cross_fork

    def __len__(self) -> int:
        return len(self._selection)

    def __repr__(self) -> str:
        frames = counted_in_groups(len(self._base), "frame")
        videos = counted_in_groups(self._base.source_order.num_videos, "video")
        return f"View({len(self):,} of {frames}, {len(self._video_ids):,} of {videos}, of {self._base!r})"

    def __getstate__(self) -> dict[str, Any]:
        made = {
            "videos",
            "source_order",
            "ids_by_video",
            "content_order",
            "_shard_ids",
            "_shard_sizes",
        }  # they are made again
        return {name: value for name, value in self.__dict__.items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._count_shards()  # the copy of a cache whose version was removed has shards that were cut anew

    def ids_of_video(self, video_id: int) -> Int64s:
        """Ids of the video's frames in time order: int64, shape (n,).

        Raises:
            FrameIdError: a video outside [0, V).
        """
        video_id = checked_video_id(video_id, num_videos=len(self._video_ids))
        positions = self._selection.positions_of(self._base.ids_of_video(int(self._video_ids[video_id])))
        ids: Int64s = positions[positions != NOT_SELECTED]
        return ids

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""
        return self._base.read_frames(self._checked(frame_ids), out)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`. `video_id` is the row of `videos`, `shard_id` that of `shard_sizes`."""
        return self.own_rows(self._base.rows_of(self._checked(frame_ids)))

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """See `FrameStore`."""
        frames, rows = self._base.read_frames_and_rows(self._checked(frame_ids), out)
        return frames, self.own_rows(rows)

    def own_rows(self, rows: FrameRows) -> FrameRows:
        """Rows that the base gave for frames of the view, with the view's `video_id` and `shard_id`."""
        own = rows.copy()
        own["video_id"] = np.searchsorted(self._video_ids, rows["video_id"])
        own["shard_id"] = np.searchsorted(self._shard_ids, rows["shard_id"])
        return own

    def close(self) -> None:
        """Close the base."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, frame_ids: FrameIds) -> Int64s:
        return self._selection.ids_at(check_frame_ids(frame_ids, num_frames=len(self)))


def check_is_store(store: object, *, taker: str) -> None:
    """Refuse what is no open store, such as the path of a cache.

    Raises:
        ViewError: `taker`, the name of a function, was given something else.
    """
    if not isinstance(store, FrameStore):
        raise ViewError(
            f"{taker} takes an open store, such as frame_store.open_store(path) gives, found {store!r}"
        )


def base_of(store: FrameStore) -> FrameStore:
    """The store that a view's frames come from; another store is its own base.

    The base of a view of a group of cameras is that `CameraGroup`.
    """
    return store.base if isinstance(store, View) else store


def cache_ids_of(store: FrameStore, frame_ids: npt.ArrayLike) -> Int64s:
    """The ids that frames of `store` have in `base_of(store)`: int64 of the same shape.

    Raises:
        FrameIdError: an id outside [0, len(store)).
        ValueError: not integers.
    """
    if isinstance(store, View):
        return store.cache_ids(frame_ids)
    ids = np.asarray(frame_ids)
    return check_frame_ids(ids.reshape(-1), num_frames=len(store)).reshape(ids.shape)


def frames_per_video(store: FrameStore) -> Int64s:
    """Frames of each video of `store`: int64, shape (V,)."""
    return store.frames_of_video if isinstance(store, View) else np.diff(store.source_order.first_stored)


def is_video_by_video(store: FrameStore) -> bool:
    """Whether the frame ids run through the videos in the order of their table, and in time order through each."""
    return base_of(store).source_order.order is None


def ids_by_video(store: FrameStore) -> npt.NDArray[Any] | None:
    """Ids in source order, whole numbers, shape (N,); None if they are in source order already."""
    return store.ids_by_video if isinstance(store, View) else store.source_order.order


def frame_ids_of(store: FrameStore, cache_ids: Int64s) -> Int64s:
    """The ids that frames of `base_of(store)` have in `store`: int64 of the same shape.

    A frame that the view does not have gets `frame_store.views.selection.NOT_SELECTED`, which is -1.
    """
    return store.selection.positions_of(cache_ids) if isinstance(store, View) else cache_ids


def own_rows_of(store: FrameStore, rows: FrameRows) -> FrameRows:
    """Rows of `base_of(store)` with the `video_id` of `store.videos`.

    The frames are of videos that the store has. A view may lack the frames themselves.
    """
    return store.own_rows(rows) if isinstance(store, View) else rows


def checked_video_id(video_id: int, *, num_videos: int) -> int:
    """The row of a video.

    Raises:
        FrameIdError: outside [0, num_videos).
    """
    row = operator.index(video_id)
    if not 0 <= row < num_videos:
        raise FrameIdError(f"video {row} is outside [0, {num_videos})")
    return row


def places_between(first: Int64s, end: Int64s) -> Int64s:
    """The numbers of all ranges [first[r], end[r]), one range after the other: int64, shape (sum of lengths,)."""
    lengths = end - first
    places: Int64s = np.arange(int(lengths.sum())) + np.repeat(
        first - (np.cumsum(lengths) - lengths), lengths
    )
    return places


def _read_only(values: Int64s) -> Int64s:
    values.flags.writeable = False
    return values


def _frames_of(view: View) -> npt.NDArray[Any]:
    """`frame_in_video` of the view's frames in source order: uint32, shape (N,)."""
    base = view.base.source_order
    frames = []
    for _, places in _held_places(view):
        videos = np.searchsorted(base.first_stored, places, side="right") - 1
        frames.append(base.frames_at(places, videos).astype(np.uint32))
    return np.concatenate(frames)


def _held_places(view: View) -> Iterator[tuple[npt.NDArray[Any], Int64s]]:
    """The view's frames in source order, in blocks: their ids in the view, and their places in the base's order."""
    base, videos = view.base.source_order, view.video_ids
    id_dtype = np.uint32 if len(view) < 1 << 32 else np.int64
    first, end = base.first_stored[videos], base.first_stored[videos + 1]
    for some in _blocks(first, end):
        places = places_between(first[some], end[some])
        own = view.selection.positions_of(base.ids_at(places))
        is_held = own != NOT_SELECTED
        yield own[is_held].astype(id_dtype), places[is_held]


def _blocks(first: Int64s, end: Int64s) -> Iterator[slice]:
    """Neighbouring ranges that have together about `_PLACES_AT_ONCE` places, or a single longer one."""
    block = np.cumsum(end - first) // _PLACES_AT_ONCE
    edges = np.flatnonzero(np.diff(block)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(first)], strict=True):
        yield slice(start, stop)


def _cut_out(values: PtsOfRows, first: Int64s, end: Int64s) -> npt.NDArray[np.float64]:
    """The values of all ranges; no copy where the ranges are one stretch."""
    if not len(first):
        return np.zeros(0)
    if (first[1:] == end[:-1]).all():
        return np.asarray(values[first[0] : end[-1]])
    return np.concatenate([values[start:stop] for start, stop in zip(first, end, strict=True)])
