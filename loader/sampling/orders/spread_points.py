"""Points on a circle that are spread evenly: scrambled van der Corput points, for draws that may repeat (S63)."""

from typing import Final

import numpy as np

from loader.sampling.orders.base import Int64s
from loader.sampling.orders.nested import COINS_PER_WORD, coins_below
from loader.sampling.orders.random_words import Words, words_at

_BITS: Final = 64


def spread_points(key: np.uint64, counters: Int64s, *, num_counters: int) -> Words:
    """A point in [0, 2^64) for each counter in [0, num_counters): uint64 of the same shape.

    Each point is uniform over the coins of the stream `key`. Any 2^k neighbouring counters, 2^k <= num_counters, have
    one point in each of the 2^k equal arcs of the circle. Two points of counters whose difference is an odd multiple of
    2^v lie in the two halves of one arc of level v, and are independent and uniform there.

    The highest bits are the lowest bits of the counter, each changed or not by the coin of its node; the bits below
    them are a random word's.
    """
    num_levels = max(0, num_counters - 1).bit_length()
    points = np.zeros(counters.shape, np.uint64)
    for top in range(0, num_levels, COINS_PER_WORD):
        for level, coins in enumerate(
            coins_below(key, counters, top, min(COINS_PER_WORD, num_levels - top)), start=top
        ):
            digits = ((counters >> level) & 1) ^ coins
            points |= digits.astype(np.uint64) << np.uint64(_BITS - 1 - level)
    # No node of coins has this bit, so no word is used twice.
    rest = words_at(key, counters.astype(np.uint64) | np.uint64(1 << (_BITS - 1)))
    return points | (rest >> np.uint64(num_levels))


def scaled_down(points: Words, bound: int) -> Int64s:
    """floor(bound * point / 2^64) for each point, exactly: int64 in [0, bound) of the same shape; bound <= 2^62."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    high_of_bound, low_of_bound = np.uint64(bound >> 32), np.uint64(bound & 0xFFFFFFFF)
    high, rest = points >> half, points & low
    cross = high * low_of_bound + ((rest * low_of_bound) >> half)
    other = rest * high_of_bound + (cross & low)
    product: Int64s = (high * high_of_bound + (cross >> half) + (other >> half)).astype(np.int64)
    return product
