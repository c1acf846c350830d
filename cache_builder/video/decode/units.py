"""Cuts a video into units that can be decoded separately: whole GOPs, long enough to pay for an open."""

from typing import Final

import numpy as np

from cache_builder.video.packets import PacketTable

MIN_PACKETS_PER_UNIT: Final = 150
"""About 150 frames a unit. Cutting at every keyframe decodes 2-25% more frames than needed, and an open costs 23-32 ms.
Much longer units would leave cores without work where there is one long video."""


def gop_units(packets: PacketTable, *, min_packets: int | None = None) -> list[tuple[int, int]]:
    """Units [first_packet, end_packet) that cover all packets in order, each of whole GOPs.

    Every unit has at least `min_packets` packets (None: `MIN_PACKETS_PER_UNIT`), unless the whole video has fewer. The
    last unit includes the remainder. One packet is about one frame.
    """
    least = MIN_PACKETS_PER_UNIT if min_packets is None else min_packets
    starts = [0]
    for start in np.flatnonzero(packets.can_start_unit).tolist():
        if start - starts[-1] >= least and len(packets) - start >= least:
            starts.append(start)
    return list(zip(starts, [*starts[1:], len(packets)], strict=True))


def merge_with_previous(units: list[tuple[int, int]], first_packet: int) -> list[tuple[int, int]]:
    """The same units, with the unit that begins at `first_packet` joined to the one before.

    This is the remedy for a `UnitNotIndependentError`.

    >>> merge_with_previous([(0, 5), (5, 9), (9, 12)], 5)
    [(0, 9), (9, 12)]
    """
    merged: list[tuple[int, int]] = []
    for first, end in units:
        if first == first_packet and merged:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((first, end))
    return merged
