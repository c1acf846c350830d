"""Whether the units of a video fit together: frames behind an edge are the same, wherever decoding began."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Protocol, TypeAlias

MAX_PICTURES_COMPARED: Final = 8
"""Frames behind an edge of two units that are decoded on both sides of it and compared."""

Pictures: TypeAlias = list[tuple[int, int | None]]
"""Packet and `picture_hash` of frames in output order."""


class HasEdges(Protocol):
    """A decoded unit, as far as its edges go."""

    @property
    def first_packet(self) -> int:
        """Ordinal of its first packet."""
        ...

    @property
    def is_damaged(self) -> bool:
        """Whether demuxer or decoder complained about anything in the unit."""
        ...

    @property
    def first_pictures(self) -> Pictures:
        """Its first frames, `MAX_PICTURES_COMPARED` at most; hashes are None where a GPU decoded them."""
        ...

    @property
    def following_pictures(self) -> Pictures:
        """The first frames behind it, as they come out when decoding goes on over its end."""
        ...


def num_to_decode_behind(first_packet: int) -> int:
    """Frames to decode behind the unit that begins at `first_packet`: many at the first edge of a video, one later."""
    return MAX_PICTURES_COMPARED if first_packet == 0 else 1


def first_wrong_edge(units: Sequence[HasEdges]) -> int | None:
    """First packet of the first unit that cannot be decoded by itself, or None.

    Its frames differ from those that come where decoding goes on from the unit before. `units` are all those of a
    video in packet order. Damaged ones are not compared: what a decoder makes of damage depends on all that it saw
    before. Nor are those that a GPU decoded.
    """
    for before, behind in pairwise(units):
        if before.is_damaged or behind.is_damaged:
            continue
        for one, other in zip(before.following_pictures, behind.first_pictures, strict=False):
            if None not in (one[1], other[1]) and one != other:
                return behind.first_packet
    return None
