"""Pairs of slots of a batch that are one place of the epoch, because `pad` makes a batch of more slots than places."""

import math


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


def _pairs_of_one_place(num_places: int, num_more: int, *, rounds: int) -> int:
    """Pairs of slots on one place, if each place has `rounds` slots, and `num_more` places have one more."""
    return num_more * math.comb(rounds + 1, 2) + (num_places - num_more) * math.comb(rounds, 2)
