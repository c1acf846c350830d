"""A keyed bijection of [0, N) that can be evaluated at any positions: a shuffled epoch without an array of N items."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from loader.sampling.orders.random_words import Words, draw_without_replacement, integers_below, words_at

MAX_TABULATED: Final = 4096
"""Up to this many items the permutation is a true shuffle, stored as a table of at most 32 KiB.

A Feistel network shuffles few items badly: its halves are too short for the rounds to mix them. Above this number of
items a half has 65 values or more."""

NUM_ROUNDS: Final = 10
"""Feistel rounds, an even number. Over 300 seeds the distributions of positions, neighbours and displacements are far
from those of a true shuffle with 2 rounds, just visibly different with 4, and the same from 6 rounds on. NIST SP
800-38G uses 10 rounds for the same construction (FF1), a margin against attackers that we do not need, at 85 ns a
position."""


class Permutation:
    """Position -> item, one to one on [0, num_items); O(1) memory in num_items, O(positions) a call.

    Above `MAX_TABULATED` items a position is a pair (left, right) in Z_a x Z_b with a, b close to the square root. Each
    round adds a keyed hash of one half to the other half, which is invertible for any hash. The few pairs beyond
    num_items are mapped again until they are inside; a cycle that starts inside always comes back inside.
    """

    def __init__(self, num_items: int, keys: Words) -> None:
        """Permutation of [0, num_items) under `keys`, uint64 of shape (NUM_ROUNDS,)."""
        self._num_items = num_items
        self._keys = keys
        self._table: npt.NDArray[np.int64] | None = None
        if num_items <= MAX_TABULATED:
            words = words_at(keys[0], np.arange(num_items, dtype=np.uint64))
            self._table = draw_without_replacement(words, num_items)
        # a * b >= num_items, and a * b - num_items < a: at most one walk step in 65 positions.
        self._left_size = math.isqrt(max(num_items - 1, 0)) + 1
        self._right_size = -(-num_items // self._left_size)

    def __len__(self) -> int:
        return self._num_items

    def items_at(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Items at `positions` (each in [0, num_items)): int64 of the same shape."""
        if self._table is not None:
            return self._table[positions]
        items = self._feistel(positions.astype(np.uint64))
        while (outside := items >= self._num_items).any():
            items[outside] = self._feistel(items[outside])
        return items.astype(np.int64)

    def _feistel(self, numbers: Words) -> Words:
        left_size, right_size = np.uint64(self._left_size), np.uint64(self._right_size)
        left, right = numbers // right_size, numbers % right_size
        for left_key, right_key in zip(self._keys[0::2], self._keys[1::2], strict=True):
            left = (left + integers_below(words_at(left_key, right), self._left_size)) % left_size
            right = (right + integers_below(words_at(right_key, left), self._right_size)) % right_size
        return left * right_size + right
