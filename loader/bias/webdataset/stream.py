"""Laws of a stream of shards, with and without a shuffle buffer: which item comes out where.

The buffer is `webdataset.shuffle`'s: it reads two items a step while it fills, picks from `initial` items on, holds at
most `shuffle_buffer`, and empties itself at the end. The pair and position laws are for small streams, as oracles;
the steady state is a closed form for any. `SAMPLING.md` derives the formulas.
"""

import math
import operator

import numpy as np
import numpy.typing as npt

from loader.bias.formulas import chi2_of_uniform_shards
from loader.bias.pairs import check_batch_size
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes

Counts = npt.NDArray[np.int64]


def chi2_at_stream_ends(shard_sizes: npt.ArrayLike) -> float:
    """Chi^2 of the first and of the last position of a stream of shards in random order, A(n) / H(n) - 1 (S10).

    Without a rotation every shard is equally likely to be the first. Taken over shards: the first frame of a shard
    stands for all of its frames, which is fair only where shards hold shuffled frames.

    Raises:
        SamplingError: not shard sizes.
    """
    return chi2_of_uniform_shards(shard_sizes)


def first_fill(shuffle_buffer: int, initial: int | None) -> int:
    """Items held at the first pick of a long stream.

    Raises:
        SamplingError: a buffer or `initial` below one.
    """
    initial = shuffle_buffer if initial is None else min(initial, shuffle_buffer)
    if operator.index(shuffle_buffer) < 1 or operator.index(initial) < 1:
        raise SamplingError(f"a buffer holds 1 item or more, found {shuffle_buffer} and initial {initial}")
    return min(initial + initial % 2, shuffle_buffer)


def items_read(picks: Counts, num_items: npt.ArrayLike, *, shuffle_buffer: int, first: int) -> Counts:
    """Items read when pick number `picks` (from 0) happens, in a stream of `num_items` (S34)."""
    read: Counts = np.minimum(picks + np.minimum(first + picks, shuffle_buffer), num_items)
    return read


def picks_before(items: Counts, *, shuffle_buffer: int, first: int) -> Counts:
    """The first pick that finds each item read: the inverse of `items_read` (S34)."""
    growing, full = (items - first) // 2 + 1, items - shuffle_buffer + 1
    return np.maximum(np.maximum(growing, full), 0)


def steady_state_kappa(shard_sizes: npt.ArrayLike, *, shuffle_buffer: int, batch_size: int) -> float:
    """Probability that two slots of a batch share a shard, with a full buffer far from both ends (S38).

    2 / (B (B - 1)) sum_delta (B - delta) sum_d P(d | delta) s(d), s(d) = sum_s max(n_s - d, 0) / N, P(d | delta) as
    `steady_lag_law`; shards of sizes (S,) in any order, over all places where a batch may fall among them.

    Raises:
        SamplingError: not shard sizes, or a buffer or batch below one.
    """
    sizes = np.sort(check_shard_sizes(shard_sizes))
    check_batch_size(batch_size)
    first_fill(shuffle_buffer, None)
    if batch_size == 1:
        return 0.0
    # Beyond the batch the law falls by theta a lag; e^-50 is nothing.
    lags = np.arange(1, min(int(sizes[-1]), batch_size + 50 * shuffle_buffer))
    if not lags.size:
        return 0.0
    theta = 1 - 1 / shuffle_buffer
    output_lags = np.arange(1, batch_size)
    weights = batch_size - output_lags
    # sum_delta (B - delta) theta^|d - delta| by two sweeps: what lies at or before d, and what lies after it.
    near = lags[: batch_size - 1]
    before, after = np.zeros(batch_size + 1), np.zeros(batch_size + 1)
    for lag in range(1, batch_size):
        before[lag] = theta * before[lag - 1] + weights[lag - 1]
        mirrored = batch_size - lag
        after[mirrored] = theta * (
            after[mirrored + 1] + (weights[mirrored] if mirrored < batch_size - 1 else 0)
        )
    total = theta ** (lags - 1) * float(weights @ theta**output_lags)
    total[: len(near)] += before[near] + after[near]
    total[len(near) :] += before[batch_size - 1] * theta ** (lags[len(near) :] - batch_size + 1)
    start = np.searchsorted(sizes, lags, side="right")
    longer = np.concatenate([np.cumsum(sizes[::-1])[::-1], [0]])[start] - lags * (len(sizes) - start)
    pairs = float(total @ longer) / (int(sizes.sum()) * (2 * shuffle_buffer - 1))
    return pairs / math.comb(batch_size, 2)
