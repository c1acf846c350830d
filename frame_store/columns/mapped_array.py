"""A `.npy` file of a cache as a read-only array, mapped at its first use."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.npy import map_npy
from frame_store.shared import raise_if_out_of_files


class MappedArray:
    """The file `name` of the cache at `store_path`: an array of a known dtype and shape.

    Threads may share it. It pickles as its place, so that a worker process maps the file itself.
    """

    def __init__(
        self,
        store_path: Path,
        name: str,
        *,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        section: str = "4.2",
        to_restore: str = "cache-build --columns writes columns again",
        need: Callable[[], None] | None = None,
        cache_name: str | None = None,
    ) -> None:
        """Open nothing.

        For messages: the `section` of FORMAT.md, what writes a damaged file again, and what the cache is called, if not
        by `store_path`.

        `need`, which pickles, has the file of a remote cache downloaded before it is mapped.
        """
        self._store_path = store_path
        self._name = name
        self.dtype = dtype
        self.shape = shape
        self._section = section
        self._to_restore = to_restore
        self._need = need
        self._cache_name = cache_name or str(store_path)
        self._mapped: tuple[npt.NDArray[Any], int] | None = None
        """The array, and the bytes of its file."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": None}

    @property
    def array(self) -> npt.NDArray[Any]:
        """The mapped array. The size of the file is checked at each access: where it was cut, the map would kill us.

        Raises:
            StoreDamagedError: the file is missing, a link, or not such an array, or was cut after it was mapped.
            OSError: no more files can be opened.
        """
        path = os.path.join(self._store_path, self._name)  # noqa: PTH118 - at each access
        try:
            if self._mapped is None:
                if self._need is not None:
                    self._need()
                array = map_npy(
                    self._store_path, self._name, dtype=self.dtype, shape=self.shape, section=self._section
                )
                # In one step: another thread must not see an array without its size.
                self._mapped = (array, os.stat(path).st_size)  # noqa: PTH116
            array, num_bytes = self._mapped
            if os.stat(path).st_size != num_bytes:  # noqa: PTH116 - pathlib would take three times as long
                raise StoreDamagedError(f"{path}: was cut or replaced after it was opened")
        except OSError as error:
            raise_if_out_of_files(error)
            raise StoreDamagedError(f"{path}: {error.strerror}; {self._remedy}") from error
        except StoreDamagedError as error:
            raise StoreDamagedError(f"{error}; {self._remedy}") from error
        return array

    @property
    def _remedy(self) -> str:
        return f"run cache-verify on {self._cache_name}; {self._to_restore}"
