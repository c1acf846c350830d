"""Source order against the index and the table of videos."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from frame_store.source_files import checks, find_source_problems, order_of_index
from tests.support.source_orders import index_of, order_of, rows_of_stores


@pytest.fixture(autouse=True)
def _blocks_of_three_places(monkeypatch):
    monkeypatch.setattr(checks, "_PLACES_PER_STEP", 3)


def problems(order, rows, num_decoded, **changes):
    counts = {
        "num_decoded": num_decoded,
        "num_stored": np.bincount([video for video, _ in rows], minlength=len(num_decoded)),
    }
    return list(find_source_problems(order, index_of(rows), **counts | changes))


@given(rows_of_stores())
def test_an_index_gives_the_source_order_that_has_no_problem(store):
    rows, num_decoded = store
    index, order = index_of(rows), order_of(rows, num_decoded)
    made = order_of_index(index, num_decoded=num_decoded)
    for name in ("first_row", "first_stored", "order", "source_frames"):
        np.testing.assert_array_equal(getattr(made, name), getattr(order, name))
    stored = dict(zip(rows, index["pts_seconds"], strict=True))
    expected = [
        stored.get((video_id, frame), np.nan)
        for video_id, count in enumerate(num_decoded)
        for frame in range(count)
    ]
    np.testing.assert_array_equal(made.source_pts, expected)
    assert problems(made, rows, num_decoded) == []


@given(rows_of_stores(least_stored=1), st.data())
def test_every_wrong_number_is_found(store, data):
    rows, num_decoded = store
    order = order_of_index(index_of(rows), num_decoded=num_decoded)
    names = [name for name in ("order", "source_frames", "source_pts") if getattr(order, name) is not None]
    name = data.draw(st.sampled_from(names))
    column = getattr(order, name).copy()
    if name == "source_pts":  # of frames that are not stored nothing else is known
        row = data.draw(st.sampled_from(sorted(rows)))
        at = order.rows_of(*map(np.array, row))
        column[at] = data.draw(st.floats().filter(lambda value: value != column[at]))
        assume(not (np.isnan(column[at]) and np.isnan(order.source_pts[at])))
    else:
        at = data.draw(st.integers(0, len(column) - 1))
        column[at] = data.draw(st.integers(0, 2**32 - 1).filter(lambda value: value != column[at]))
    (problem,) = problems(replace(order, **{name: column}), rows, num_decoded)
    assert f"{name}.npy" in problem.partition(":")[0]


@given(rows_of_stores(least_stored=2))
def test_two_numbers_that_changed_places_are_found(store):
    rows, num_decoded = store
    order = order_of_index(index_of(rows), num_decoded=num_decoded)
    for name in ("order", "source_frames"):
        column = getattr(order, name)
        if column is not None:
            swapped = column.copy()
            swapped[:2] = swapped[1::-1]
            if (swapped != column).any():
                assert problems(replace(order, **{name: swapped}), rows, num_decoded)


def test_the_table_of_videos_must_have_the_same_counts():
    rows, num_decoded = [(0, 0), (1, 0), (1, 1)], [1, 3]
    order = order_of_index(index_of(rows), num_decoded=num_decoded)
    assert problems(order, rows, [1, 4]) == ["first_row.npy: video 1 has 3 there, 4 in the table of videos"]
    assert problems(order, rows, num_decoded, num_stored=[2, 1]) == [
        "first_stored.npy: video 0 has 1 there, 2 in the table of videos"
    ]


def test_an_index_that_is_not_in_source_order_needs_an_order():
    rows, num_decoded = [(0, 1), (0, 0), (1, 0)], [2, 1]
    order = replace(order_of_index(index_of(rows), num_decoded=num_decoded), order=None)
    assert problems(order, rows, num_decoded) == [
        "index.npy: place 0 is frame 0 of video 0, which is another frame in the index"
    ]


def test_frames_that_do_not_rise_or_lie_outside_of_their_video_are_found_where_the_index_agrees():
    rows, num_decoded = [(0, 3), (0, 1), (1, 0), (1, 1)], [5, 2]
    order = order_of_index(index_of(rows), num_decoded=num_decoded)
    falling = replace(
        order, order=np.arange(4, dtype=np.uint32), source_frames=np.array([3, 1, 0, 1], np.uint32)
    )
    assert problems(falling, rows, num_decoded) == [
        "order.npy or source_frames.npy: place 1 is frame 1 of video 0, which does not rise"
    ]
    far = [(0, 1), (0, 9), (1, 0), (1, 1)]
    order = replace(order, order=None, source_frames=np.array([1, 9, 0, 1], np.uint32))
    assert problems(order, far, num_decoded) == [
        "source_frames.npy: place 1 is frame 9 of video 0, which the video does not have"
    ]
