"""Kappa of `loader.webdataset_batches`: shards in random order, read end to end through `webdataset`'s shuffle buffer.

Each frame is shown once an epoch. How often two frames of a batch share a shard follows from two numbers: n, the
shard's items in the buffer, and C, its items in the current batch. The buffer is `webdataset.shuffle`'s: it reads two
items a step while it fills, picks from `initial` items on, holds at most `shuffle_buffer`, and empties itself at the
end. A pick takes one of the shard's items with probability n / q, where q items are held. So the means of n, n (n - 1),
C, C n and C (C - 1) / 2 follow a linear recursion from pick to pick (S37), separately for each shard.
"""

import math
import operator
from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Integers, Reals, check_batch_size
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes

NUM_ORDERS: Final = 4
"""Random orders of unequal shards in the mean. They differ little, because each worker's stream has many shards."""

MAX_EXACT_ITEMS: Final = 200_000
MAX_EXACT_SHARDS: Final = 5000
"""Of a longer stream only the first shards (at least 20 buffers) are followed, as if the stream ended there. The other
batches count as batches of the steady state. For equal shards the error is below 1e-3 of kappa if the window holds
hundreds of batches, and half a percent if it holds ten. For unequal shards there is a further error, because the window
begins and ends with other shards than the stream."""

_MAX_TABLE: Final = 1 << 19
"""Entries of a table of picks by shards: 4 MiB."""

_NEGLIGIBLE: Final = 1e-9
"""A shard is followed until it adds fewer expected pairs than this."""


