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

Arrays = dict[str, npt.NDArray[Any]]


class ColumnGatherer:
    """Gathers the columns of batches. Threads may share it, and it pickles with the store."""

    def __init__(self, base: FrameStore, columns: Columns) -> None:
        """Of the columns of `base`, a store that is no view."""
        self._base = base
        self._columns = columns
        self._first_row: Int64s | None = None
        self._steps = [
            (name, column, column.scope == "video", column.may_miss_values)
            for name, column in columns.items()
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_first_row": None}

    def gather(self, request: BatchRequest, rows: FrameRows) -> dict[str, Arrays]:
        """The fields `columns`, `column_is_pad` and `columns_valid` of a `FrameBatch`, as arrays by name.

        Args:
            request: what the batch shows.
            rows: of the frames shown, as the base gives them, in the order of `request.cache_ids`.

        Raises:
            StoreDamagedError: a file of the columns is missing or was cut, or the index leads out of the columns.
        """
        # The copy of the pixels leaves the processor's caches cold: each step costs some three times what it costs
        # alone, so there are few.
        videos, anchors = request.video_ids, request.anchor_rows
        columns: Arrays = {}
        valid: Arrays = {}
        try:
            if videos is None or anchors is None:
                # Without windows, the frames shown are the anchors.
                videos = rows["video_id"]
                anchors = self._starts().take(videos) + rows["frame_in_video"]
            for name, column, is_of_video, may_miss_values in self._steps:
                positions = videos if is_of_video else request.column_rows.get(name, anchors)
                columns[name] = column.take(positions)
                if may_miss_values:
                    valid[name] = column.take_valid(positions)
        except IndexError as error:
            raise StoreDamagedError(
                f"a frame of the batch is of no row of the columns ({error}), which have "
                f"{counted(self._columns.num_rows, 'row')} and {counted(self._columns.num_videos, 'video')}; run "
                "cache-verify"
            ) from error
        return {
            "columns": columns,
            "column_is_pad": {**request.column_is_pad},
            "columns_valid": valid,
        }

    def _starts(self) -> Int64s:
        """The row before each video, copied: asking the store costs more than all the rest."""
        if self._first_row is None:
            self._first_row = np.array(self._base.source_order.first_row)
        return self._first_row
