"""`sampling="sequential"`, `"permutation"` and `"iid"`: orders that depend on the number of frames alone."""

from typing import Final

import numpy as np

from loader.sampling.orders.base import EpochOrder, Int64s
from loader.sampling.orders.permutation import Permutation
from loader.sampling.orders.random_words import Words, integers_below, words_at

_ITEM_KEY: Final = 0


class SequentialOrder(EpochOrder):
    """Frame ids in the order on disk."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: Int64s) -> Int64s:
        return positions.copy()


class PermutationOrder(EpochOrder):
    """Every frame exactly once, in a global random order."""

    def __init__(self, num_frames: int, keys: Words) -> None:
        self._permutation = Permutation(num_frames, keys)

    def __len__(self) -> int:
        return len(self._permutation)

    def _ids_at(self, positions: Int64s) -> Int64s:
        return self._permutation.items_at(positions)


class IidOrder(EpochOrder):
    """Each position draws uniformly from all frames, independently of the other positions."""

    def __init__(self, num_frames: int, keys: Words) -> None:
        self._num_frames = num_frames
        self._key = keys[_ITEM_KEY]

    def __len__(self) -> int:
        return self._num_frames

    def _ids_at(self, positions: Int64s) -> Int64s:
        words = words_at(self._key, positions.astype(np.uint64))
        return integers_below(words, self._num_frames).astype(np.int64)
