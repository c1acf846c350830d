"""What columns hold, without their values: of a cache, and of what is given for new videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache_builder.columns import DatasetColumns
from frame_store.column_files import ColumnsRecord
from frame_store.columns import ColumnScope
from frame_store.tables import Table


@dataclass(frozen=True, kw_only=True)
class ColumnKind:
    """What the values of a column are, without the values."""

    scope: ColumnScope
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_text: bool

    @property
    def text(self) -> str:
        """In words."""
        kind = "text" if self.is_text else self.dtype.name
        return f"{kind}{f' {list(self.shape)}' if self.shape else ''} per {self.scope}"


def kinds_of_cache(records: Sequence[ColumnsRecord]) -> dict[str, ColumnKind]:
    """The columns of a cache, by the records of its folders: those that all of them have."""
    found = [
        {
            column.name: ColumnKind(
                scope=column.scope,
                dtype=np.dtype(column.dtype),
                shape=tuple(column.shape),
                is_text=column.codes is not None,
            )
            for column in record.columns
        }
        for record in records
    ]
    if not found:
        return {}
    return {name: kind for name, kind in found[0].items() if all(name in each for each in found)}


def kinds_given(dataset: DatasetColumns | None, tables: Sequence[Table]) -> dict[str, ColumnKind]:
    """The columns that a data set and tables give; a table's column comes before one of the data set."""
    kinds: dict[str, ColumnKind] = {}
    for table in [*([] if dataset is None else dataset.tables), *tables]:
        scope: ColumnScope = "video" if table.frames is None and table.seconds is None else "frame"
        for name, column in table.columns.items():
            kinds[name] = ColumnKind(
                scope=scope,
                dtype=column.values.dtype,
                shape=column.values.shape[1:],
                is_text=column.strings is not None,
            )
    return kinds


def fits(kind: ColumnKind, then: ColumnKind) -> bool:
    """Whether values can be stored as those of the cache; the numbers themselves are checked when they are written."""
    if (kind.scope, kind.shape, kind.is_text) != (then.scope, then.shape, then.is_text):
        return False
    return kind.dtype == then.dtype or {kind.dtype.kind, then.dtype.kind} <= set("iuf")
