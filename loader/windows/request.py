"""What a batch reads: frames of the base, and rows of columns, around each anchor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.protocol import LocatedFrames
from loader.sampling.orders import Int64s

Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchRequest:
    """A batch of B anchors, before it is read. `loader.windows.Windows` makes it; readers carry it out.

    An anchor is a frame that a sampler drew. Frames are read from the base of the store (`frame_store.views.base_of`).
    """

    frame_ids: Int64s
    """Ids of the anchors in the store that the loader got: int64, shape (B,)."""
    anchor_cache_ids: Int64s
    """Ids of the anchors in the base: int64, shape (B,). An `Augmentation` draws by these ids."""
    cache_ids: Int64s
    """Ids in the base of the frames shown: int64, shape (B,), or (B, T) where `frame_offsets` are given."""
    frame_is_pad: Bools | None = None
    """Which frames stand for one beyond an end of the video: shape (B, T). None without `frame_offsets`."""
    video_ids: Int64s | None = None
    """Video of each anchor, as a row of the base's table: int64, shape (B,). None without
    windows: the rows that are read then state it."""
    anchor_rows: Int64s | None = None
    """The row of each anchor in source order, first_row[video] + frame_in_video: int64, (B,); or None."""
    column_rows: Mapping[str, Int64s] = field(default_factory=dict)
    """By the name of a column with offsets: the rows to gather, shape (B, K). Columns without offsets are gathered at
    `anchor_rows`, columns of videos at `video_ids`."""
    column_is_pad: Mapping[str, Bools] = field(default_factory=dict)
    """Which of these rows stand for one beyond an end of the video: shape (B, K)."""
    located: Callable[[], LocatedFrames | None] | None = None
    """Gives the frames of `cache_ids` as the base has looked them up, together with those of other batches. None where
    nobody has, or it could not: the reader looks them up. See `loader.windows.located`."""

    def __len__(self) -> int:
        """B."""
        return len(self.frame_ids)
