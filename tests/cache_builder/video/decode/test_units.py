import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.video.decode.units import gop_units, merge_with_previous
from cache_builder.video.packets.table import PACKET_COLUMNS, PacketTable


def packets_starting_at(starts: list[int], num_packets: int) -> PacketTable:
    columns = {name: np.zeros(num_packets, dtype) for name, dtype in PACKET_COLUMNS.items()}
    columns["can_start_unit"][[0, *starts]] = True
    return PacketTable(**columns)


@given(st.data())
def test_units_cover_all_packets_in_whole_gops(data):
    num_packets = data.draw(st.integers(1, 400))
    starts = data.draw(st.lists(st.integers(0, num_packets - 1)))
    min_frames = data.draw(st.integers(1, 200))
    packets = packets_starting_at(starts, num_packets)
    units = gop_units(packets, min_packets=min_frames)
    assert units[0][0] == 0
    assert units[-1][1] == num_packets
    assert all(end == first for (_, end), (first, _) in itertools.pairwise(units))
    assert all(packets.can_start_unit[first] for first, _ in units)
    if len(units) > 1:
        assert all(end - first >= min_frames for first, end in units)
    # Units are as short as possible: no unit except the last could have been cut earlier.
    for first, end in units[:-1]:
        assert not packets.can_start_unit[first + min_frames : end].any()


def test_units_of_a_plain_video():
    packets = packets_starting_at(list(range(0, 1000, 60)), 1000)
    assert gop_units(packets) == [(0, 180), (180, 360), (360, 540), (540, 720), (720, 1000)]
    assert gop_units(packets, min_packets=60)[:2] == [(0, 60), (60, 120)]
    assert gop_units(packets_starting_at([], 7)) == [(0, 7)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.data())
def test_merging_keeps_the_cover_and_loses_one_cut(lengths, data):
    ends = np.cumsum(lengths).tolist()
    units = list(zip([0, *ends[:-1]], ends, strict=True))
    first_packet = data.draw(st.sampled_from([first for first, _ in units]))
    merged = merge_with_previous(units, first_packet)
    expected_cuts = {first for first, _ in units} - ({first_packet} if first_packet else set())
    assert {first for first, _ in merged} == expected_cuts
    assert merged[0][0] == 0
    assert merged[-1][1] == ends[-1]
    assert all(end == first for (_, end), (first, _) in itertools.pairwise(merged))


def test_packet_table_refuses_columns_that_do_not_fit():
    columns = {name: np.zeros(3, dtype) for name, dtype in PACKET_COLUMNS.items()}
    with pytest.raises(ValueError, match=r"column size must be int32 of shape \(3,\)"):
        PacketTable(**{**columns, "size": np.zeros(4, np.int32)})
    with pytest.raises(ValueError, match="column dts must be int64"):
        PacketTable(**{**columns, "dts": np.zeros(3, np.float64)})
    table = PacketTable(**columns)
    with pytest.raises(ValueError, match="read-only"):
        table.pts[0] = 1
