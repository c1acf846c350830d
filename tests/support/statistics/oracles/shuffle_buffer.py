"""Which item leaves the buffer of `webdataset.shuffle` at which pick: exact for small streams, and limits."""

import math
import operator

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Integers, Reals
from loader.bias.webdataset.kappa import first_fill, items_read, picks_before
from loader.errors import SamplingError


def buffer_schedule(
    num_items: int, *, shuffle_buffer: int, initial: int | None = None
) -> tuple[Integers, Integers]:
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

    (1 / (q q')) prod over the other picks up to the second of (1 - alive / q), where alive is the number of a and b
    that are read and not yet taken. Shape (N, N), for small N.

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

    (theta^|d - delta| + theta^(d + delta - 1)) / (2 Q - 1), theta = 1 - 1 / Q, for a buffer that has long been full,
    far from both ends of the stream.

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


def approximate_buffer_kappa(shard_frames: float, *, shuffle_buffer: int) -> float:
    """Kappa of a buffer of Q in a stream of shards of n frames, 1 - (1 - e^-x) / x - 1 / (2 Q), x = n / Q (S39).

    For batches much smaller than Q, in the steady state. It is about n / (2 Q) if Q is much larger than n.

    Raises:
        SamplingError: a shard or a buffer below one.
    """
    first_fill(shuffle_buffer, None)
    if shard_frames < 1:
        raise SamplingError(f"a shard has 1 frame or more, found {shard_frames}")
    ratio = shard_frames / shuffle_buffer
    return max(0.0, 1 + math.expm1(-ratio) / ratio - 1 / (2 * shuffle_buffer))
