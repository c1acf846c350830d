"""Rows of columns for the anchors of a batch."""

from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.columns import Columns
from frame_store.errors import StoreDamagedError
from frame_store.protocol import FrameRows, FrameStore
from frame_store.shared import counted
from loader.sampling.orders import Int64s
from loader.windows import BatchRequest


class ColumnGatherer:
    """Gathers the columns of batches. Threads may share it, and it pickles with the store."""

    def __init__(self, base: FrameStore, columns: Columns) -> None:
        """Of the columns of `base`, a store that is no view."""
        self._base = base
        self._columns = columns

    def gather(self, request: BatchRequest, rows: FrameRows) -> dict[str, dict[str, npt.NDArray[Any]]]:
        """The fields `columns`, `column_is_pad` and `columns_valid` of a `FrameBatch`, as arrays by name.

        Args:
            request: what the batch shows.
            rows: of the frames shown, as the base gives them, in the order of `request.cache_ids`.

        Raises:
            StoreDamagedError: a file of the columns is missing or was cut, or the index leads out of the columns.
        """
        videos, anchors = request.video_ids, request.anchor_rows
        if videos is None or anchors is None:
            # Without windows, the frames shown are the anchors.
            videos, anchors = rows["video_id"], self._rows_of(rows)
        self._check(videos, anchors)
        columns: dict[str, npt.NDArray[Any]] = {}
        valid: dict[str, npt.NDArray[Any]] = {}
        for name, column in self._columns.items():
            positions = videos if column.scope == "video" else request.column_rows.get(name, anchors)
            columns[name] = np.empty((*positions.shape, *column.shape), column.dtype)
            column.gather_checked(positions, columns[name])
            if column.may_miss_values:
                valid[name] = column.gather_valid(positions)
        return {
            "columns": columns,
            "column_is_pad": {name: np.array(is_pad) for name, is_pad in request.column_is_pad.items()},
            "columns_valid": valid,
        }

    def _rows_of(self, rows: FrameRows) -> Int64s:
        return self._base.source_order.rows_of(rows["video_id"], rows["frame_in_video"])

    def _check(self, videos: Int64s, anchors: Int64s) -> None:
        """Refuse what would be gathered from another place: the arrays are clipped to the columns otherwise."""
        if anchors.size and (
            int(anchors.max()) >= self._columns.num_rows or int(videos.max()) >= self._columns.num_videos
        ):
            raise StoreDamagedError(
                f"a frame of the batch is of row {int(anchors.max())} and video {int(videos.max())}, and the columns "
                f"have {counted(self._columns.num_rows, 'row')} and "
                f"{counted(self._columns.num_videos, 'video')}; run cache-verify"
            )
