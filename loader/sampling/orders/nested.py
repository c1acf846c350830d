"""`sampling="stratified"`: every frame once, and each run of positions spread evenly over the strata (S63).

The order is a scrambled van der Corput sequence for any number of places. All positions t with the same t mod 2^j are a
*node* of a tree. A node of n places has two children, the even and the odd ones of its positions: ceil(n / 2) and
floor(n / 2) places that lie side by side. A fair coin of the node says which of them lies left.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np

from loader.sampling.orders.base import EpochOrder, Int64s
from loader.sampling.orders.random_words import Words, integers_below, words_at

COINS_PER_WORD: Final = 6
"""Levels whose coins one word holds: a node and the nodes below it have 2^6 - 1 coins, numbered from 1 at the top."""

LEVELS_TABULATED: Final = 12
"""Levels at the top whose places stand in a table of at most 4,096 numbers, 32 KiB."""

_TREE_KEY: Final = 0
_ROTATION_KEY: Final = 1


class NestedTree:
    """Position -> place, one to one on [0, num_places).

    Any 2^k neighbouring positions lie in the 2^k different nodes of level k, where 2^k <= num_places. A node of level k
    is a stretch of floor or ceil(num_places / 2^k) places. Memory is a table of at most 4,096 numbers. The cost of a
    position grows with the logarithm of num_places.
    """

    def __init__(self, num_places: int, key: np.uint64) -> None:
        """Over [0, num_places), with the coins of the stream `key`."""
        self._num_places = num_places
        self._key = key
        self._num_levels = max(0, num_places - 1).bit_length()

    def __len__(self) -> int:
        return self._num_places

    def places_at(self, positions: Int64s) -> Int64s:
        """Places of `positions` (each in [0, num_places)): int64 of the same shape."""
        places = self._table[positions & np.int64(len(self._table) - 1)]
        return self._add_levels(places, positions, LEVELS_TABULATED, self._num_levels)

    @cached_property
    def _table(self) -> Int64s:
        """What the first levels add to the place, by the low bits of the position."""
        num_levels = min(LEVELS_TABULATED, self._num_levels)
        positions = np.arange(1 << num_levels, dtype=np.int64)
        return self._add_levels(np.zeros_like(positions), positions, 0, num_levels)

    def _add_levels(self, places: Int64s, positions: Int64s, first: int, end: int) -> Int64s:
        """`places` plus what the levels [first, end) add; `first` is a multiple of `COINS_PER_WORD`."""
        last_place = np.int64(self._num_places - 1)
        for top in range(first, end, COINS_PER_WORD):
            num_levels = min(COINS_PER_WORD, end - top)
            for level, coins in enumerate(coins_below(self._key, positions, top, num_levels), start=top):
                is_second = (positions >> level) & 1
                sibling = (positions & ((2 << level) - 1)) ^ (1 << level)
                # A shift rounds down, so a sibling beyond the last place has 0 places.
                size_of_sibling = ((last_place - sibling) >> (level + 1)) + 1
                places = places + (is_second ^ coins) * size_of_sibling
        return places


def coins_below(key: np.uint64, counters: Int64s, top: int, num_levels: int) -> list[Int64s]:
    """The coins of `num_levels` levels from `top` on, at most `COINS_PER_WORD`: 0 or 1, int64 of the counters' shape.

    A counter belongs to the node of its lowest bits at each level. The nodes of other levels have other words.
    """
    nodes = (counters & ((1 << top) - 1)) | (1 << top)
    words = words_at(key, nodes.astype(np.uint64))
    below = counters >> top
    return [
        ((words >> ((below & ((1 << level) - 1)) | (1 << level)).astype(np.uint64)) & np.uint64(1)).astype(
            np.int64
        )
        for level in range(num_levels)
    ]


class NestedOrder(EpochOrder):
    """Every frame exactly once. The places of `NestedTree` form a circle that is turned by a random number of places.

    The turn makes every place equally likely at every position, for any number of places.
    """

    def __init__(self, num_places: int, keys: Words, ids_at: Callable[[Int64s], Int64s]) -> None:
        """Over the frames at `num_places` places, under `keys`, uint64 of shape (2 or more,).

        `ids_at` gives the frame ids at places of the order that the strata are cut from.
        """
        self._tree = NestedTree(num_places, keys[_TREE_KEY])
        self._turn = int(integers_below(keys[_ROTATION_KEY : _ROTATION_KEY + 1], num_places)[0])
        self._frames_at = ids_at

    def __len__(self) -> int:
        return len(self._tree)

    def _ids_at(self, positions: Int64s) -> Int64s:
        return self._frames_at((self._tree.places_at(positions) + self._turn) % len(self))
