"""Notes on frames: which of them repeat the frame before, seen in memory within a unit, and by hashes at its edges."""

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.findings import FrameNotes
from cache_builder.video.decode import DecodedFrame
from cache_builder.video.picture import has_equal_rows, hash_of_rows, luma_rows

HEIGHT, WIDTH = 200, 34


def decoded(position, *changed_rows, height=HEIGHT, width=WIDTH):
    luma = np.full((height, width), 7, np.uint8)
    for row in changed_rows:
        luma[row, width // 2] = 8
    frame = av.VideoFrame.from_ndarray(luma, format="gray")
    return DecodedFrame(
        packet=position,
        pts=position,
        pts_seconds=float(position),
        is_corrupt=False,
        frame=frame,
        sample_aspect_ratio=None,
    )


def notes_of(frames):
    notes = FrameNotes(is_first=True)
    for frame in frames:
        notes.take(frame)
    return notes


@given(st.lists(st.lists(st.integers(0, HEIGHT - 1), max_size=2, unique=True), max_size=9))
def test_a_frame_repeats_the_one_before_if_every_fourth_row_is_equal(changes):
    notes = notes_of([decoded(position, *rows) for position, rows in enumerate(changes)])
    seen = [{row for row in rows if row % 4 == 0} for rows in changes]
    assert notes.repeats == [
        position > 0 and seen[position] == seen[position - 1] for position in range(len(seen))
    ]
    if not changes:
        assert notes.edge_hashes is None
        return
    first, last = notes.edge_hashes
    assert (first == last) == (seen[0] == seen[-1])
    assert first == notes_of([decoded(0, *changes[0])]).edge_hashes[1]


@pytest.mark.parametrize("row", range(0, HEIGHT, 4))
def test_rows_that_are_not_among_the_few_count_too(row):
    one, other = luma_rows(decoded(0).frame), luma_rows(decoded(0, row).frame)
    assert has_equal_rows(one, luma_rows(decoded(0).frame))
    assert not has_equal_rows(one, other)
    assert hash_of_rows(one) != hash_of_rows(other)


def test_frames_of_other_sizes_do_not_repeat():
    sizes = [{}, {"width": WIDTH + 2}, {"height": 8}, {}, {"height": 8}]
    frames = [decoded(position, **size) for position, size in enumerate(sizes)]
    assert notes_of(frames).repeats == [False] * 5


def test_the_frame_that_is_kept_for_the_next_one_is_not_a_copy():
    frame = decoded(0).frame
    assert np.shares_memory(luma_rows(frame), np.frombuffer(memoryview(frame.planes[0]), np.uint8))
