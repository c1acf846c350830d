"""Laws of a stream of shards, with and without a shuffle buffer: which item comes out where.

The buffer is `webdataset.shuffle`'s: it reads two items a step while it fills, picks from `initial` items on, holds at
most `shuffle_buffer`, and empties itself at the end. The pair and position laws are for small streams, as oracles;
the steady state is a closed form for any. `SAMPLING.md` derives the formulas.
"""

import math
import operator
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from loader.bias.formulas import Reals, chi2_of_uniform_shards
from loader.bias.pairs import check_batch_size
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes

Counts = npt.NDArray[np.int64]


def position_law(shard_sizes: npt.ArrayLike, position: int) -> Reals:
    """Probability that each shard covers one position of a stream of shards in random order (S10): shape (S,).

    Without a rotation. Exact, by counting the sets of shards that may lie before it: O(S^2 * position) for each
    distinct size, so for small populations.

    >>> position_law([1, 3], 0).tolist()
    [0.5, 0.5]

    Raises:
        SamplingError: not shard sizes, or a position outside the stream.
    """
    sizes = check_shard_sizes(shard_sizes)
    if not 0 <= operator.index(position) < sizes.sum():
        raise SamplingError(f"position {position} is outside [0, {sizes.sum()})")
    held = sizes[sizes > 0].tolist()
    covers = {0: 0.0}
    for size in set(held):
        others = held.copy()
        others.remove(size)
        # Rows: how many shards lie before. The others' frames before must end in (position - size, position].
        ways = _subsets_by_sum(others, position)[:, max(0, position - size + 1) :].sum(1)
        num_others = len(others)
        probability = sum(
            Fraction(int(number), (num_others + 1) * math.comb(num_others, before))
            for before, number in enumerate(ways)
        )
        covers[size] = float(probability)
    return np.array([covers[size] for size in sizes.tolist()])


def chi2_at_stream_ends(shard_sizes: npt.ArrayLike) -> float:
    """Chi^2 of the first and of the last position of a stream of shards in random order, A(n) / H(n) - 1 (S10).

    Without a rotation every shard is equally likely to be the first. Taken over shards: the first frame of a shard
    stands for all of its frames, which is fair only where shards hold shuffled frames.

    Raises:
        SamplingError: not shard sizes.
    """
    return chi2_of_uniform_shards(shard_sizes)


def buffer_schedule(
    num_items: int, *, shuffle_buffer: int, initial: int | None = None
) -> tuple[Counts, Counts]:
    """(e, q): the pick before which each item is read, and the items held at each pick (S34): two of shape (N,).

    Pick t finds min(t + min(f + t, Q), N) items read, with f = min(2 ceil(I / 2), Q) held at the first.

    >>> buffer_schedule(5, shuffle_buffer=3)[1].tolist()
    [3, 3, 3, 2, 1]

    Raises:
        SamplingError: a negative number of items, or a buffer or `initial` below one.
    """
    first = first_fill(shuffle_buffer, initial)
    if operator.index(num_items) < 0:
        raise SamplingError(f"num_items must be 0 or more, found {num_items}")
    ticks = np.arange(num_items, dtype=np.int64)
    read = items_read(ticks, num_items, shuffle_buffer=shuffle_buffer, first=first)
    return picks_before(ticks, shuffle_buffer=shuffle_buffer, first=first), read - ticks


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


def buffer_output_law(num_items: int, *, shuffle_buffer: int, initial: int | None = None) -> Reals:
    """P[t, a], the probability that pick t takes item a, for all of both (S35): shape (N, N), for small N.

    (1 / q_t) prod over the picks since e_a of (1 - 1 / q).

    Raises:
        SamplingError: as `buffer_schedule`.
    """
    read_before, held = buffer_schedule(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    law = np.zeros((num_items, num_items))
    alive = np.zeros(num_items)  # probability that an item is in the buffer
    for pick in range(num_items):
        alive[read_before == pick] = 1
        law[pick] = alive / held[pick]
        alive *= 1 - 1 / held[pick]
    return law


def buffer_pair_law(
    num_items: int, *, first_pick: int, second_pick: int, shuffle_buffer: int, initial: int | None = None
) -> Reals:
    """P[a, b], the probability that `first_pick` takes item a and `second_pick`, a later one, item b (S36).

    (1 / (q q')) prod over the other picks up to the second of (1 - alive / q), alive the number of a and b that are
    read and not yet taken. Shape (N, N), for small N.

    Raises:
        SamplingError: not 0 <= first_pick < second_pick < num_items, or as `buffer_schedule`.
    """
    read_before, held = buffer_schedule(num_items, shuffle_buffer=shuffle_buffer, initial=initial)
    if not 0 <= first_pick < second_pick < num_items:
        raise SamplingError(f"picks {first_pick} and {second_pick} of {num_items} items are not in order")
    both = 1.0 - np.eye(num_items)
    for pick in range(second_pick):
        is_read = read_before <= pick
        if pick == first_pick:
            both *= is_read[:, None] / held[pick]
            continue
        first_alive = is_read & (pick < first_pick)
        both *= 1 - (first_alive[:, None] + is_read[None, :].astype(np.int64)) / held[pick]
    law: Reals = both * (read_before <= second_pick)[None, :] / held[second_pick]
    return law


def steady_lag_law(lags: npt.ArrayLike, output_lag: int, *, shuffle_buffer: int) -> Reals:
    """Probability that two picks `output_lag` apart take items `lags` >= 1 apart, either first (S38): its shape.

    (theta^|d - delta| + theta^(d + delta - 1)) / (2 Q - 1), theta = 1 - 1 / Q: of a buffer that has long been full, far
    from both ends of the stream.

    Raises:
        SamplingError: a lag or a buffer below one.
    """
    first_fill(shuffle_buffer, None)
    distances = np.asarray(lags, np.float64)
    if operator.index(output_lag) < 1 or (distances.size and distances.min() < 1):
        raise SamplingError(f"lags are 1 or more, found {output_lag} and {lags!r}")
    theta = 1 - 1 / shuffle_buffer
    law = theta ** np.abs(distances - output_lag) + theta ** (distances + output_lag - 1)
    return law / (2 * shuffle_buffer - 1)


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


def approximate_buffer_kappa(shard_frames: float, *, shuffle_buffer: int) -> float:
    """Kappa of a buffer of Q in a stream of shards of n frames, 1 - (1 - e^-x) / x - 1 / (2 Q), x = n / Q (S39).

    For batches much smaller than Q, in the steady state; n / (2 Q) where Q is much larger than n, and never below 0.

    Raises:
        SamplingError: a shard or a buffer below one.
    """
    first_fill(shuffle_buffer, None)
    if shard_frames < 1:
        raise SamplingError(f"a shard has 1 frame or more, found {shard_frames}")
    ratio = shard_frames / shuffle_buffer
    return max(0.0, 1 + math.expm1(-ratio) / ratio - 1 / (2 * shuffle_buffer))


def _subsets_by_sum(sizes: list[int], greatest: int) -> npt.NDArray[np.object_]:
    """Number of sets of shards by how many they are and how many frames they hold: Python's integers, exact."""
    ways = np.zeros((len(sizes) + 1, greatest + 1), dtype=object)
    ways[0, 0] = 1
    for size in sizes:
        if size <= greatest:
            ways[1:, size:] = ways[1:, size:] + ways[:-1, : greatest + 1 - size]
    return ways
