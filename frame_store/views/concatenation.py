"""Several stores as one, one after the other."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from frame_store.columns import NO_COLUMNS, Columns, concat_columns
from frame_store.errors import ViewError
from frame_store.frame_sequence import FrameSequence
from frame_store.names import PIXEL_DTYPE, PixelDtype
from frame_store.protocol import (
    DecodesInGroups,
    Feed,
    FrameIds,
    FrameRows,
    Frames,
    FrameStore,
    HoldsEncodedFrames,
    PrefetchingStore,
    check_frame_ids,
    check_out,
    check_outs,
    frames_ahead,
)
from frame_store.shared import counted, counted_in_groups
from frame_store.source_order import Int64s, SourceOrder, joined_order, starts_of
from frame_store.video_table import VideoTable
from frame_store.views.content import digest_of_orders, order_of_parts
from frame_store.views.part_feeds import PartFeeds
from frame_store.views.view import checked_video_id


def concatenation_of(stores: Sequence[FrameStore], names: Sequence[str]) -> "Concatenation":
    """Stores that are no views, one after the other, as one store; `names` are those of the stores, for messages.

    Raises:
        ViewError: frames of different shapes or types of pixels.
        ColumnError: one column with another scope, dtype or shape in two stores.
    """
    for store, name in zip(stores, names, strict=True):
        if store.frame_dtype != stores[0].frame_dtype:
            raise ViewError(
                f"frames of one type of pixels can be concatenated: {names[0]} has {_pixels_of(stores[0])}, "
                f"{name} has {_pixels_of(store)}"
            )
        if store.frame_shape != stores[0].frame_shape:
            raise ViewError(
                f"frames of one shape can be concatenated: {names[0]} has {stores[0].frame_shape}, "
                f"{name} has {store.frame_shape}"
            )
    kind = Concatenation
    if all(isinstance(store, DecodesInGroups) for store in stores):
        kind = _ConcatenationInGroups
    elif all(isinstance(store, HoldsEncodedFrames) for store in stores) and (
        len({cast("HoldsEncodedFrames", store).encoding_name for store in stores}) == 1
    ):
        kind = _EncodedConcatenation
    joined = kind(stores)
    joined._join_columns()  # refuses columns that do not fit
    return joined


def _pixels_of(store: FrameStore) -> str:
    """Such as `rgb8 (uint8)`."""
    names = [name for name, dtype in PIXEL_DTYPE.items() if dtype == store.frame_dtype]
    return f"{names[0]} ({store.frame_dtype})"


class Concatenation(FrameSequence):
    """Stores one after the other. Implements `FrameStore` and `PrefetchingStore`. `concat` makes it."""

    def __init__(self, parts: Sequence[FrameStore]) -> None:
        """Of `parts`, which are no views and have frames of one shape."""
        self._parts = tuple(parts)
        self._first_ids = starts_of([len(part) for part in parts])
        self._first_videos = starts_of([part.source_order.num_videos for part in parts])
        self._first_shards = starts_of([len(part.shard_sizes) for part in parts])
        self._shard_sizes = np.concatenate([part.shard_sizes for part in parts]).astype(np.int64)
        self._shard_sizes.flags.writeable = False

    @property
    def parts(self) -> tuple[FrameStore, ...]:
        """The stores, none of them a view."""
        return self._parts

    @property
    def first_ids(self) -> Int64s:
        """Frames before each part: int64, shape (P + 1,)."""
        return self._first_ids

    @property
    def first_videos(self) -> Int64s:
        """Videos before each part: int64, shape (P + 1,)."""
        return self._first_videos

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self._parts[0].frame_shape

    @property
    def frame_dtype(self) -> PixelDtype:
        """Of all parts."""
        return self._parts[0].frame_dtype

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, part after part, shape (S,)."""
        return self._shard_sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the parts' fingerprints."""
        identity = " ".join(["concat", *(part.fingerprint for part in self._parts)])
        return hashlib.sha256(identity.encode()).hexdigest()

    @cached_property
    def videos(self) -> VideoTable:
        """The videos of the parts, under the paths that they have there."""
        return VideoTable(chain.from_iterable(part.videos for part in self._parts))

    @cached_property
    def source_order(self) -> SourceOrder:
        """See `FrameStore`. All but the pts is copied out of the parts' at its first use."""
        return joined_order([part.source_order for part in self._parts])

    @cached_property
    def content_order(self) -> npt.NDArray[Any] | None:
        """Ids in the content orders of the parts, one after another; see `content_ids`."""
        return order_of_parts(self._parts, self._first_ids)

    @property
    def content_digest(self) -> str | None:
        """SHA-256, hex, that identifies the content order; None without one."""
        return digest_of_orders("concat", [getattr(part, "content_digest", None) for part in self._parts])

    @cached_property
    def columns(self) -> Columns:
        """The columns that all parts have."""
        return self._join_columns()[0]

    @property
    def dropped_columns(self) -> list[str]:
        """Names of columns that some parts have and others lack. They are left out; a loader says so."""
        return self._join_columns()[1]

    def _join_columns(self) -> tuple[Columns, list[str]]:
        columns: list[Columns] = [getattr(part, "columns", NO_COLUMNS) for part in self._parts]
        return concat_columns(columns, fingerprint=self.fingerprint)

    @property
    def may_cross_fork(self) -> bool:
        """Whether all parts may."""
        return all(part.may_cross_fork for part in self._parts)

    def __len__(self) -> int:
        return int(self._first_ids[-1])

    def __repr__(self) -> str:
        frames = counted_in_groups(len(self), "frame")
        return f"Concatenation({frames} of {counted(len(self._parts), 'store')}: {list(self._parts)!r})"

    def __getstate__(self) -> dict[str, Any]:
        made = {
            "videos",
            "source_order",
            "columns",
            "content_order",
        }  # they are made again where they are asked for
        return {name: value for name, value in self.__dict__.items() if name not in made}

    def ids_of_video(self, video_id: int) -> Int64s:
        """See `FrameStore`."""
        video = checked_video_id(video_id, num_videos=int(self._first_videos[-1]))
        part = int(np.searchsorted(self._first_videos, video, side="right")) - 1
        ids: Int64s = self._parts[part].ids_of_video(int(video - self._first_videos[part]))
        return ids + int(self._first_ids[part])

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        out = check_out(out, num_frames=len(ids), store=self)
        for part, where, own in self._by_part(ids):
            if len(where) == len(ids):
                return self._parts[part].read_frames(own, out)
            out[where] = self._parts[part].read_frames(own)
        return out

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`. The rows have the fields that all parts have."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        rows = np.zeros(len(ids), self._row_dtype)
        for part, where, own in self._by_part(ids):
            self._put_rows(rows, part, where, self._parts[part].rows_of(own))
        return rows

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """See `FrameStore`."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        out = check_out(out, num_frames=len(ids), store=self)
        rows = np.zeros(len(ids), self._row_dtype)
        for part, where, own in self._by_part(ids):
            if len(where) == len(ids):
                _, own_rows = self._parts[part].read_frames_and_rows(own, out)
            else:
                out[where], own_rows = self._parts[part].read_frames_and_rows(own)
            self._put_rows(rows, part, where, own_rows)
        return out, rows

    @property
    def frames_ahead(self) -> int:
        """The largest number of a part. See `frame_store.protocol.frames_ahead`."""
        return max(map(frames_ahead, self._parts))

    def prefetch(self, frame_ids: FrameIds) -> bool:
        """See `PrefetchingStore`. Parts that do not prefetch are left out."""
        was_missing = False
        for number, _, own in self._by_part(check_frame_ids(frame_ids, num_frames=len(self))):
            part = self._parts[number]
            if isinstance(part, PrefetchingStore):
                was_missing |= part.prefetch(own)
        return was_missing

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> Feed | None:
        """See `FetchesShards`; None where no part fetches shards."""
        feeds = PartFeeds(self._parts, self._first_ids, upcoming, num_in_flight=num_in_flight)
        return feeds or None

    def close(self) -> None:
        """Close the parts."""
        for part in self._parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def _row_dtype(self) -> np.dtype[Any]:
        nothing = np.zeros(0, np.int64)
        dtypes = [part.rows_of(nothing).dtype for part in self._parts]
        names = [
            name for name in dtypes[0].names or () if all(name in (dtype.names or ()) for dtype in dtypes)
        ]
        return np.dtype([(name, dtypes[0][name]) for name in names])

    def _by_part(self, ids: Int64s) -> Iterator[tuple[int, Int64s, Int64s]]:
        """Each part that the ids are of, where they stand among `ids`, and their ids in the part."""
        part_of = np.searchsorted(self._first_ids, ids, side="right") - 1
        for part in np.unique(part_of).tolist():
            where = np.flatnonzero(part_of == part)
            yield part, where, ids[where] - self._first_ids[part]

    def _put_rows(self, rows: FrameRows, part: int, where: Int64s, own: FrameRows) -> None:
        for name in rows.dtype.names or ():
            rows[name][where] = own[name]
        rows["video_id"][where] += self._first_videos[part]
        rows["shard_id"][where] += self._first_shards[part]


class _ConcatenationInGroups(Concatenation):
    """Of stores that all decode in groups. Implements `DecodesInGroups`."""

    def decode_groups(self, frame_ids: FrameIds) -> npt.NDArray[np.int64]:
        """See `DecodesInGroups`."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        groups = np.empty(len(ids), np.int64)
        for number, where, own in self._by_part(ids):
            part = cast("DecodesInGroups", self._parts[number])
            groups[where] = part.decode_groups(own) + self._first_ids[number]
        return groups

    def read_frames_into(self, frame_ids: FrameIds, outs: Sequence[Frames]) -> None:
        """See `DecodesInGroups`."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        check_outs(outs, num_frames=len(ids), store=self)
        for number, where, own in self._by_part(ids):
            part = cast("DecodesInGroups", self._parts[number])
            part.read_frames_into(own, [outs[place] for place in where.tolist()])


class _EncodedConcatenation(Concatenation):
    """Of stores that all give frames in one encoding. Implements `HoldsEncodedFrames`."""

    @property
    def encoding_name(self) -> str:
        """See `HoldsEncodedFrames`."""
        return cast("HoldsEncodedFrames", self._parts[0]).encoding_name

    def read_encoded(self, frame_ids: FrameIds) -> list[npt.NDArray[np.uint8]]:
        """See `HoldsEncodedFrames`."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        payloads: list[npt.NDArray[np.uint8]] = [np.zeros(0, np.uint8)] * len(ids)
        for number, where, own in self._by_part(ids):
            part = cast("HoldsEncodedFrames", self._parts[number])
            for place, payload in zip(where.tolist(), part.read_encoded(own), strict=True):
                payloads[place] = payload
        return payloads
