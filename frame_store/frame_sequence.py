"""Frames by `store[i]`, `store[a:b]` and iteration, for every store that reads by id."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import overload

import numpy as np
import numpy.typing as npt

from frame_store.columns import NO_COLUMNS, Columns
from frame_store.errors import FrameIdError
from frame_store.notebook import ShownInNotebooks
from frame_store.protocol import FrameIds, Frames
from frame_store.source_order import SourceOrder

_FRAMES_PER_STEP = 64


class FrameSequence(ShownInNotebooks, ABC):
    """The methods of `FrameStore` that follow from `read_frames` and `source_order`."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""

    @property
    @abstractmethod
    def source_order(self) -> SourceOrder:
        """See `FrameStore`."""

    @property
    def columns(self) -> Columns:
        """The columns of the store, of all its decoded frames and videos. A store has none unless it says so."""
        return NO_COLUMNS

    @overload
    def __getitem__(self, key: int, /) -> Frames: ...
    @overload
    def __getitem__(self, key: slice, /) -> Frames: ...
    def __getitem__(self, key: int | slice, /) -> Frames:
        """See `FrameStore`."""
        if isinstance(key, slice):
            return self.read_frames(np.arange(*key.indices(len(self)), dtype=np.int64))
        try:
            frame_id = operator.index(key)
        except TypeError as error:
            raise TypeError(
                f"a frame id must be an integer or a slice, found {type(key).__name__}; read_frames takes several ids"
            ) from error
        if not -len(self) <= frame_id < len(self):
            raise FrameIdError(f"frame id {frame_id} is outside [{-len(self)}, {len(self)})")
        frame: Frames = self.read_frames([frame_id % len(self)])[0]
        return frame

    def __iter__(self) -> Iterator[Frames]:
        """See `FrameStore`."""
        for first in range(0, len(self), _FRAMES_PER_STEP):
            yield from self[first : first + _FRAMES_PER_STEP]

    def ids_of_video(self, video_id: int) -> npt.NDArray[np.int64]:
        """See `FrameStore`."""
        return self.source_order.ids_of_video(operator.index(video_id))
