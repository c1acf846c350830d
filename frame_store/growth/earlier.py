"""The first built generations of a cache, as the cache was when they were all of it."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from frame_store.column_files import open_columns
from frame_store.columns import Columns
from frame_store.index import FrameIndex
from frame_store.manifest import CacheTree, PartEntry, VideoEntry, joined_fingerprint, shard_sizes_of_parts
from frame_store.protocol import FrameIds, FrameRows, Frames, check_frame_ids
from frame_store.reader import CacheStore, ContentOrders
from frame_store.shared import counted
from frame_store.source_order import Int64s, PtsOfRows, SourceOrder, rows_of_key
from frame_store.video_table import VideoTable


class EarlierStore(CacheStore):
    """The frames of the first parts of a cache, with the ids, the fingerprint and the shards that they had then.

    Frames are read from the files of the cache as it is now, so `shard_id` of a row is the shard of that time, and
    `byte_offset` and `slot` are those of now. Columns are those of the open generations; rows behind the last frame
    belong to later videos.
    """

    generation_frames: tuple[int, ...]
    """Frames of each generation of that time."""

    @classmethod
    def of_store(cls, store: CacheStore, num_parts: int, *, generation_frames: Sequence[int]) -> Self:
        """The first `num_parts` parts of `store`.

        Args:
            store: an open cache.
            num_parts: of `store.tree.parts`.
            generation_frames: frames of each generation at that time. Their sum is that of the parts, and each
                generation consists of whole parts (see `groups_of_parts`).
        """
        tree = store.tree
        earlier = cls.of_tree(
            _tree_with(tree, sum(part.num_frames for part in tree.parts[:num_parts])),
            reads=store.reads,
            verify_reads=store.verify_reads,
        )
        earlier._take(num_parts, tuple(generation_frames))
        return earlier

    def _take(self, num_parts: int, generation_frames: tuple[int, ...]) -> None:
        self.generation_frames = generation_frames
        self._parts = self.tree.parts[:num_parts]
        self._num_frames = sum(part.num_frames for part in self._parts)
        self._num_videos = sum(part.num_videos for part in self._parts)
        common = self.tree.common
        self._shard_sizes = np.concatenate(
            [
                shard_sizes_of_parts(
                    group, container=common.container, frames_per_shard=common.frames_per_shard
                )
                for group in groups_of_parts(self._parts, generation_frames)
            ]
        )
        self._shard_sizes.flags.writeable = False
        self._shard_ends = np.cumsum(self._shard_sizes)
        self._order_then: tuple[SourceOrder, SourceOrder] | None = None
        """The source order of all open generations, and what was there of it."""
        self._orders_then = ContentOrders(self.tree, num_frames=self._num_frames)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "num_parts": len(self._parts),
            "generation_frames": self.generation_frames,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._take(state["num_parts"], state["generation_frames"])

    def __len__(self) -> int:
        return self._num_frames

    def __repr__(self) -> str:
        return f"EarlierStore({counted(len(self), 'frame')}, the first ones of {super().__repr__()})"

    @property
    def parts(self) -> tuple[PartEntry, ...]:
        """The built generations that the cache consisted of."""
        return self._parts

    @property
    def fingerprint(self) -> str:
        """As the cache had it then."""
        return joined_fingerprint([part.fingerprint for part in self._parts])

    @property
    def shard_sizes(self) -> Int64s:
        """Frames per shard of that time, shape (S,)."""
        return self._shard_sizes

    @cached_property
    def video_entries(self) -> list[VideoEntry]:
        """As of `CacheStore`, of the videos of that time."""
        return list(self._stream_videos())

    @cached_property
    def videos(self) -> VideoTable:
        """As of `CacheStore`, of the videos of that time."""
        return VideoTable(entry.row for entry in self._stream_videos())

    def _stream_videos(self) -> Iterator[VideoEntry]:
        return islice(self.tree.stream_videos(), self._num_videos)

    @property
    def stored_index(self) -> FrameIndex:
        """As of `CacheStore`, of the frames of that time; `shard_id` is the shard of now."""
        return super().stored_index[: len(self)]

    @property
    def forgotten_videos(self) -> Int64s:
        """As of `CacheStore`, of the videos of that time: those that are forgotten now."""
        forgotten = super().forgotten_videos
        return forgotten[forgotten < self._num_videos]

    @property
    def source_order(self) -> SourceOrder:
        """As of `CacheStore`, of the videos of that time."""
        order = super().source_order  # looks at the files each time
        known = self._order_then
        if known is None or known[0] is not order:
            known = self._order_then = order, self._first_of(order)
        return known[1]

    def _first_of(self, order: SourceOrder) -> SourceOrder:
        num_videos, num_frames = self._num_videos, self._num_frames
        first_row = order.first_row[: num_videos + 1]
        pts = order.source_pts
        return SourceOrder(
            first_row=first_row,
            first_stored=order.first_stored[: num_videos + 1],
            order=None if order.order is None else order.order[:num_frames],
            source_frames=None if order.source_frames is None else order.source_frames[:num_frames],
            source_pts=None if pts is None else FirstPts(pts, int(first_row[-1])),
            label=order.label,
        )

    @cached_property
    def columns(self) -> Columns:
        """The columns of the open generations."""
        return open_columns(self.tree, first_row=super().source_order.first_row)

    @property
    def content_order(self) -> npt.NDArray[np.uint32] | None:
        """As of `CacheStore`, of the frames of that time, in the orders of now."""
        return self._orders_then.array

    @property
    def content_digest(self) -> str | None:
        """As of `CacheStore`. It is what it was then, unless an order was written anew since."""
        return self._orders_then.digest

    def frame_ids_of(self, shard_id: int) -> range:
        """Ids of the frames that a shard of that time had."""
        end = int(self._shard_ends[shard_id])
        return range(end - int(self._shard_sizes[shard_id]), end)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """As of `CacheStore`; `shard_id` is the shard of that time."""
        return self._with_shards(super().rows_of(frame_ids), frame_ids)

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """`read_frames` and `rows_of`."""
        frames, rows = super().read_frames_and_rows(frame_ids, out)
        return frames, self._with_shards(rows, frame_ids)

    def _with_shards(self, rows: FrameRows, frame_ids: FrameIds) -> FrameRows:
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        rows["shard_id"] = np.searchsorted(self._shard_ends, ids, side="right")
        return rows


class FirstPts:
    """Implements `PtsOfRows`: the first rows of others, which are not copied."""

    def __init__(self, pts: PtsOfRows, num_rows: int) -> None:
        self._pts, self._num_rows = pts, num_rows

    @property
    def shape(self) -> tuple[int]:
        """(R,)."""
        return (self._num_rows,)

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, key: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401 - as numpy's
        """The pts at a slice, or at an array of rows."""
        rows = rows_of_key(key, num_rows=self._num_rows)
        return np.asarray(self._pts[slice(rows.start, rows.stop) if isinstance(rows, range) else rows])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All of them."""
        return np.asarray(self[:], dtype)


def groups_of_parts(parts: Sequence[PartEntry], generation_frames: Sequence[int]) -> list[list[PartEntry]]:
    """The parts of each generation; empty where the generations do not consist of exactly these parts."""
    groups: list[list[PartEntry]] = []
    rest = list(parts)
    for num_frames in generation_frames:
        group: list[PartEntry] = []
        while rest and sum(part.num_frames for part in group) < num_frames:
            group.append(rest.pop(0))
        if not group or sum(part.num_frames for part in group) != num_frames:
            return []
        groups.append(group)
    return [] if rest else groups


def _tree_with(tree: CacheTree, num_frames: int) -> CacheTree:
    """The generations up to the one with the last of `num_frames` frames."""
    ends = [each.entry.end_frame for each in tree.generations]
    return tree.up_to(next(number for number, end in enumerate(ends) if end >= num_frames))
