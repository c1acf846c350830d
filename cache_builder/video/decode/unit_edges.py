"""Whether the units of a video fit together: the frames after an edge are equal wherever decoding began."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Protocol, TypeAlias

MAX_PICTURES_COMPARED: Final = 8
"""Frames after the edge of two units. They are decoded from both sides of the edge and compared."""

Pictures: TypeAlias = list[tuple[int, int | None]]
"""Packet and `picture_hash` of frames in output order."""


class HasEdges(Protocol):
    """The edges of a decoded unit."""

    @property
    def first_packet(self) -> int:
        """Ordinal of the unit's first packet."""
        ...

    @property
    def is_damaged(self) -> bool:
        """Whether demuxer or decoder complained about anything in the unit."""
        ...

    @property
    def first_pictures(self) -> Pictures:
        """The unit's first frames, `MAX_PICTURES_COMPARED` at most; hashes are None where a GPU decoded them."""
        ...

    @property
    def following_pictures(self) -> Pictures:
        """The first frames after the unit, decoded by going on across its end."""
        ...


def num_to_decode_after(first_packet: int) -> int:
    """Frames to decode after the unit that begins at `first_packet`: several for the first unit, one for others."""
    return MAX_PICTURES_COMPARED if first_packet == 0 else 1


def first_wrong_edge(units: Sequence[HasEdges]) -> int | None:
    """First packet of the first unit that cannot be decoded separately, or None.

    The first frames of a unit are decoded twice: with the unit, and after the unit before it without a stop. If the
    pictures differ, the unit cannot be decoded separately. `units` are all units of a video in packet order. Damaged
    units are not compared, because a decoder's result for damage depends on everything it decoded before. Units that a
    GPU decoded are not compared, either.
    """
    for before, after in pairwise(units):
        if before.is_damaged or after.is_damaged:
            continue
        for one, other in zip(before.following_pictures, after.first_pictures, strict=False):
            if None not in (one[1], other[1]) and one != other:
                return after.first_packet
    return None