def webdataset_kappa(
    shard_sizes: npt.ArrayLike,
    *,
    shuffle_buffer: int,
    batch_size: int,
    initial: int | None = None,
    num_workers: int = 1,
    seed: int = 0,
) -> float:
    """Probability that two distinct slots of a batch share a shard (S37): the mean over all workers' whole batches.

    It is exact for equal shards, `shard_sizes` of shape (S,), in streams of up to `MAX_EXACT_ITEMS` and
    `MAX_EXACT_SHARDS`. Unequal shards are put in `NUM_ORDERS` random orders, drawn from `seed`. It takes seconds, in
    proportion to n + 17 Q.

    Args:
        shard_sizes: frames per shard.
        shuffle_buffer: items held per worker, Q.
        batch_size: frames per batch, B.
        initial: items held before the first pick; None for a full buffer, as in `webdataset_batches`.
        num_workers: readers that share the shards in turn: workers, times nodes.
        seed: seed of the orders of unequal shards.

    Raises:
        SamplingError: not shard sizes, a number below one, or no worker with a whole batch.
    """
    sizes = check_shard_sizes(shard_sizes)
    sizes = sizes[sizes > 0]
    check_batch_size(batch_size)
    first = first_fill(shuffle_buffer, initial)
    if operator.index(num_workers) < 1:
        raise SamplingError(f"num_workers must be 1 or more, found {num_workers}")
    chance = np.random.default_rng(seed)
    orders = [sizes] if sizes.min() == sizes.max() else [chance.permutation(sizes) for _ in range(NUM_ORDERS)]
    # Equal shards give at most two kinds of streams.
    kinds = Counter(order[worker::num_workers].tobytes() for order in orders for worker in range(num_workers))
    distinct = [np.frombuffer(kind, np.int64) for kind in kinds]
    times = np.array(list(kinds.values()))
    num_batches = np.array([stream.sum() // batch_size for stream in distinct])
    if not num_batches.any():
        raise SamplingError(f"no worker has a whole batch of {batch_size}")
    if batch_size == 1:
        return 0.0
    pairs_of_batch = batch_size * (batch_size - 1) / 2
    longest = max(min(MAX_EXACT_ITEMS, int(MAX_EXACT_SHARDS * sizes.mean())), 20 * shuffle_buffer)
    windows = [_first_shards(stream, longest) for stream in distinct]
    left_out = num_batches - [window.sum() // batch_size for window in windows]
    halves = [
        _first_shards(window, int(window.sum()) // 2) if missing else window[:0]
        for window, missing in zip(windows, left_out, strict=True)
    ]
    pairs, pairs_of_halves = np.split(
        _expected_pairs(windows + halves, shuffle_buffer=shuffle_buffer, first=first, batch_size=batch_size),
        2,
    )
    for kind in np.flatnonzero(left_out):
        window, half = windows[kind], halves[kind]
        steady = steady_state_kappa(distinct[kind], shuffle_buffer=shuffle_buffer, batch_size=batch_size)
        if more := window.sum() // batch_size - half.sum() // batch_size:
            # The steady state covers all shards, but assumes that batches fall anywhere among them, which may be wrong
            # for equal shards. The second half of the window has few shards, but the real places of batches.
            steady += (pairs[kind] - pairs_of_halves[kind]) / (more * pairs_of_batch)
            steady -= steady_state_kappa(
                window[len(half) :], shuffle_buffer=shuffle_buffer, batch_size=batch_size
            )
        pairs[kind] += left_out[kind] * pairs_of_batch * steady
    return float(times @ pairs) / float(times @ num_batches * pairs_of_batch)


def is_exact_kappa(shard_sizes: npt.ArrayLike, *, num_workers: int = 1) -> bool:
    """Whether `webdataset_kappa` is exact: equal shards, and streams that it follows to their end."""
    sizes = check_shard_sizes(shard_sizes)
    sizes = sizes[sizes > 0]
    longest = -(-len(sizes) // num_workers)
    return bool(
        sizes.min() == sizes.max()
        and longest <= MAX_EXACT_SHARDS
        and longest * int(sizes[0]) <= MAX_EXACT_ITEMS
    )


def _first_shards(stream: Integers, num_items: int) -> Integers:
    """The first shards that together hold `num_items`, or all."""
    return stream[: int(np.searchsorted(np.cumsum(stream), num_items)) + 1]


def _expected_pairs(streams: list[Integers], *, shuffle_buffer: int, first: int, batch_size: int) -> Reals:
    """Expected pairs of slots of one whole batch that share a shard, summed over batches, for each stream.

    The recursion runs for the shards of all streams at once, each from its own first pick on.
    """
    stream_of_shard = np.repeat(np.arange(len(streams)), [len(stream) for stream in streams])
    ends = np.concatenate([np.cumsum(stream) for stream in streams])
    starts = ends - np.concatenate(streams)
    num_items = np.array([stream.sum() for stream in streams])[stream_of_shard]
    last_read = picks_before(ends - 1, shuffle_buffer=shuffle_buffer, first=first)
    picks = picks_before(starts, shuffle_buffer=shuffle_buffer, first=first)
    stop = num_items // batch_size * batch_size
    found = np.zeros(len(ends))
    # A shard of one item has no pair.
    rows = np.flatnonzero((picks < stop) & (ends - starts > 1))
    state = np.zeros((5, len(rows)))
    while rows.size:
        picks_at_once = min(512, -(-_MAX_TABLE // len(rows)))
        ticks = picks[rows] + np.arange(-1, picks_at_once)[:, None]
        read = items_read(ticks, num_items[rows], shuffle_buffer=shuffle_buffer, first=first)
        read[0, picks[rows] == 0] = 0  # before the first pick
        reads = np.diff(np.clip(read, starts[rows], ends[rows]), axis=0).astype(np.float64)
        ticks = ticks[1:]
        held = np.maximum(read[1:] - ticks, 1)
        chance = np.where(ticks < stop[rows], 1 / held, 0.0)
        _advance(state, reads, chance, goes_on=(ticks % batch_size > 0).astype(np.float64))
        found[rows] = state[4]
        picks[rows] += picks_at_once
        left = state[1] / 2 + state[3]
        kept = (picks[rows] < stop[rows]) & ((picks[rows] <= last_read[rows]) | (left > _NEGLIGIBLE))
        rows, state = rows[kept], state[:, kept]
    by_stream = np.zeros(len(streams))
    np.add.at(by_stream, stream_of_shard, found)
    return by_stream


def _advance(state: Reals, reads: Reals, chance: Reals, *, goes_on: Reals) -> None:
    """Advance the moments of (S37), `state` of shape (5, rows), in place, through picks of shape (picks, rows).

    `reads` is the items read before a pick, and `chance` is 1 / q. `goes_on` is 0 if the pick begins a batch, else 1.
    """
    in_buffer, ordered_pairs, in_batch, across, pairs = state
    for arriving, one_in, same_batch in zip(reads, chance, goes_on, strict=True):
        in_batch *= same_batch
        across *= same_batch
        # Reading r more items: n (n - 1) grows by 2 r n + r (r - 1), and C n by r C.
        ordered_pairs += arriving * (2 * in_buffer + arriving - 1)
        across += arriving * in_batch
        in_buffer += arriving
        # Picking: each line uses values that only later lines change.
        pairs += across * one_in
        across += (ordered_pairs - across) * one_in
        in_batch += in_buffer * one_in
        ordered_pairs -= 2 * ordered_pairs * one_in
        in_buffer -= in_buffer * one_in


def first_fill(shuffle_buffer: int, initial: int | None) -> int:
    """Items held at the first pick of a long stream.

    Raises:
        SamplingError: a buffer or `initial` below one.
    """
    initial = shuffle_buffer if initial is None else min(initial, shuffle_buffer)
    if operator.index(shuffle_buffer) < 1 or operator.index(initial) < 1:
        raise SamplingError(f"a buffer holds 1 item or more, found {shuffle_buffer} and initial {initial}")
    return min(initial + initial % 2, shuffle_buffer)


def items_read(picks: Integers, num_items: npt.ArrayLike, *, shuffle_buffer: int, first: int) -> Integers:
    """Items read when pick number `picks` (from 0) happens, in a stream of `num_items` (S34)."""
    read: Integers = np.minimum(picks + np.minimum(first + picks, shuffle_buffer), num_items)
    return read


def picks_before(items: Integers, *, shuffle_buffer: int, first: int) -> Integers:
    """The first pick that finds each item read: the inverse of `items_read` (S34)."""
    growing, full = (items - first) // 2 + 1, items - shuffle_buffer + 1
    return np.maximum(np.maximum(growing, full), 0)


def steady_state_kappa(shard_sizes: npt.ArrayLike, *, shuffle_buffer: int, batch_size: int) -> float:
    """Probability that two slots of a batch share a shard, with a full buffer far from both ends (S38).

    2 / (B (B - 1)) sum_delta (B - delta) sum_d P(d | delta) s(d), s(d) = sum_s max(n_s - d, 0) / N, P(d | delta) the
    probability that picks delta apart take items d apart; shards of sizes (S,) in any order, and batches at any place.

    Raises:
        SamplingError: not shard sizes, or a buffer or batch below one.
    """
    sizes = np.sort(check_shard_sizes(shard_sizes))
    check_batch_size(batch_size)
    first_fill(shuffle_buffer, None)
    if batch_size == 1:
        return 0.0
    # Beyond the batch the probability falls by the factor theta a lag, and e^-50 is negligible.
    lags = np.arange(1, min(int(sizes[-1]), batch_size + 50 * shuffle_buffer))
    if not lags.size:
        return 0.0
    theta = 1 - 1 / shuffle_buffer
    output_lags = np.arange(1, batch_size)
    weights = batch_size - output_lags
    # sum_delta (B - delta) theta^|d - delta| in two sweeps: terms at or before d, and terms after d.
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
