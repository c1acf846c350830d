"""The table of videos of a store."""

from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.video_table import VideoRow, VideoTable

TEXT = st.text(max_size=5)
COUNT = st.integers(0, 2**32)
NUMBER = st.none() | st.floats(0, 1e9)
ROWS = st.builds(
    VideoRow,
    path=TEXT,
    verdict=st.sampled_from(["whole", "damaged", "unreadable", None]),
    num_frames_stored=COUNT,
    num_frames_decoded=COUNT,
    width=st.none() | COUNT,
    height=st.none() | COUNT,
    fps=NUMBER,
    duration_seconds=NUMBER,
    transfer=st.none() | TEXT,
    sha256=st.none() | TEXT,
)


@given(st.lists(ROWS, max_size=6), st.slices(6))
def test_a_table_gives_back_its_rows(rows, some):
    table = VideoTable(iter(rows))
    assert list(table) == rows
    assert len(table) == len(rows)
    assert [table[video_id] for video_id in range(-len(rows), len(rows))] == rows + rows
    assert list(table[some]) == rows[some]
    assert isinstance(table[some], VideoTable)
    assert table == VideoTable(rows)
    for row in table:
        assert {type(value) for value in asdict(row).values()} <= {int, float, str, type(None)}


@given(st.lists(ROWS, max_size=6))
def test_columns_hold_the_fields_of_the_rows(rows):
    table = VideoTable(rows)
    for field in fields(VideoRow):
        column, values = table.column(field.name), [getattr(row, field.name) for row in rows]
        assert column.shape == (len(rows),)
        assert not column.flags.writeable
        if column.dtype == np.float64:
            assert [None if np.isnan(value) else value for value in column] == values
        else:
            assert column.dtype == (np.int64 if field.name.startswith("num_") else object)
            assert column.tolist() == values


def test_mistakes_are_named():
    table = VideoTable([])
    with pytest.raises(KeyError, match="videos have no 'length'; they have path, verdict, num_frames_stored"):
        table.column("length")
    with pytest.raises(IndexError):
        table[0]
    assert repr(table) == "VideoTable(0 videos)"
