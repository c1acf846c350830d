"""A store that lacks some decoded frames, with the times of all of them; and what windows over it must show."""

import math
from dataclasses import replace

import numpy as np

from frame_store.source_order import SourceOrder, source_order_of_rows
from frame_store.video_table import VideoTable
from tests.support.caches.array_store import ArrayStore


class DecodedStore(ArrayStore):
    """`pts[v]` has the time of each decoded frame of video v, `stored[v]` the ordinals of the stored ones.

    Place i of the order of ids has the frame that would lie at place order[i] video by video.
    """

    def __init__(self, pts, stored, *, order=None, shard_sizes=None, frame_shape=(4, 6, 3)):
        sizes = [len(frames) for frames in stored]
        super().__init__(
            [sum(sizes)] if shard_sizes is None else shard_sizes, frame_shape=frame_shape, video_sizes=sizes
        )
        self.pts, self.stored = pts, stored
        index = self._index.copy()
        index["video_id"] = np.repeat(np.arange(len(sizes)), sizes)
        index["frame_in_video"] = [frame for frames in stored for frame in frames]
        index["pts_seconds"] = [pts[video][frame] for video, frames in enumerate(stored) for frame in frames]
        self._index = index if order is None else index[np.asarray(order)]
        self._index["shard_id"] = np.repeat(np.arange(len(self._shard_sizes)), self._shard_sizes)
        plain = source_order_of_rows(
            self._index["video_id"], self._index["frame_in_video"], num_decoded=[len(times) for times in pts]
        )
        self._source_order = SourceOrder(
            first_row=plain.first_row,
            first_stored=plain.first_stored,
            order=plain.order,
            source_frames=plain.source_frames,
            source_pts=np.array([time for times in pts for time in times], np.float64),
        )

    source_order = property(lambda self: self._source_order)

    @property
    def videos(self):
        rows = []
        for video, frames in enumerate(self.stored):
            like = ArrayStore([1]).videos[0]
            rows.append(
                replace(
                    like,
                    path=f"{video:03}.mp4",
                    num_frames_stored=len(frames),
                    num_frames_decoded=len(self.pts[video]),
                )
            )
        return VideoTable(rows)


def expected_window(store, frame_id, spec):
    """(ids and pads of the frames, {column: (rows, pads)}): a loop over the frames of the anchor's video."""
    row = store.rows_of([frame_id])[0]
    video, anchor = int(row["video_id"]), int(row["frame_in_video"])
    pts, stored = store.pts[video], store.stored[video]
    ids = dict(zip(stored, store.ids_of_video(video).tolist(), strict=True))

    def counted(frames, offset):
        wanted = frames.index(anchor) + offset
        found = min(max(wanted, 0), len(frames) - 1)
        return frames[found], found != wanted

    def timed(frames, offset):
        if offset == 0 or math.isnan(pts[anchor]):
            return anchor, offset != 0
        times = sorted((pts[frame], frame) for frame in frames if not math.isnan(pts[frame]))
        distance, _, found = min(
            (round(abs(time - pts[anchor] - offset), 9), time, frame) for time, frame in times
        )
        mean = (times[-1][0] - times[0][0]) / max(len(times) - 1, 1)
        limit = mean / 2 if spec.tolerance_seconds is None else spec.tolerance_seconds
        return found, distance > limit + 1e-9

    shown = None
    for offsets, find in ((spec.frame_offsets, counted), (spec.frame_offsets_seconds, timed)):
        if offsets is not None:
            shown = [find(stored, offset) for offset in offsets]
    columns = {}
    every = list(range(len(pts)))
    for of_columns, find in ((spec.column_offsets, counted), (spec.column_offsets_seconds, timed)):
        for name, offsets in of_columns.items():
            found = [find(every, offset) for offset in offsets]
            first = sum(map(len, store.pts[:video]))
            columns[name] = [first + frame for frame, _ in found], [is_pad for _, is_pad in found]
    if shown is None:
        return ([int(frame_id)], [False]), columns
    return ([ids[frame] for frame, _ in shown], [is_pad for _, is_pad in shown]), columns


def is_whole(store, frame_id, spec):
    """Whether no frame and no row of the window stands for another."""
    (_, pads), columns = expected_window(store, frame_id, spec)
    return not (any(pads) or any(is_pad for _, of_column in columns.values() for is_pad in of_column))
