"""How far apart on the circle of shards two slots of a batch lie, where the order inside a block is nested.

Kappa, the variance and the pairs of `block` all follow from this distribution of distances (S31). The positions of a
batch in one block are a run of the block's tree (`TreeRuns`), and different blocks have independent coins.
"""

import math
import operator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from frame_store.shared import counted
from loader.bias.checks import Reals, check_batch_size
from loader.bias.nested import TreeRuns
from loader.errors import SamplingError

MAX_PLACES: Final = 1 << 17
"""Largest block whose places are all told apart. In a larger one, some neighbouring places count as one."""

MAX_WORK: Final = 1 << 24
"""Limit of places times levels of a block, summed over the batches that are followed: about a second on one core."""


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
    runs = TreeRuns()
    by_lag = np.zeros(1)
    for batch, weight in batches.items():
        found = _pairs_of_batch(batch * batch_size, num_frames, block_frames, batch_size, runs)
        if len(found) > len(by_lag):
            by_lag = np.pad(by_lag, (0, len(found) - len(by_lag)))
        by_lag[: len(found)] += weight * found
    return BlockLags(by_lag=by_lag / by_lag.sum(), step=step, is_exact=are_all and step == 1)


def shares_by_phase(lags: BlockLags, *, shard_size: int, num_shards: int) -> tuple[Reals, Reals]:
    """N times the probability of a pair of frames i, j in two slots, for S equal shards of n frames in a random order.

    By |e|, the difference of the places of i and j in their shards, float64, shape (n,): for two frames of one shard,
    and for two frames of two shards (0 if there is one shard). Lags are in single places.
    """
    rows = np.pad(lags.by_lag, (0, -len(lags.by_lag) % shard_size)).reshape(-1, shard_size)
    # A row is one shard: lag k = j n + e is at [j, e]. The displacement of frames i and j is j - i, or N - (j - i) in
    # the other direction of the circle. Each is half of the ordered pairs of slots.
    inside = rows[0] / 2
    inside[0] *= 2
    if len(rows) == num_shards:
        inside[1:] += rows[-1, :0:-1] / 2
    across = rows[1:].sum(0)
    across[1:] += rows[: num_shards - 1, :0:-1].sum(0)
    across[0] *= 2
    return inside, across / 2 / max(1, num_shards - 1)


def _batches_to_follow(
    num_frames: int, block_frames: int, batch_size: int, num_batches: int
) -> tuple[dict[int, float], bool]:
    """Numbers of batches, each with the number of batches that it stands for, and whether those are all like it."""
    last_start = (num_frames - 1) // block_frames * block_frames
    num_before = min(last_start // batch_size, num_batches)  # they end before the last block
    period = min(block_frames // math.gcd(block_frames, batch_size), num_before)
    of_period = np.arange(period)
    starts = of_period * batch_size % block_frames
    by_start = np.argsort(starts, kind="stable")
    in_one_block = starts[by_start] + batch_size <= block_frames
    kinds = [by_start[in_one_block], by_start[~in_one_block], np.arange(num_before, num_batches)]
    num_all = sum(map(len, kinds))
    at_most = max(2, MAX_WORK // (block_frames * block_frames.bit_length()))
    followed: dict[int, float] = {}
    for of_kind in kinds:
        batches = of_kind
        stand_for = np.where(batches < num_before, (num_before - 1 - batches) // max(1, period) + 1, 1)
        if num_all > at_most and len(batches):
            number = -(-at_most * len(batches) // num_all)
            total = float(stand_for.sum())
            batches = batches[(2 * np.arange(number) + 1) * len(batches) // (2 * number)]
            stand_for = np.full(number, total / number)
        followed |= dict(zip(batches.tolist(), stand_for.tolist(), strict=True))
    return followed, num_all <= at_most


def _pairs_of_batch(start: int, num_frames: int, block_frames: int, batch_size: int, runs: TreeRuns) -> Reals:
    """Expected pairs of slots of one batch by their distance on the circle."""
    blocks = _positions_by_block(start, num_frames, block_frames, batch_size)
    origin = min(block.first_place for block in blocks)
    reach = max(block.first_place + block.num_places for block in blocks) - origin
    pairs, slots = np.zeros(reach), np.zeros(reach)
    for block in blocks:
        slots_of_block, pairs_of_block = _in_one_block(block, runs)
        pairs[: block.num_places] += pairs_of_block
        slots[block.first_place - origin :][: block.num_places] = slots_of_block
        if len(blocks) > 1:  # these are pairs of one block; see below
            pairs[: block.num_places] -= _products_by_lag(slots_of_block)
    if len(blocks) > 1:
        pairs += _products_by_lag(slots)  # blocks have independent coins
        np.maximum(pairs, 0, out=pairs)
    if reach > num_frames:  # some blocks are those at the start of the epoch, beyond its end
        pairs[: reach - num_frames] += pairs[num_frames:]
        pairs = pairs[:num_frames]
    return pairs


class _BlockOfBatch(NamedTuple):
    """The slots of a batch in one block: neighbouring positions, from its first one on again after the last."""

    first_place: int
    num_places: int
    start: int
    num_slots: int


def _positions_by_block(
    start: int, num_frames: int, block_frames: int, batch_size: int
) -> list[_BlockOfBatch]:
    """What a batch from `start` on has in each block that it touches.

    A block at the start of the epoch that the batch reaches beyond its end lies N places further on.
    """
    found: dict[int, _BlockOfBatch] = {}
    position, rest = start, batch_size
    while rest:
        rounds, inside = divmod(position, num_frames)
        block, place = divmod(inside, block_frames)
        size = min(block_frames, num_frames - block * block_frames)
        number = min(rest, size - place)
        if block in found:  # the second time, from its first place on
            found[block] = found[block]._replace(num_slots=found[block].num_slots + number)
        else:
            found[block] = _BlockOfBatch(rounds * num_frames + block * block_frames, size, place, number)
        position, rest = position + number, rest - number
    return list(found.values())


def _in_one_block(block: _BlockOfBatch, runs: TreeRuns) -> tuple[Reals, Reals]:
    """Expected slots at each place of a block, and expected pairs of slots by distance, shape (places,) each."""
    size = block.num_places
    rounds, rest = divmod(block.num_slots, size)
    run = runs.run(size, block.start, rest)
    if not rounds:
        return run.places, run.distances
    # Each place has `rounds` slots, and the run's places have one more.
    pairs = run.distances + rounds**2 * np.arange(size, 0.0, -1)
    inside = np.cumsum(run.places)
    pairs += rounds * (inside[::-1] + np.cumsum(run.places[::-1])[::-1])
    pairs[0] = math.comb(rounds, 2) * size + rounds * rest
    return run.places + rounds, pairs


def _products_by_lag(slots: Reals) -> Reals:
    """Sum over places a of slots[a] slots[a + d], for d = 1, 2, ...; 0 for d = 0. As long as `slots`."""
    padded = 1 << (2 * len(slots) - 1).bit_length()
    by_lag: Reals = np.fft.irfft(np.square(np.abs(np.fft.rfft(slots, padded))), padded)[: len(slots)]
    by_lag[0] = 0
    return by_lag
