"""`store[i]`, slices, iteration and `ids_of_video` of any store."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.errors import FrameIdError
from tests.support.caches.array_store import ArrayStore

BOUND = st.none() | st.integers(-30, 30)
STORE = ArrayStore([6, 0, 5], video_sizes=[4, 0, 7], order=[3, 10, 0, 7, 1, 9, 4, 8, 2, 6, 5])


@given(st.slices(30) | st.builds(slice, BOUND, BOUND, BOUND.filter(lambda step: step != 0)))
def test_a_slice_reads_the_ids_that_python_would_take(key):
    ids = list(range(len(STORE)))[key]
    frames = STORE[key]
    assert frames.shape == (len(ids), 4, 6, 3)
    np.testing.assert_array_equal(frames, STORE.read_frames(ids))


@pytest.mark.parametrize("key", [0, 10, -1, -11, np.int64(4), np.uint8(4)])
def test_an_id_gives_a_frame(key):
    frame = STORE[key]
    assert frame.shape == STORE.frame_shape
    np.testing.assert_array_equal(frame, STORE.read_frames([int(key) % 11])[0])


@pytest.mark.parametrize("key", [11, -12, 2**70])
def test_no_such_frame(key):
    with pytest.raises(FrameIdError, match=rf"frame id {key} is outside \[-11, 11\)"):
        STORE[key]


@pytest.mark.parametrize("key", [1.0, "a", [1, 2], np.array([1, 2]), None])
def test_only_integers_and_slices_are_ids(key):
    with pytest.raises(
        TypeError, match=r"must be an integer or a slice, found .*; read_frames takes several"
    ):
        STORE[key]


def test_iteration_gives_every_frame_once_in_blocks():
    store = ArrayStore([150])
    np.testing.assert_array_equal(np.stack(list(store)), store.read_frames(range(150)))
    assert max(store.reads[:-1]) < 150


def test_a_slice_of_a_huge_store_makes_no_list_of_all_ids():
    class Huge(ArrayStore):
        def __len__(self):
            return 1 << 50

    store = Huge([9])
    np.testing.assert_array_equal(store[2:5], store.read_frames([2, 3, 4]))


def test_ids_of_a_video_are_in_time_order():
    index = STORE.index
    for video_id, size in enumerate([4, 0, 7]):
        ids = STORE.ids_of_video(np.int64(video_id))
        assert index["video_id"][ids].tolist() == [video_id] * size
        assert index["frame_in_video"][ids].tolist() == list(range(size))
    with pytest.raises(FrameIdError, match=r"video 3 is outside \[0, 3\)"):
        STORE.ids_of_video(3)
    with pytest.raises(TypeError):
        STORE.ids_of_video(0.0)
