"""From anchors to requests: a pure function of the source order, the offsets and the anchors."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore, check_frame_ids
from frame_store.views import base_of, cache_ids_of
from loader.sampling.orders import Int64s
from loader.windows.request import BatchRequest, Bools
from loader.windows.spec import WindowSpec


class Windows:
    """Makes the `BatchRequest` of any anchors. Threads may share it, and it pickles with the store."""

    def __init__(
        self, store: FrameStore, spec: WindowSpec | None = None, *, columns: Collection[str] = ()
    ) -> None:
        """Prepare.

        Args:
            store: the anchors are its frames. Windows are resolved in its base, so a view restricts the anchors, and
                not what their windows show.
            spec: the offsets; None shows the anchors alone.
            columns: names of all columns that a batch has.

        Raises:
            SamplingError: offsets of a column that is not among `columns`.
        """
        self.spec = WindowSpec() if spec is None else spec
        self.spec.check_columns(columns)
        self._store = store
        self._base = base_of(store)
        self._needs_rows = self.spec.has_windows or bool(columns)

    @property
    def store(self) -> FrameStore:
        """The store whose frames are anchors."""
        return self._store

    @property
    def base(self) -> FrameStore:
        """The store that frames are read from."""
        return self._base

    def request(self, frame_ids: npt.ArrayLike) -> BatchRequest:
        """The request of the anchors `frame_ids`, ids of `store`, shape (B,).

        Raises:
            FrameIdError: an id outside of the store.
            StoreDamagedError: the store cannot give the rows of an anchor.
        """
        if np.ndim(frame_ids) == 2:  # clips, until they are windows
            clips = np.asarray(frame_ids, np.int64)
            is_pad = np.zeros(clips.shape, bool)
            return BatchRequest(
                frame_ids=clips[:, 0], anchor_cache_ids=clips[:, 0], cache_ids=clips, frame_is_pad=is_pad
            )
        ids = check_frame_ids(np.asarray(frame_ids), num_frames=len(self._store))
        anchors = cache_ids_of(self._store, ids)
        if not self._needs_rows:
            return BatchRequest(frame_ids=ids, anchor_cache_ids=anchors, cache_ids=anchors)
        rows = self._base.rows_of(anchors)
        videos, frames = rows["video_id"].astype(np.int64), rows["frame_in_video"].astype(np.int64)
        order = self._base.source_order
        request: dict[str, Any] = {"video_ids": videos, "anchor_rows": order.rows_of(videos, frames)}
        request["cache_ids"] = anchors
        if self.spec.frame_offsets is not None:
            places, is_pad = _clipped(
                order.places_of(videos, frames),
                np.array(self.spec.frame_offsets),
                first=order.first_stored[videos],
                end=order.first_stored[videos + 1],
            )
            request["cache_ids"], request["frame_is_pad"] = order.ids_at(places), is_pad
        column_rows, column_is_pad = {}, {}
        for name, offsets in self.spec.column_offsets.items():
            column_rows[name], column_is_pad[name] = _clipped(
                request["anchor_rows"],
                np.array(offsets),
                first=order.first_row[videos],
                end=order.first_row[videos + 1],
            )
        return BatchRequest(
            frame_ids=ids,
            anchor_cache_ids=anchors,
            column_rows=column_rows,
            column_is_pad=column_is_pad,
            **request,
        )


def _clipped(anchors: Int64s, offsets: Int64s, *, first: Int64s, end: Int64s) -> tuple[Int64s, Bools]:
    """anchors + offsets inside [first, end) of each anchor, and which of them lay outside: shape (B, K)."""
    wanted = anchors[:, None] + offsets
    inside = np.clip(wanted, first[:, None], end[:, None] - 1)
    return inside, inside != wanted
