"""Orders of single frames, and what every order is: a pure function (seed, epoch, position) -> frame id.

An order is immutable, answers for any positions without going through those before them, and keeps no array of N:
what grows is one number a shard.
"""

from abc import ABC, abstractmethod
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.errors import SamplingError
from loader.sampling.orders.permutation import Permutation
from loader.sampling.orders.random_words import Words, integers_below, words_at

FrameIds: TypeAlias = npt.NDArray[np.int64]

_ITEM_KEY: Final = 0


class EpochOrder(ABC):
    """Frame ids of one epoch by position."""

    @abstractmethod
    def __len__(self) -> int:
        """Positions in the epoch."""

    def ids(self, start: int, stop: int) -> FrameIds:
        """Frame ids at positions [start, stop): int64, shape (stop - start,)."""
        return self.ids_at(np.arange(start, stop, dtype=np.int64))

    def ids_at(self, positions: FrameIds) -> FrameIds:
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
    def _ids_at(self, positions: FrameIds) -> FrameIds:
        """`ids_at` once the positions are known to be inside."""


class SequentialOrder(EpochOrder):
    """Frame ids as they lie on disk."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        return positions.copy()


class PermutationOrder(EpochOrder):
    """Every frame exactly once, in a global random order."""

    def __init__(self, num_frames: int, keys: Words) -> None:
        self._permutation = Permutation(num_frames, keys)

    def __len__(self) -> int:
        return len(self._permutation)

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        return self._permutation.items_at(positions)


class IidOrder(EpochOrder):
    """Every position draws uniformly from all frames, independently of the others."""

    def __init__(self, num_frames: int, keys: Words) -> None:
        self._num_frames = num_frames
        self._key = keys[_ITEM_KEY]

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        words = words_at(self._key, positions.astype(np.uint64))
        return integers_below(words, self._num_frames).astype(np.int64)


def check_shard_sizes(shard_sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The sizes as int64 of shape (S,).

    Raises:
        SamplingError: negative sizes, not one flat list of integers, or no frame in all of them.
    """
    sizes = np.asarray(shard_sizes)
    if sizes.ndim != 1 or (sizes.size and not np.issubdtype(sizes.dtype, np.integer)) or (sizes < 0).any():
        raise SamplingError(f"shard sizes must be a flat list of counts, found {sizes!r}")
    if not sizes.sum():
        raise SamplingError(f"the store is empty: no frame in its {counted(len(sizes), 'shard')}")
    return sizes.astype(np.int64)
