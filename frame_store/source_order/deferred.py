"""An array that is opened at its first use."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class DeferredArray:
    """Reads as a one-dimensional array, such as a file that is only downloaded where somebody looks into it.

    Threads may share it. It pickles as its array.
    """

    def __init__(self, length: int, opened: Callable[[], npt.NDArray[Any]]) -> None:
        """Of an array of `length` numbers, which `opened` gives; it may be called again where threads meet."""
        self.shape = (length,)
        self._opened = opened
        self._array: npt.NDArray[Any] | None = None

    @property
    def array(self) -> npt.NDArray[Any]:
        """All of it. Raises what `opened` raises."""
        if self._array is None:
            array = self._opened()
            assert array.shape == self.shape
            self._array = array
        return self._array

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers. Raises what `opened` raises."""
        return self.array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as numpy's
        return self.array[key]

    def take(self, indices: Any, *, mode: Any = "raise") -> Any:  # noqa: ANN401 - as numpy's
        """As of an array."""
        return self.array.take(indices, mode=mode)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All of it."""
        return np.array(self.array, dtype, copy=True) if copy else np.asarray(self.array, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (self.array,)
