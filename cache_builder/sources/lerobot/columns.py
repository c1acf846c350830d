"""The features of the data files as one table: a row for each frame of the episodes that are taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cache_builder.errors import ColumnsError
from cache_builder.sources.lerobot.episodes import video_name
from cache_builder.sources.lerobot.info import TASK_COLUMN, Feature
from cache_builder.sources.lerobot.parquet import ParquetProblem, opened_parquet, read_columns, whole_numbers
from cache_builder.sources.lerobot.schema import is_list, storage_type
from frame_store.errors import ColumnError
from frame_store.tables import Table, TableColumn, sorted_text_column

if TYPE_CHECKING:
    import pyarrow as pa

_Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DataReader:
    """Reads the rows of episodes without problems."""

    root: Path
    files: dict[str, list[int]]
    """Name of each data file -> its episodes."""
    features: tuple[Feature, ...]
    tasks: tuple[str, ...]
    length: npt.NDArray[np.int64]
    """Rows of each episode of the data set, shape (episodes,)."""
    max_rows: int
    """The most rows that a file may have."""

    def tables(self, episodes: Iterable[int]) -> list[Table]:
        """One table with every feature and the text of each row's task, or none where no episode is taken.

        Raises:
            ColumnsError: pyarrow cannot read a file, a value is missing or has another shape, or rows are not those
                that were there when the data set was looked into.
        """
        taken = np.zeros(len(self.length), np.bool_)
        taken[list(episodes)] = True
        num_rows = int(self.length[taken].sum())
        if not num_rows:
            return []
        values = {feature.key: _Filled(feature, num_rows) for feature in self.features}
        begin = 0
        try:
            for name, members in self.files.items():
                if taken[members].any():
                    begin = self._read_file(name, taken, values, begin)
        except (ParquetProblem, ColumnError) as error:
            raise ColumnsError(f"{self.root}: {error}") from error
        if begin != num_rows:
            raise ColumnsError(f"{self.root}: the data files have {begin} rows, and had {num_rows} at first")
        columns = {key: filled.column() for key, filled in values.items()}
        columns[TASK_COLUMN] = _task_column(columns["task_index"].values, self.tasks)
        return [
            Table(
                source=str(self.root),
                video=_video_column(columns["episode_index"].values),
                frames=columns["frame_index"].values.astype(np.int64, copy=False),
                seconds=None,
                columns=columns,
            )
        ]

    def _read_file(
        self, name: str, taken: npt.NDArray[np.bool_], values: "dict[str, _Filled]", begin: int
    ) -> int:
        with opened_parquet(self.root, name) as file:
            table = read_columns(file, name, list(values), max_rows=self.max_rows)
            episode = whole_numbers(table, name, "episode_index")
            is_listed = (episode >= 0) & (episode < len(taken))
            rows = np.flatnonzero(is_listed & taken[np.where(is_listed, episode, 0)])
            end = begin + len(rows)
            if end > len(next(iter(values.values())).values):
                raise ParquetProblem(
                    f"{name} has changed: it has rows of episodes that it did not have at first"
                )
            taken_rows = table if len(rows) == table.num_rows else table.take(rows)
            for key, filled in values.items():
                try:
                    filled.put(begin, taken_rows.column(key))
                except _BadRow as bad:
                    raise ParquetProblem(
                        f"{name}: column {key!r}: row {rows[bad.row]} (episode {episode[rows[bad.row]]}): {bad}"
                    ) from bad
        return end


class _BadRow(Exception):
    """A value cannot be stored; `row` counts among the rows that are taken of a file."""

    def __init__(self, row: int, text: str) -> None:
        self.row = row
        super().__init__(text)


class _Filled:
    """The values of a feature, file by file."""

    def __init__(self, feature: Feature, num_rows: int) -> None:
        self._feature = feature
        self._codes: dict[str, int] = {}
        dtype = np.dtype(np.int32) if feature.dtype is None else feature.dtype.newbyteorder("<")
        self.values: _Array = np.zeros((num_rows, *feature.shape), dtype)

    def put(self, begin: int, column: "pa.ChunkedArray") -> None:
        """Take the values of the rows that are taken of a file."""
        import pyarrow as pa

        chunks = column.chunks
        array = pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
        is_text = self._feature.dtype is None
        found = self._text_codes(array) if is_text else _numbers_of(array, self._feature.shape)
        made = found.astype(self.values.dtype)
        if made.dtype.kind in "iu" and (is_other := made != found).any():
            row = int(np.argmax(is_other.reshape(len(found), -1).any(axis=1)))
            raise _BadRow(row, f"a number that {self._feature.dtype} cannot hold")
        self.values[begin : begin + len(found)] = made

    def _text_codes(self, array: "pa.Array") -> _Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        array = array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array
        _refuse_nulls(array, per_row=1)
        unique = pc.unique(array)
        code_of = [self._codes.setdefault(text, len(self._codes)) for text in unique.to_pylist()]
        places = pc.index_in(array, value_set=unique).to_numpy(zero_copy_only=False)
        return np.array(code_of, np.int32)[places] if code_of else np.zeros(0, np.int32)

    def column(self) -> TableColumn:
        """The whole column."""
        if self._feature.dtype is None:
            return sorted_text_column(self.values, list(self._codes))
        return TableColumn(values=self.values)


def _numbers_of(array: "pa.Array", shape: tuple[int, ...]) -> _Array:
    """Shape (rows, *shape)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    num_rows, per_row = len(array), 1
    for side in shape:
        array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
        _refuse_nulls(array, per_row=per_row)
        if is_list(storage_type(array.type)):
            lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
            if (is_other := lengths != side).any():
                place = int(np.argmax(is_other))
                raise _BadRow(place // per_row, f"a list of {lengths[place]}, expected {side}")
        array = array.flatten()
        per_row *= side
    _refuse_nulls(array, per_row=per_row)
    values: _Array = array.to_numpy(zero_copy_only=False)
    return values.reshape(num_rows, *shape)


def _refuse_nulls(array: "pa.Array", *, per_row: int) -> None:
    if array.null_count:
        row = int(np.argmax(np.asarray(array.is_null()))) // per_row
        raise _BadRow(row, "null, expected a value in every row")


def _task_column(task_index: _Array, tasks: Sequence[str]) -> TableColumn:
    texts = [*dict.fromkeys(tasks)]
    code_of = {text: code for code, text in enumerate(texts)}
    codes = np.array([code_of[text] for text in tasks], np.int32)
    return sorted_text_column(codes[task_index], texts)


def _video_column(episode_index: _Array) -> TableColumn:
    episodes, codes = np.unique(episode_index, return_inverse=True)
    return sorted_text_column(codes.reshape(-1), [video_name(int(episode)) for episode in episodes])
