"""Whether the units of a video fit together: frames behind an edge are the same, wherever decoding began."""

from collections.abc import Sequence
from itertools import pairwise

from cache_builder.spill import UnitReceipt


def first_wrong_edge(receipts: Sequence[UnitReceipt]) -> int | None:
    """First packet of the first unit whose frames are others when decoding goes on from the unit before; None if none.

    `receipts` are those of all units of a video in packet order. Units that are damaged are not compared: what a
    decoder makes of damage depends on all that it saw before. Nor are those that a GPU decoded.
    """
    for before, behind in pairwise(receipts):
        if before.is_damaged or behind.is_damaged:
            continue
        for one, other in zip(before.following_pictures, behind.first_pictures, strict=False):
            if None not in (one[1], other[1]) and one != other:
                return behind.first_packet
    return None
