"""A table as it was read: a value of one kind in every row of a column."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.columns import check_column_names, check_kind
from frame_store.errors import ColumnError
from frame_store.shared import without_controls

VIDEO_KEY: Final = "video"
FRAME_KEY: Final = "frame"
SECONDS_KEY: Final = "seconds"

RowText = Callable[[int], str]
"""Row of a table, from 0 -> its place in words."""


def row_text(row: int) -> str:
    """Where a row stands in a file that has no lines."""
    return f"row {row}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TableColumn:
    """The values of a column of a table."""

    values: npt.NDArray[Any]
    """Shape (rows, *shape): booleans or numbers, little-endian; int32 codes for texts."""
    strings: tuple[str, ...] | None = None
    """The text of each code, sorted; None for a column of numbers or booleans."""

    @property
    def kind_text(self) -> str:
        """Dtype and shape in words."""
        return f"{'text' if self.strings is not None else self.values.dtype} of shape {self.values.shape[1:]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table with its keys. A row belongs to a frame, or, without `frames` and `seconds`, to a video."""

    source: str
    """The file, or what the caller gave, in words: errors begin with it."""
    video: TableColumn
    """Texts: the path or name of the video of each row."""
    frames: npt.NDArray[np.int64] | None
    """`frame_in_video` of each row, among the decoded frames."""
    seconds: npt.NDArray[np.float64] | None
    """pts of each row, in seconds."""
    columns: dict[str, TableColumn]
    place: RowText = field(default=row_text)

    def __len__(self) -> int:
        return len(self.video.values)


def make_table(source: str, columns: Mapping[str, TableColumn], *, place: RowText = row_text) -> Table:
    """A table of the columns that were read, of which `video`, `frame` and `seconds` are its keys.

    Raises:
        ColumnError: no `video`, both `frame` and `seconds`, a key of another kind, columns of different lengths, no
            rows, or no column beside the keys.
    """
    check_column_names(columns, where=source)
    if VIDEO_KEY not in columns:
        raise ColumnError(
            f"{source}: has no column 'video', which names the video of each row; found {_names_text(columns)}"
        )
    lengths = {name: len(column.values) for name, column in columns.items()}
    num_rows = lengths[VIDEO_KEY]
    for name, length in lengths.items():
        if length != num_rows:
            raise ColumnError(f"{source}: column {name!r} has {length} rows, 'video' has {num_rows}")
    if num_rows == 0:
        raise ColumnError(f"{source}: has no rows")
    if FRAME_KEY in columns and SECONDS_KEY in columns:
        raise ColumnError(
            f"{source}: has both 'frame' and 'seconds'; rows are found by one of them: rename or leave out the other"
        )
    video = columns[VIDEO_KEY]
    if video.strings is None:
        raise ColumnError(f"{source}: 'video' must be texts, found {video.kind_text}")
    values = {
        name: column for name, column in columns.items() if name not in {VIDEO_KEY, FRAME_KEY, SECONDS_KEY}
    }
    if not values:
        raise ColumnError(f"{source}: has no column beside its keys {_names_text(columns)}")
    return Table(
        source=source,
        video=video,
        frames=_frames(source, columns.get(FRAME_KEY), place),
        seconds=_seconds(source, columns.get(SECONDS_KEY)),
        columns=values,
        place=place,
    )


def _frames(source: str, column: TableColumn | None, place: RowText) -> npt.NDArray[np.int64] | None:
    if column is None:
        return None
    if column.strings is not None or column.values.dtype.kind not in "iu" or column.values.ndim != 1:
        raise ColumnError(f"{source}: 'frame' must be whole numbers, found {column.kind_text}")
    if column.values.dtype == np.uint64 and (column.values > np.iinfo(np.int64).max).any():
        row = int(np.argmax(column.values > np.iinfo(np.int64).max))
        raise ColumnError(f"{source}: {place(row)}: frame {column.values[row]} is no frame of any video")
    return column.values.astype(np.int64, copy=False)


def _seconds(source: str, column: TableColumn | None) -> npt.NDArray[np.float64] | None:
    if column is None:
        return None
    if column.strings is not None or column.values.dtype.kind not in "iuf" or column.values.ndim != 1:
        raise ColumnError(f"{source}: 'seconds' must be numbers, found {column.kind_text}")
    return column.values.astype(np.float64, copy=False)


def _names_text(names: Mapping[str, object]) -> str:
    shown = [repr(without_controls(name)) for name in list(names)[:10]]
    return ", ".join(shown) + (" ..." if len(names) > 10 else "") if shown else "no columns"


def number_column(values: npt.NDArray[Any], *, place: RowText = row_text) -> TableColumn:
    """A column of booleans or numbers, shape (rows, *shape).

    Raises:
        ColumnError: another kind of values, or NaN. The message begins with the place of the row.
    """
    if values.dtype.kind in "biuf":
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    check_kind(values.dtype, values.shape[1:])
    if values.dtype.kind == "f" and (is_nan := np.isnan(values)).any():
        rows = is_nan.reshape(len(values), -1).any(axis=1)
        raise ColumnError(
            f"{place(int(np.argmax(rows)))}: NaN (in {int(rows.sum())} of {len(rows)} rows); expected a number in "
            "every row"
        )
    return TableColumn(values=values)


def text_column(values: Sequence[str], *, place: RowText = row_text) -> TableColumn:
    """A column of texts. Codes follow the sorted texts, so that equal columns have equal codes.

    Raises:
        ColumnError: a text that UTF-8 cannot hold.
    """
    code_of: dict[str, int] = {}
    codes = np.fromiter(
        (code_of.setdefault(text, len(code_of)) for text in values), np.int32, count=len(values)
    )
    return sorted_text_column(codes, list(code_of), place=place)


def sorted_text_column(
    codes: npt.NDArray[Any], strings: Sequence[str], *, place: RowText = row_text
) -> TableColumn:
    """A column of texts, from codes into a list that has no text twice; every code has a text.

    Raises:
        ColumnError: a text that UTF-8 cannot hold.
    """
    order = sorted(range(len(strings)), key=strings.__getitem__)
    rank = np.empty(len(strings), np.int32)
    rank[order] = np.arange(len(strings), dtype=np.int32)
    for code, text in enumerate(strings):
        try:
            text.encode()
        except UnicodeEncodeError:
            row = int(np.argmax(codes == code))
            raise ColumnError(f"{place(row)}: {ascii(text)[:100]} is no text that UTF-8 can hold") from None
    ranked = rank[codes] if len(strings) else np.empty(len(codes), np.int32)
    return TableColumn(values=ranked, strings=tuple(strings[i] for i in order))
