"""The table of videos that every store has, cached or live."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Final, Self, overload

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
    first_frame_in_file: int | None = None
    """Number of the video's first frame among all that decode in its file, where the file holds several videos; None
    for a video that is a file of its own."""


_COUNTS: Final = ("num_frames_stored", "num_frames_decoded")
_SIZES: Final = ("width", "height", "first_frame_in_file")
_SECONDS: Final = ("fps", "duration_seconds")
_TEXTS: Final = ("path", "verdict", "transfer", "sha256")


class VideoTable(Sequence[VideoRow]):
    """The videos of a store; `video_id` is the row. Its memory is a column for each field, not an object a video."""

    def __init__(self, rows: Iterable[VideoRow]) -> None:
        """Take the rows one by one: an iterator's rows are never in memory together."""
        counts, numbers = array("q"), array("d")
        texts: dict[str, list[str | None]] = {name: [] for name in _TEXTS}
        shared: dict[str | None, str | None] = {}
        for row in rows:
            counts.extend((row.num_frames_stored, row.num_frames_decoded))
            numbers.extend(
                np.nan if value is None else value
                for value in (
                    *(row.width, row.height, row.first_frame_in_file),
                    *(row.fps, row.duration_seconds),
                )
            )
            texts["path"].append(row.path)
            texts["sha256"].append(row.sha256)
            for name, text in (("verdict", row.verdict), ("transfer", row.transfer)):
                texts[name].append(shared.setdefault(text, text))
        columns = {name: np.array(values, object) for name, values in texts.items()}
        columns |= dict(zip(_COUNTS, np.array(counts, np.int64).reshape(-1, 2).T.copy(), strict=True))
        names = _SIZES + _SECONDS
        of_names = np.array(numbers, np.float64).reshape(-1, len(names)).T.copy()
        columns |= dict(zip(names, of_names, strict=True))
        self._take(columns)

    def _take(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        self._columns = columns
        for column in columns.values():
            column.flags.writeable = False

    @overload
    def __getitem__(self, key: int, /) -> VideoRow: ...
    @overload
    def __getitem__(self, key: slice, /) -> Self: ...
    def __getitem__(self, key: int | slice, /) -> VideoRow | Self:
        """The row of a video, or a table of several.

        Raises:
            IndexError: no such video.
        """
        if isinstance(key, slice):
            table = self.__class__(())
            table._take({name: column[key] for name, column in self._columns.items()})
            return table
        return self._row(index(key))

    def _row(self, video_id: int) -> VideoRow:
        values: dict[str, Any] = {name: column[video_id] for name, column in self._columns.items()}
        values |= {name: int(values[name]) for name in _COUNTS}
        values |= {name: None if np.isnan(values[name]) else int(values[name]) for name in _SIZES}
        values |= {name: None if np.isnan(values[name]) else float(values[name]) for name in _SECONDS}
        return VideoRow(**values)

    def __len__(self) -> int:
        return len(self._columns["path"])

    def __iter__(self) -> Iterator[VideoRow]:
        return map(self._row, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether another table has the same rows."""
        return isinstance(other, VideoTable) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One field of every video, shape (V,), read-only: int64, float64 (NaN for None) or objects.

        Raises:
            KeyError: no such field.
        """
        if name not in self._columns:
            raise KeyError(f"videos have no {name!r}; they have {', '.join(VideoRow.__dataclass_fields__)}")
        return self._columns[name]

    def __repr__(self) -> str:
        return f"VideoTable({counted(len(self), 'video')})"
