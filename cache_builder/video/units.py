"""Cuts a video into units that can be decoded apart: whole GOPs, long enough to be worth an open."""

import numpy as np

from cache_builder.video.packet_table import PacketTable


def gop_units(packets: PacketTable, *, min_frames: int = 150) -> list[tuple[int, int]]:
    """Units [first_packet, end_packet) that cover all packets in order, each of whole GOPs.

    Every unit has at least `min_frames` packets, unless the whole video has fewer; the last one takes in
    what is left over. One packet is about one frame.
    """
    starts = [0]
    for start in np.flatnonzero(packets.can_start_unit).tolist():
        if start - starts[-1] >= min_frames and len(packets) - start >= min_frames:
            starts.append(start)
    return list(zip(starts, [*starts[1:], len(packets)], strict=True))


def merge_with_previous(units: list[tuple[int, int]], first_packet: int) -> list[tuple[int, int]]:
    """The same units, the one that begins at `first_packet` joined to the one before.

    What to do about a `UnitNotIndependentError`.

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
