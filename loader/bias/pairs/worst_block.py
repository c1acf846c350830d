"""The greatest design effect that any data can give under `block`, for equal shards in a random order (S25)."""

from typing import Final

import numpy as np

from loader.bias.checks import Reals
from loader.bias.pairs.block_lags import BlockLags, shares_by_phase

MAX_FRAMES: Final = 1024
"""Largest shard for which the greatest eigenvalue is computed: two tables of 8 MB, half a second. For larger ones the
greatest sum of a row stands for it, which is not less."""


def worst_block_effect(lags: BlockLags, *, shard_size: int, num_shards: int, batch_size: int) -> float:
    """1 + (B - 1) c, where c is the greatest mean correlation of two slots: attained by some data, or an upper bound.

    c is the greatest eigenvalue of N P(i, j) over all data whose mean is 0. All shards are alike to the sampler. So
    data are a part that is the same in every shard, and a part that is 0 in the mean over the shards at each place. The
    sampler mixes neither part with the other, and each needs one table of n times n.
    """
    inside, across = shares_by_phase(lags, shard_size=shard_size, num_shards=num_shards)
    # Of data that are the same in every shard. A constant has the eigenvalue 1, and is no data whose mean is 0. Here it
    # gets the eigenvalue -1 or 0, and -1 is not above that of any data.
    constant = (2 if shard_size <= MAX_FRAMES else 1) / shard_size
    greatest = _greatest(inside + (num_shards - 1) * across - constant)
    if num_shards > 1:
        greatest = max(greatest, _greatest(inside - across))
    return 1 + (batch_size - 1) * greatest


def _greatest(by_difference: Reals) -> float:
    """Greatest eigenvalue of the symmetric table whose entry depends on |a - b| alone, or a bound of it."""
    size = len(by_difference)
    if size <= MAX_FRAMES:
        places = np.arange(size)
        return float(np.linalg.eigvalsh(by_difference[np.abs(places[:, None] - places)])[-1])
    sums = np.cumsum(np.abs(by_difference))
    return float((sums + sums[::-1]).max() - abs(by_difference[0]) + by_difference[0])
