"""The base class of every order: a pure function (seed, epoch, position) -> frame id.

An order is immutable. It gives the ids at any positions without computing those before them. It keeps no array of N
numbers, only one number for each shard.
"""

from abc import ABC, abstractmethod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.errors import SamplingError

Int64s: TypeAlias = npt.NDArray[np.int64]


class EpochOrder(ABC):
    """Frame ids of one epoch by position."""

    @abstractmethod
    def __len__(self) -> int:
        """Positions in the epoch."""

    def ids(self, start: int, stop: int) -> Int64s:
        """Frame ids at positions [start, stop): int64, shape (stop - start,)."""
        return self.ids_at(np.arange(start, stop, dtype=np.int64))

    def ids_at(self, positions: Int64s) -> Int64s:
        """Frame ids at any `positions`, shape (P,): int64 of the same shape.

        Raises:
            IndexError: a position outside [0, len(self)).
        """
        if positions.size and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(
                f"positions {positions.min()}..{positions.max()} are not all inside [0, {len(self)}), the epoch"
            )
        return self._ids_at(positions)

    @abstractmethod
    def _ids_at(self, positions: Int64s) -> Int64s:
        """`ids_at` for positions that are known to be inside."""


def check_shard_sizes(shard_sizes: npt.ArrayLike) -> Int64s:
    """The sizes as int64 of shape (S,).

    Raises:
        SamplingError: negative sizes, not a flat list of integers, or no frame in any shard.
    """
    sizes = np.asarray(shard_sizes)
    if sizes.ndim != 1 or (sizes.size and not np.issubdtype(sizes.dtype, np.integer)) or (sizes < 0).any():
        raise SamplingError(f"shard sizes must be a flat list of counts, found {sizes!r}")
    if not sizes.sum():
        raise SamplingError(f"the store is empty: no frame in its {counted(len(sizes), 'shard')}")
    return sizes.astype(np.int64)
