"""From anchors to requests: a pure function of the source order, the offsets and the anchors."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore, check_frame_ids
from frame_store.views import base_of, cache_ids_of
from loader.sampling.orders import Int64s
from loader.windows.request import BatchRequest, Bools
from loader.windows.spec import WindowSpec
from loader.windows.times import TimeSearch


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What the windows of B anchors show, as places and rows of the base's source order."""

    places: Int64s | None
    """Shape (B, T); None without offsets of frames."""
    place_is_pad: Bools | None
    column_rows: Mapping[str, Int64s]
    """Shape (B, K) for each column with offsets."""
    column_is_pad: Mapping[str, Bools]

    @property
    def is_whole(self) -> Bools:
        """Which windows lie in their videos: shape (B,)."""
        pads = [*self.column_is_pad.values()]
        pads += [] if self.place_is_pad is None else [self.place_is_pad]
        return np.asarray(~np.concatenate(pads, axis=1).any(axis=1), np.bool_)


class Windows:
    """Makes the `BatchRequest` of any anchors. Threads may share it, and it pickles with the store."""

    def __init__(
        self, store: FrameStore, spec: WindowSpec | None = None, *, columns: Collection[str] = ()
    ) -> None:
        """Prepare.

        Args:
            store: the anchors are its frames. Windows are resolved in its base, so a view restricts the anchors, and
                not what their windows show.
            spec: the offsets; None shows the anchors alone. `spec.edges` decides which anchors there are
                (`loader.windows.anchors_with_whole_windows`), and nothing here.
            columns: names of all columns that a batch has.

        Raises:
            SamplingError: offsets of a column that is not among `columns`, or offsets in seconds where no video has
                pts.
        """
        self.spec = WindowSpec() if spec is None else spec
        self.spec.check_columns(columns)
        self._store = store
        self._base = base_of(store)
        # Without windows, columns are gathered at the rows that are read.
        self._needs_rows = self.spec.has_windows
        self._times: TimeSearch | None = None
        if self.spec.uses_seconds:
            self._time_search()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_times": None}  # made again in the process that needs it

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
        ids = check_frame_ids(np.asarray(frame_ids), num_frames=len(self._store))
        anchors = ids if self._store is self._base else cache_ids_of(self._store, ids)
        if not self._needs_rows:
            return BatchRequest(frame_ids=ids, anchor_cache_ids=anchors, cache_ids=anchors)
        rows = self._base.rows_of(anchors)
        videos, frames = rows["video_id"].astype(np.int64), rows["frame_in_video"].astype(np.int64)
        order = self._base.source_order
        shown = self.shown(videos, frames)
        return BatchRequest(
            frame_ids=ids,
            anchor_cache_ids=anchors,
            cache_ids=anchors if shown.places is None else order.ids_at(shown.places),
            frame_is_pad=shown.place_is_pad,
            video_ids=videos,
            anchor_rows=order.rows_of(videos, frames),
            column_rows=shown.column_rows,
            column_is_pad=shown.column_is_pad,
        )

    def shown(self, videos: Int64s, frames: Int64s) -> Shown:
        """What the windows of the stored frames `frames` (ordinals in their videos) of `videos` show: shape (B,)."""
        order, spec = self._base.source_order, self.spec
        rows = order.rows_of(videos, frames)
        places = place_is_pad = None
        if spec.has_frame_windows:
            anchors = order.places_of(videos, frames)
            if spec.frame_offsets is not None:
                places, place_is_pad = _clipped(anchors, spec.frame_offsets, videos, order.first_stored)
            else:
                assert spec.frame_offsets_seconds is not None  # one of the two is given
                places, place_is_pad = self._at_times(
                    videos, rows, spec.frame_offsets_seconds, anchors=anchors, finds_places=True
                )
        column_rows: dict[str, Int64s] = {}
        column_is_pad: dict[str, Bools] = {}
        for name, offsets in spec.column_offsets.items():
            column_rows[name], column_is_pad[name] = _clipped(rows, offsets, videos, order.first_row)
        for name, seconds in spec.column_offsets_seconds.items():
            column_rows[name], column_is_pad[name] = self._at_times(
                videos, rows, seconds, anchors=rows, finds_places=False
            )
        return Shown(
            places=places, place_is_pad=place_is_pad, column_rows=column_rows, column_is_pad=column_is_pad
        )

    def _at_times(
        self,
        videos: Int64s,
        rows: Int64s,
        offsets: tuple[float, ...],
        *,
        anchors: Int64s,
        finds_places: bool,
    ) -> tuple[Int64s, Bools]:
        """The frames nearest to pts + offset, and which of them are too far away. Offset 0 is the anchor itself."""
        search = self._time_search()
        wanted = search.pts_of(rows)[:, None] + np.array(offsets)
        nearest = search.nearest_places if finds_places else search.nearest_rows
        found, is_near = nearest(videos, wanted, tolerance=self.spec.tolerance_seconds)
        # A frame without pts has no time to search for: its anchor stands for the whole window.
        found = np.where(np.isnan(wanted), anchors[:, None], found)
        is_anchor = np.array(offsets) == 0
        return np.where(is_anchor, anchors[:, None], found), ~is_near & ~is_anchor

    def _time_search(self) -> TimeSearch:
        if self._times is None:
            self._times = TimeSearch(self._base.source_order)
        return self._times


def _clipped(
    anchors: Int64s, offsets: tuple[int, ...], videos: Int64s, first_of_video: Int64s
) -> tuple[Int64s, Bools]:
    """anchors + offsets, clipped to the anchor's video, and which of them lay outside: shape (B, K)."""
    wanted = anchors[:, None] + np.array(offsets, np.int64)
    first, end = first_of_video[videos][:, None], first_of_video[videos + 1][:, None]
    inside = np.clip(wanted, first, end - 1)
    return inside, inside != wanted
