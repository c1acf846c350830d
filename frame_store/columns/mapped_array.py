"""A `.npy` file of a cache as a read-only array, mapped at its first use."""

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.files import open_inside
from frame_store.npy import read_npy_header
from frame_store.shared import raise_if_out_of_files


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
            self._array = self._mapped()
        return self._array

    def _mapped(self) -> npt.NDArray[Any]:
        path = self._store_path / self._name
        try:
            descriptor = open_inside(self._store_path, self._name)
            with os.fdopen(os.dup(descriptor.number), "rb") as file:
                shape, dtype = read_npy_header(file)
                begin, found = file.tell(), os.fstat(file.fileno()).st_size
                expected = begin + prod(self.shape) * self.dtype.itemsize
                if dtype == self.dtype and shape == self.shape and found == expected:
                    if prod(shape) == 0:
                        return np.empty(shape, dtype)
                    return np.memmap(file, dtype, "r", begin, shape).view(np.ndarray)
        except OSError as error:
            raise_if_out_of_files(error)
            raise StoreDamagedError(
                f"{path}: {error.strerror or error}; {_remedy(self._store_path)}"
            ) from error
        except ValueError as error:
            raise StoreDamagedError(f"{path}: {error}; {_remedy(self._store_path)}") from error
        raise StoreDamagedError(
            f"{path}: expected {self.dtype} of shape {self.shape} in {expected} bytes, found {dtype} of shape {shape} "
            f"in {found} bytes; {_remedy(self._store_path)}"
        )


def _remedy(store_path: Path) -> str:
    return f"run cache-verify on {store_path}; cache-build --columns writes columns again"
