"""How far apart on the circle of shards two slots of a batch lie, where the order inside a block is nested.

Kappa, the variance and the pairs of `block` all follow from this distribution of distances. It is computed by recursion
over the tree of a block (`NestedTree`): the positions of a batch that lie in a node are a run of the node's positions,
and its even and odd ones are runs of the node's two children, which lie side by side, in either order alike (S31).
"""

import math
import operator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from frame_store.shared import counted
from loader.bias.checks import Reals, check_batch_size
from loader.errors import SamplingError

MAX_PLACES: Final = 1 << 17
"""Largest block whose places are all told apart. In a larger one, some neighbouring places count as one."""

MAX_WORK: Final = 1 << 24
"""Limit of places times levels of a block, summed over the batches that are followed: about a second on one core."""

_SMALL: Final = 256
"""Nodes of at most this many places are kept for all batches: a few megabytes."""

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""Start and number of neighbouring positions, one or more times. A position may be in several of them."""


@dataclass(frozen=True, kw_only=True)
class BlockLags:
    """The distribution of the distance of two distinct slots of a batch, round the circle of N places."""

    by_lag: Reals
    """Probability that the slots lie d steps apart, in one direction of the circle or the other, for d = 0, 1, ...; the
    sum is 1. A distance of 0 is one place, which a batch has twice if it has more slots than the epoch has places."""
    step: int
    """Places in a step: 1 for blocks of at most `MAX_PLACES` frames."""
    is_exact: bool
    """False if not every batch was followed, but some that are evenly spread over the epoch, or a step is above 1."""


class _Node(NamedTuple):
    """What a batch has in one node: float64, shape (places,) each."""

    slots: Reals
    """Expected slots at each place."""
    pairs: Reals
    """Expected pairs of slots by their distance in places."""


def lags_of_blocks(
    num_frames: int, *, block_frames: int, batch_size: int, num_batches: int | None = None
) -> BlockLags:
    """The mean over the first `num_batches` batches of two slots or more (S31); None: all whole ones.

    The epoch has N places in blocks of L, the last one shorter, and batch t is the positions [t B, (t + 1) B). Batches
    beyond the end continue at the start of the epoch. The pattern of batches over equal blocks repeats, so only the
    batches of one period and those at the end are followed. If that is more than `MAX_WORK`, batches that are evenly
    spread over the epoch stand for them.

    Raises:
        SamplingError: a block of no frame, no batch, or a batch of one slot.
    """
    check_batch_size(batch_size)
    if operator.index(block_frames) < 1:
        raise SamplingError(f"block_frames must be 1 or more, found {block_frames}")
    if batch_size == 1:
        raise SamplingError("a batch of one frame holds no pair")
    if num_batches is None:
        num_batches = num_frames // batch_size
    if num_batches < 1:
        raise SamplingError(
            f"an epoch of {counted(num_frames, 'frame')} holds no whole batch of {batch_size}"
        )
    block_frames = min(block_frames, num_frames)
    step = 1
    if block_frames > MAX_PLACES and batch_size <= MAX_PLACES // 4:
        step = -(-block_frames // MAX_PLACES)
        num_batches = max(1, num_batches // step)
        num_frames, block_frames = num_frames // step, block_frames // step
    batches, are_all = _batches_to_follow(num_frames, block_frames, batch_size, num_batches)
    small: dict[tuple[int, Runs], _Node] = {}
    by_lag = np.zeros(1)
    for batch, weight in batches.items():
        found = _pairs_of_batch(batch * batch_size, num_frames, block_frames, batch_size, small)
        if len(found) > len(by_lag):
            by_lag = np.pad(by_lag, (0, len(found) - len(by_lag)))
        by_lag[: len(found)] += weight * found
    return BlockLags(by_lag=by_lag / by_lag.sum(), step=step, is_exact=are_all and step == 1)


def _batches_to_follow(
    num_frames: int, block_frames: int, batch_size: int, num_batches: int
) -> tuple[dict[int, float], bool]:
    """Numbers of batches, each with the number of batches that it stands for, and whether those are all like it."""
    last_start = (num_frames - 1) // block_frames * block_frames
    num_before = min(last_start // batch_size, num_batches)  # they end before the last block
    period = min(block_frames // math.gcd(block_frames, batch_size), num_before)
    work = block_frames * max(1, block_frames.bit_length())
    at_most = max(2, MAX_WORK // work)
    of_period, at_end = period, num_batches - num_before
    if of_period + at_end > at_most:
        # Each part has a share of the batches that are followed, and at least one if it has any.
        of_period = min(period, max(min(1, period), at_most * num_before // num_batches))
        at_end = min(at_end, max(min(1, at_end), at_most - of_period))
    followed: dict[int, float] = {}
    for number in range(of_period):
        batch = (2 * number + 1) * period // (2 * of_period) if of_period < period else number
        times = (num_before - 1 - batch) // period + 1 if of_period == period else num_before / of_period
        followed[batch] = times
    total = num_batches - num_before
    for number in range(at_end):
        batch = num_before + (2 * number + 1) * total // (2 * at_end)
        followed[batch] = total / at_end
    return followed, of_period == period and at_end == total


def _pairs_of_batch(
    start: int, num_frames: int, block_frames: int, batch_size: int, small: dict[tuple[int, Runs], _Node]
) -> Reals:
    """Expected pairs of slots of one batch by their distance on the circle."""
    blocks = _runs_by_block(start, num_frames, block_frames, batch_size)
    nodes: dict[tuple[int, Runs], _Node] = {}
    origin = min(first for first, _, _ in blocks)
    reach = max(first + size for first, size, _ in blocks) - origin
    pairs, slots = np.zeros(reach), np.zeros(reach)
    for first, size, runs in blocks:
        node = _node_of(size, runs, nodes, small)
        pairs[:size] += node.pairs
        slots[first - origin : first - origin + size] = node.slots
        if len(blocks) > 1:  # these are no pairs of two blocks; see below
            pairs[:size] -= _products_by_lag(node.slots)
    if len(blocks) > 1:
        across = _products_by_lag(slots)
        pairs += across
    np.maximum(pairs, 0, out=pairs)
    if reach > num_frames:  # some blocks are those at the start of the epoch, beyond its end
        pairs[: reach - num_frames] += pairs[num_frames:]
        pairs = pairs[:num_frames]
    return pairs


def _runs_by_block(
    start: int, num_frames: int, block_frames: int, batch_size: int
) -> list[tuple[int, int, Runs]]:
    """First place, number of places and positions inside, for each block that a batch from `start` on touches.

    A block at the start of the epoch that the batch reaches beyond its end lies N places further on.
    """
    found: dict[int, tuple[int, int, Runs]] = {}
    position, rest = start, batch_size
    while rest:
        rounds, inside = divmod(position, num_frames)
        block = inside // block_frames
        size = min(block_frames, num_frames - block * block_frames)
        number = min(rest, size - (inside - block * block_frames))
        first = rounds * num_frames + block * block_frames
        run = (inside - block * block_frames, number)
        if block in found:  # the second time
            first, _, runs = found[block]
            found[block] = (first, size, (*runs, run))
        else:
            found[block] = (first, size, (run,))
        position, rest = position + number, rest - number
    return list(found.values())


def _products_by_lag(slots: Reals) -> Reals:
    """Sum over places a of slots[a] slots[a + d], for d = 1, 2, ...; 0 for d = 0. As long as `slots`."""
    by_lag = _convolved(slots[::-1], slots)[len(slots) - 1 :].copy()
    by_lag[0] = 0
    return by_lag


def _node_of(
    size: int,
    runs: Runs,
    nodes: dict[tuple[int, Runs], _Node],
    small: dict[tuple[int, Runs], _Node],
) -> _Node:
    """What positions `runs` have in a node of `size` places. `nodes` and `small` keep what was computed."""
    known, key = small if size <= _SMALL else nodes, (size, runs)
    if key not in known:
        known[key] = _computed(size, runs, nodes, small)
    return known[key]


def _computed(
    size: int,
    runs: Runs,
    nodes: dict[tuple[int, Runs], _Node],
    small: dict[tuple[int, Runs], _Node],
) -> _Node:
    if not runs:
        return _Node(np.zeros(size), np.zeros(size))
    if runs == ((0, size),):  # every place once
        pairs = np.arange(size, 0.0, -1)
        pairs[0] = 0
        return _Node(np.ones(size), pairs)
    if size == 1:
        number = sum(number for _, number in runs)
        return _Node(np.array([float(number)]), np.array([math.comb(number, 2)], np.float64))
    even = tuple(
        ((start + 1) // 2, (start + number + 1) // 2 - (start + 1) // 2) for start, number in runs
    )
    odd = tuple((start // 2, (start + number) // 2 - start // 2) for start, number in runs)
    num_first, num_second = (size + 1) // 2, size // 2
    first = _node_of(num_first, tuple(run for run in even if run[1]), nodes, small)
    second = _node_of(num_second, tuple(run for run in odd if run[1]), nodes, small)
    slots, pairs = np.zeros(size), np.zeros(size)
    slots[:num_first] += first.slots / 2
    slots[num_first:] += second.slots / 2
    slots[:num_second] += second.slots / 2
    slots[num_second:] += first.slots / 2
    pairs[:num_first] += first.pairs
    pairs[:num_second] += second.pairs
    if first.slots.any() and second.slots.any():
        # The distance of place a of the first child and b of the second is num_first + b - a, or num_second + a - b.
        across = _convolved(first.slots[::-1], second.slots) / 2
        pairs[1:] += across + across[::-1]
    return _Node(slots, pairs)


def _convolved(one: Reals, other: Reals) -> Reals:
    """The convolution of two arrays, shape (len(one) + len(other) - 1,)."""
    length = len(one) + len(other) - 1
    if length <= 2 * _SMALL:
        return np.convolve(one, other)
    padded = 1 << (length - 1).bit_length()
    product: Reals = np.fft.irfft(np.fft.rfft(one, padded) * np.fft.rfft(other, padded), padded)[:length]
    return product
