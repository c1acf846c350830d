"""Numbers of pairs of slots in the batches of an epoch, by the blocks that hold the slots. Exact integers."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from loader.bias.checks import Integers


def same_place_share(num_places: int, num_slots: int) -> float:
    """Probability that two distinct slots of a batch are one place of the epoch.

    It is 0 unless the batch has more slots than the epoch has places. `pad` makes such a batch, by starting the epoch
    again, if an epoch holds no whole step.

    >>> same_place_share(3, 4) == 1 / 6
    True
    """
    if num_slots <= num_places:
        return 0.0
    rounds, rest = divmod(num_slots, num_places)
    return _pairs_of_one_place(num_places, rest, rounds=rounds) / math.comb(num_slots, 2)


def mean_over_slot_pairs(
    num_frames: int,
    *,
    block_frames: int,
    batch_size: int,
    num_batches: int,
    of_blocks: Callable[[int, int, int], float],
) -> float:
    """Mean over the pairs of distinct slots of the first `num_batches` batches under a block shuffle (S31).

    `of_blocks(earlier, later, distance)` is the mean over pairs of slots in two blocks `distance` apart; 0 means one
    block. The later block has `later` frames, and all other blocks have `earlier` frames. Two slots of one place of the
    epoch show one frame, and count 1. Batches have two slots or more.
    """
    block_frames = min(block_frames, num_frames)
    last_block = num_frames - (num_frames - 1) // block_frames * block_frames
    counts = slot_pairs(num_frames, block_frames, batch_size, num_batches)
    num_pairs = num_batches * math.comb(batch_size, 2)
    total = float(num_pairs - counts.total())  # pairs of one place
    for (distance, touches_last), pairs in counts.items():
        later = last_block if touches_last else block_frames
        total += pairs * of_blocks(block_frames, later, distance)
    return total / num_pairs


def slot_pairs(
    num_frames: int, block_frames: int, batch_size: int, num_batches: int
) -> Counter[tuple[int, bool]]:
    """Pairs of slots of different places, by the distance of their blocks and whether the later block is the last.

    These are unordered pairs in the first `num_batches` batches of B positions. The epoch has N frames in blocks of L,
    the last one shorter. Batches beyond the end of the epoch continue at its start.
    """
    pairs: Counter[tuple[int, bool]] = Counter()
    num_inside = min(num_batches, num_frames // batch_size)
    last_start = (num_frames - 1) // block_frames * block_frames
    # Batches that end before the last block, and the slots before that block of the batch that reaches into it.
    num_before, reach = divmod(last_start, batch_size)
    num_before = min(num_before, num_inside)
    num_after = num_inside - num_before
    # The pattern of batches over equal blocks repeats after this many batches.
    period = block_frames // math.gcd(block_frames, batch_size)
    in_one_block = num_before
    boundaries = np.arange(block_frames, min(period, num_before) * batch_size, block_frames)
    for batch in np.unique(boundaries[boundaries % batch_size > 0] // batch_size).tolist():
        times = (num_before - 1 - batch) // period + 1
        in_one_block -= times
        slots = _slots_by_block(batch, block_frames, batch_size)
        pairs[0, False] += times * int((slots * (slots - 1) // 2).sum())
        for distance in range(1, len(slots)):
            pairs[distance, False] += times * int(slots[distance:] @ slots[:-distance])
    pairs[0, False] += in_one_block * math.comb(batch_size, 2)

    if reach and num_after:
        num_after -= 1
        slots = _slots_by_block(num_before, block_frames, batch_size)
        earlier, last = slots[:-1], int(slots[-1])
        pairs[0, False] += int((earlier * (earlier - 1) // 2).sum())
        for distance in range(1, len(earlier)):
            pairs[distance, False] += int(earlier[distance:] @ earlier[:-distance])
        for distance, number in enumerate(earlier[::-1].tolist(), start=1):
            pairs[distance, True] += number * last
        pairs[0, True] += math.comb(last, 2)
    pairs[0, True] += num_after * math.comb(batch_size, 2)
    for batch in range(num_inside, num_batches):
        pairs += _pairs_round_the_end(batch * batch_size % num_frames, num_frames, block_frames, batch_size)
    return +pairs  # + removes zeros: a block of one frame has no pair


def _pairs_round_the_end(
    start: int, num_frames: int, block_frames: int, batch_size: int
) -> Counter[tuple[int, bool]]:
    """The counts of `slot_pairs` for one batch from `start` on, which continues at the start of the epoch."""
    rounds, rest = divmod(batch_size, num_frames)
    edges = np.append(np.arange(0, num_frames, block_frames), num_frames)
    in_rest = np.diff(np.clip(edges, start, start + rest))
    in_rest += np.diff(np.clip(edges, 0, max(0, start + rest - num_frames)))
    slots = rounds * np.diff(edges) + in_rest
    touched = np.flatnonzero(slots)
    slots, places, in_rest = slots[touched], np.diff(edges)[touched], in_rest[touched]
    is_last = touched == len(edges) - 2
    pairs: Counter[tuple[int, bool]] = Counter()
    for number, *of_block, last in zip(
        slots.tolist(), places.tolist(), in_rest.tolist(), is_last.tolist(), strict=True
    ):
        pairs[0, last] += math.comb(number, 2) - _pairs_of_one_place(*of_block, rounds=rounds)
    for earlier in range(len(touched) - 1):
        products = slots[earlier] * slots[earlier + 1 :]
        distances = touched[earlier + 1 :] - touched[earlier]
        for distance, last, number in zip(
            distances.tolist(), is_last[earlier + 1 :].tolist(), products.tolist(), strict=True
        ):
            pairs[distance, last] += number
    return pairs


def _pairs_of_one_place(num_places: int, num_more: int, *, rounds: int) -> int:
    """Pairs of slots on one place, if each place has `rounds` slots, and `num_more` places have one more."""
    return num_more * math.comb(rounds + 1, 2) + (num_places - num_more) * math.comb(rounds, 2)


def _slots_by_block(batch: int, block_frames: int, batch_size: int) -> Integers:
    """Numbers of slots of a batch in each block that it touches."""
    start, stop = batch * batch_size, (batch + 1) * batch_size
    first_boundary = (start // block_frames + 1) * block_frames
    return np.diff([start, *range(first_boundary, stop, block_frames), stop])
