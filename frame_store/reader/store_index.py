"""A store's index as users see it: each whole number is int64, also where fewer bytes are stored."""

from collections.abc import Iterator
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from frame_store.names import INDEX_DTYPE

_ROWS_PER_STEP: Final = 1024

ROW_DTYPE: Final = np.dtype(
    [(name, np.float64 if INDEX_DTYPE[name].kind == "f" else np.int64) for name in INDEX_DTYPE.names or ()]
)
"""A row of `INDEX_DTYPE` in numbers that differences, negative values and products do not overflow. 64 bytes."""


class StoredRows(Protocol):
    """Rows of `INDEX_DTYPE`, shape (N,): a structured array, or what reads as one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N,)."""
        ...

    @property
    def flags(self) -> Any:  # noqa: ANN401 - as numpy's
        """Those of an array that is not writeable."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401 - as numpy's
        """A column, some columns, or rows."""
        ...


class StoreIndex:
    """A row per frame id, read-only, with the interface of a structured numpy array of `ROW_DTYPE`.

    Numbers are converted at the access, and nothing is kept. `index["video_id"]` is a new int64 column, shape (N,), at
    each call, 8 bytes a frame (`pts_seconds` is a view, as float64 is stored). `index[ids]`, `index[first:end]` and
    `index[id]` convert these rows alone. `numpy.asarray(index)` converts all rows, 64 bytes a frame. The stored rows,
    `CacheStore.stored_index`, have 40 bytes a frame.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: StoredRows) -> None:
        """Over rows of `INDEX_DTYPE`, shape (N,)."""
        self._rows = rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """`ROW_DTYPE`."""
        return ROW_DTYPE

    @property
    def shape(self) -> tuple[int, ...]:
        """(N,)."""
        return self._rows.shape

    @property
    def ndim(self) -> int:
        """1."""
        return 1

    @property
    def size(self) -> int:
        """N."""
        return len(self._rows)

    @property
    def flags(self) -> Any:  # noqa: ANN401 - numpy does not name the type in all its versions
        """Those of the stored rows, which are not writeable."""
        return self._rows.flags

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any, /) -> Any:  # noqa: ANN401 - as numpy's
        """A column for a name, a structured array of some columns for a list of names, rows for anything else."""
        if isinstance(key, str):
            column = self._rows[key].astype(ROW_DTYPE[key], copy=False)
            column.flags.writeable = False  # it may be a copy: writing to it would have no effect
            return column
        rows = self._rows[key]
        return rows.astype(np.dtype([(name, ROW_DTYPE[name]) for name in rows.dtype.names]))

    def __iter__(self) -> Iterator[Any]:
        for first in range(0, len(self), _ROWS_PER_STEP):
            yield from self[first : first + _ROWS_PER_STEP]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All rows.

        Raises:
            ValueError: `copy` is False.
        """
        if copy is False:
            raise ValueError(
                "an array of a StoreIndex is a copy: its numbers are wider than where they are kept"
            )
        return np.asarray(self[:], dtype)

    def __repr__(self) -> str:
        return f"StoreIndex({len(self)} rows of {', '.join(ROW_DTYPE.names or ())})"
