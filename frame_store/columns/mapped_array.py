"""A `.npy` file of a cache as a read-only array, mapped at its first use."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.npy import map_npy


class MappedArray:
    """The file `name` of the cache at `store_path`: an array of a known dtype and shape.

    It pickles as its place, so that a worker process maps the file itself.
    """

    def __init__(self, store_path: Path, name: str, *, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._store_path = store_path
        self._name = name
        self.dtype = dtype
        self.shape = shape
        self._array: npt.NDArray[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    @property
    def array(self) -> npt.NDArray[Any]:
        """The mapped array.

        Raises:
            StoreDamagedError: the file is missing, a link, or not such an array.
            OSError: no more files can be opened.
        """
        if self._array is None:
            try:
                self._array = map_npy(
                    self._store_path, self._name, dtype=self.dtype, shape=self.shape, section="4.2"
                )
            except StoreDamagedError as error:
                raise StoreDamagedError(
                    f"{error}; run cache-verify on {self._store_path}; cache-build --columns writes columns again"
                ) from error
        return self._array
