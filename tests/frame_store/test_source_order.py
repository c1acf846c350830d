"""The source order of a store, against loops over its frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.errors import FrameIdError, StoreDamagedError
from frame_store.source_order import NO_PLACE, SourceOrder
from tests.support.source_orders import order_of, rows_of_stores


@given(rows_of_stores())
def test_places_ids_and_rows_are_those_of_a_loop_over_frames(store):
    rows, num_decoded = store
    order = order_of(rows, num_decoded)
    assert (order.num_videos, order.num_stored, order.num_rows) == (
        len(num_decoded),
        len(rows),
        sum(num_decoded),
    )
    id_of = {row: frame_id for frame_id, row in enumerate(rows)}
    place, row = 0, 0
    for video_id, count in enumerate(num_decoded):
        ids = []
        for frame in range(-2, count + 3):
            video, wanted = np.array([video_id]), np.array([frame])
            assert order.places_from(video, wanted).tolist() == [place]
            if (video_id, frame) not in id_of:
                assert order.places_of(video, wanted).tolist() == [NO_PLACE]
            else:
                assert order.places_of(video, wanted).tolist() == [place]
                assert order.ids_at(np.array([place])).tolist() == [id_of[video_id, frame]]
                assert order.frames_at(np.array([place]), video).tolist() == [frame]
                ids.append(id_of[video_id, frame])
                place += 1
            if 0 <= frame < count:
                assert order.rows_of(video, wanted).tolist() == [row]
                row += 1
        assert order.ids_of_video(video_id).tolist() == ids
        assert order.ids_of_video(video_id).dtype == np.int64
    assert (place, row) == (len(rows), sum(num_decoded))


@given(rows_of_stores(), st.data())
def test_a_batch_gives_what_its_frames_give_one_by_one(store, data):
    rows, num_decoded = store
    order = order_of(rows, num_decoded)
    wanted = data.draw(
        st.lists(st.tuples(st.integers(0, max(0, len(num_decoded) - 1)), st.integers(-50, 60)), max_size=30)
        if num_decoded
        else st.just([])
    )
    video_ids, frames = np.array(wanted, np.int64).reshape(-1, 2).T
    offsets = np.array([-3, 0, 0, 7])
    windows = frames[:, None] + offsets
    for find in (order.places_of, order.places_from):
        one_by_one = [
            [int(find(np.array([video]), np.array([frame + offset]))[0]) for offset in offsets]
            for video, frame in wanted
        ]
        found = find(video_ids[:, None], windows)
        assert found.dtype == np.int64
        assert found.shape == windows.shape
        assert found.tolist() == one_by_one
        np.testing.assert_array_equal(
            find(np.repeat(video_ids, len(offsets)), windows.ravel()), found.ravel()
        )


@given(rows_of_stores())
def test_columns_are_left_out_where_numbers_give_them(store):
    rows, num_decoded = store
    order = order_of(rows, num_decoded)
    assert (order.order is None) == (rows == sorted(rows))
    assert (order.source_frames is None) == (len(rows) == sum(num_decoded))


@pytest.mark.parametrize("video_id", [-1, 2])
def test_no_such_video(video_id):
    with pytest.raises(FrameIdError, match=rf"video {video_id} is outside \[0, 2\)"):
        order_of([(0, 0)], [1, 1]).ids_of_video(video_id)


@pytest.mark.parametrize(("rows", "num_decoded"), [([(1, 0)], [1]), ([(0, 3)], [3]), ([(0, 0)], [])])
def test_rows_outside_of_their_videos_are_refused(rows, num_decoded):
    with pytest.raises(ValueError, match="outside of its video"):
        order_of(rows, num_decoded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_row": np.array([0, 5, 4])}, "first_row must begin with 0 and never fall"),
        ({"first_row": np.array([1, 2, 5])}, "first_row must begin with 0"),
        ({"first_stored": np.array([0, 2, 1])}, "first_stored must begin with 0 and never fall"),
        ({"first_stored": np.array([0, 3], np.uint64)}, r"first_stored must be int64 of shape \(V \+ 1,\)"),
        ({"first_row": np.zeros(0, np.int64)}, r"first_row must be int64 of shape"),
        ({"first_row": np.zeros((1, 3), np.int64)}, r"first_row must be int64 of shape"),
        ({"first_row": np.array([0, 5])}, "must have the same shape"),
        ({"first_row": np.array([0, 1, 5])}, "video 0 has more stored than decoded frames"),
        ({"order": np.arange(4)}, r"order must have shape \(3,\), found \(4,\)"),
        ({"source_frames": None}, "source_frames is needed: 3 of 5 decoded frames are stored"),
        ({"source_pts": np.zeros(3)}, r"source_pts must have shape \(5,\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    sound = {
        "first_row": np.array([0, 3, 5]),
        "first_stored": np.array([0, 2, 3]),
        "source_frames": np.array([0, 2, 1], np.uint32),
    }
    SourceOrder(**sound)
    with pytest.raises(ValueError, match=message):
        SourceOrder(**sound | change)


def spoilt_order(**columns):
    return SourceOrder(
        first_row=np.array([0, 3, 5]), first_stored=np.array([0, 2, 3]), label="/cache/gen-0/", **columns
    )


def test_numbers_of_a_spoilt_file_lead_nowhere():
    order = spoilt_order(
        order=np.array([0, 2**32 - 1, 3], np.uint32), source_frames=np.array([2**32 - 1, 1, 2], np.uint32)
    )
    with pytest.raises(StoreDamagedError, match=r"/cache/gen-0/order.npy: frame id 4294967295 is outside"):
        order.ids_of_video(0)
    with pytest.raises(StoreDamagedError, match=r"order.npy: frame id 3 is outside \[0, 3\)"):
        order.ids_at(np.array([0, 2]))
    with pytest.raises(StoreDamagedError, match=r"/cache/gen-0/source_frames.npy: place 2 holds a frame out"):
        order.frames_at(np.array([1, 2]), np.array([0, 1]))
    with pytest.raises(StoreDamagedError, match=r"source_frames.npy: place 0"):
        order.frames_at(np.array([0]), np.array([0]))


@given(st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3), st.integers(-5, 2**40))
def test_places_stay_inside_of_their_videos_whatever_a_file_holds(numbers, frame):
    order = spoilt_order(source_frames=np.array(numbers, np.uint32))
    for video_id, (first, end) in enumerate([(0, 2), (2, 3)]):
        video, wanted = np.array([video_id]), np.array([frame])
        assert first <= order.places_from(video, wanted)[0] <= end
        assert order.places_of(video, wanted)[0] in {NO_PLACE, *range(first, end)}
