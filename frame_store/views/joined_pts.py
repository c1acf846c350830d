"""The pts of several stores one after the other, read in each store where they are asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class JoinedPts:
    """Implements `PtsOfRows`. It keeps the parts' arrays, mostly mapped files, and copies what is asked for."""

    def __init__(self, parts: Sequence[Any]) -> None:
        """Of `parts`, `PtsOfRows` each."""
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int]:
        """(R,)."""
        return (len(self),)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401 - as numpy's
        """The pts at a slice, or at an array of rows: float64, of the same shape as the rows."""
        rows = np.arange(*key.indices(len(self))) if isinstance(key, slice) else np.asarray(key, np.int64)
        of_rows = np.searchsorted(self._ends, rows, side="right")
        values = np.empty(rows.shape, np.float64)
        for number in np.unique(of_rows).tolist():
            is_here = of_rows == number
            part = self._parts[number]
            values[is_here] = part[rows[is_here] - (self._ends[number] - len(part))]
        return values

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All of them.

        Raises:
            ValueError: `copy` is False.
        """
        if copy is False:
            raise ValueError("an array of JoinedPts is a copy")
        return np.asarray(self[:], dtype)
