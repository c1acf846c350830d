"""The table of videos that every store has, cached or live."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from frame_store.names import Verdict
from frame_store.shared import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoRow:
    """What is known about one video. Its `video_id` is its row in the table."""

    path: str
    """Relative to the folder of videos, forward slashes."""
    verdict: Verdict | None
    """`whole`, `damaged` or `unreadable`. None for a video decoded live: nobody has decoded all of it yet."""
    num_frames_stored: int
    """Frames of the video in the store."""
    num_frames_decoded: int
    """Frames that the decoder gives, stored or not."""
    width: int | None
    """Coded pixels of the first frame; None for an unreadable video, as below."""
    height: int | None
    fps: float | None
    """Average rate that the header claims, frames per second; None without a claim."""
    duration_seconds: float | None
    """Until the last frame ends, by the pts and durations of its packets; None without pts."""
    transfer: str | None
    """The transfer characteristics, by FFmpeg's name, such as `bt709`."""
    sha256: str | None
    """Of the video's file, hex; None where it could not be read."""


class VideoTable(Sequence[VideoRow]):
    """The videos of a store, `video_id` is the row."""

    def __init__(self, rows: Iterable[VideoRow]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, key: int, /) -> VideoRow: ...
    @overload
    def __getitem__(self, key: slice, /) -> "VideoTable": ...
    def __getitem__(self, key: int | slice, /) -> "VideoRow | VideoTable":
        """The row of a video, or a table of several."""
        return VideoTable(self._rows[key]) if isinstance(key, slice) else self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[VideoRow]:
        return iter(self._rows)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One field of every video, shape (V,): int64, float64 (NaN for None) or objects.

        Raises:
            KeyError: no such field.
        """
        if name not in VideoRow.__dataclass_fields__:
            raise KeyError(f"videos have no {name!r}; they have {', '.join(VideoRow.__dataclass_fields__)}")
        values = [getattr(row, name) for row in self._rows]
        if name in {"num_frames_stored", "num_frames_decoded"}:
            return np.array(values, np.int64)
        if name in {"width", "height", "fps", "duration_seconds"}:
            return np.array([np.nan if value is None else value for value in values], np.float64)
        return np.array(values, object)

    def __repr__(self) -> str:
        return f"VideoTable({counted(len(self), 'video')})"
