"""`concat`: ids, videos, shards and source order of several stores are those that lists give."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store import FrameIdError, ViewError, base_of, concat, open_store, select
from frame_store.protocol import DecodesInGroups, FrameStore, HoldsEncodedFrames, PrefetchingStore
from frame_store.source_order import JoinedPts
from frame_store.views import Concatenation, part_of_videos
from tests.frame_store.views.list_store import array_stores, assert_is_view_of, assert_source_order_is_of
from tests.support.caches.array_store import ArrayStore


@given(parts=st.lists(array_stores(max_frames=12), min_size=1, max_size=3), data=st.data())
def test_a_concatenation_is_what_lists_give(parts, data):
    store = concat(parts)
    places = [(part, frame) for part, each in enumerate(parts) for frame in range(len(each))]
    assert len(store) == len(places)
    assert store.shard_sizes.tolist() == [size for part in parts for size in part.shard_sizes]
    assert [row.path for row in store.videos] == [row.path for part in parts for row in part.videos]
    first_video = np.cumsum([0, *(len(part.videos) for part in parts)])
    first_shard = np.cumsum([0, *(len(part.shard_sizes) for part in parts)])
    ids = data.draw(st.lists(st.sampled_from(range(len(store)))))
    frames, rows = store.read_frames_and_rows(ids)
    assert np.array_equal(store.read_frames(ids), frames)
    assert store.rows_of(ids).tobytes() == rows.tobytes()
    for frame_id, frame, row in zip(ids, frames, rows, strict=True):
        part, own_id = places[frame_id]
        own = parts[part].rows_of([own_id])[0]
        assert np.array_equal(frame, parts[part][own_id])
        assert row["video_id"] == first_video[part] + own["video_id"]
        assert row["shard_id"] == first_shard[part] + own["shard_id"]
        assert row["frame_in_video"] == own["frame_in_video"]
    assert_source_order_is_of(store.source_order, store, store.rows_of(np.arange(len(store))))
    for video in range(len(store.videos)):
        assert store.ids_of_video(video).tolist() == store.source_order.ids_of_video(video).tolist()


@given(parts=st.lists(array_stores(max_frames=12), min_size=2, max_size=3), data=st.data())
def test_a_concatenation_of_views_is_the_view_of_the_concatenation(parts, data):
    stores, ids, videos, first, first_video = [], [], [], 0, 0
    for part in parts:
        chosen = sorted(data.draw(st.lists(st.sampled_from(range(len(part))), min_size=1, unique=True)))
        own_videos = sorted(set(part.index["video_id"][chosen].tolist()))
        if stores and data.draw(st.booleans()):
            chosen, own_videos, store = range(len(part)), range(len(part.videos)), part
        else:
            store = select(part, ids=chosen)
        stores.append(store)
        ids += [first + frame for frame in chosen]
        videos += [first_video + video for video in own_videos]
        first, first_video = first + len(part), first_video + len(part.videos)
    view = concat(stores)
    base = base_of(view)
    assert isinstance(base, Concatenation) and base.parts == tuple(parts)
    assert_is_view_of(view, base, ids, video_ids=videos)
    assert view.fingerprint == select(base, ids=ids).fingerprint
    part_of_video = [part for part, each in enumerate(parts) for _ in each.videos]
    assert part_of_videos(base).tolist() == part_of_video
    assert part_of_videos(view).tolist() == [part_of_video[video] for video in videos]
    assert part_of_videos(parts[0]) is None


def test_a_whole_request_of_one_part_is_read_without_a_copy():
    class Remembers(ArrayStore):
        def read_frames(self, frame_ids, out=None):
            self.given = out
            return super().read_frames(frame_ids, out)

    parts = [Remembers([4]), Remembers([5])]
    out = np.empty((2, 4, 6, 3), np.uint8)
    store = concat(parts)
    assert store.read_frames([8, 4], out) is out
    assert parts[1].given is out
    assert store.read_frames([8, 0], out) is out
    assert parts[1].given is None


class Grouped(ArrayStore):
    """Groups of three frames."""

    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) // 3 * 3

    def read_frames_into(self, frame_ids, outs):
        for out, frame in zip(outs, self.read_frames(frame_ids), strict=True):
            out[:] = frame


class Encoded(ArrayStore):
    """A payload is the frame's id in one byte."""

    def __init__(self, shard_sizes, encoding_name="jpeg"):
        super().__init__(shard_sizes)
        self.encoding_name = encoding_name

    def read_encoded(self, frame_ids):
        return [np.array([frame_id], np.uint8) for frame_id in frame_ids]


class Prefetching(ArrayStore):
    """Remembers what it was asked for, and finds frame 0 missing."""

    def prefetch(self, frame_ids):
        self.asked = list(frame_ids)
        return 0 in self.asked


def test_what_all_parts_can_do_the_concatenation_does():
    plain, grouped, encoded = ArrayStore([4]), Grouped([4]), Encoded([4])
    for store in (
        concat([plain, grouped]),
        concat([grouped, encoded]),
        concat([encoded, Encoded([4], "raw")]),
    ):
        assert isinstance(store, FrameStore) and isinstance(store, PrefetchingStore)
        assert not isinstance(store, DecodesInGroups | HoldsEncodedFrames)
    in_groups = concat([grouped, Grouped([9])])
    assert isinstance(in_groups, DecodesInGroups) and not isinstance(in_groups, HoldsEncodedFrames)
    assert in_groups.decode_groups([5, 12, 3, 9]).tolist() == [4, 10, 3, 7]
    outs = [np.empty((4, 6, 3), np.uint8) for _ in range(3)]
    in_groups.read_frames_into([12, 1, 4], outs)
    assert [int(out[0, 0, 0]) for out in outs] == [8, 1, 0]
    with pytest.raises(ValueError, match="expected a place for each of 3 frames, found 2"):
        in_groups.read_frames_into([12, 1, 4], outs[:2])
    in_one_encoding = concat([encoded, Encoded([9])])
    assert isinstance(in_one_encoding, HoldsEncodedFrames) and not isinstance(
        in_one_encoding, DecodesInGroups
    )
    assert in_one_encoding.encoding_name == "jpeg"
    assert [int(payload[0]) for payload in in_one_encoding.read_encoded([12, 1, 4])] == [8, 1, 0]


def test_frames_are_prefetched_in_the_parts_that_prefetch():
    parts = [ArrayStore([4]), Prefetching([5]), Prefetching([6])]
    store = concat(parts)
    assert store.prefetch([3, 8, 10, 9, 5]) is True
    assert parts[1].asked == [4, 1] and parts[2].asked == [1, 0]
    assert store.prefetch([3, 8]) is False


def test_a_concatenation_pickles_and_forks_as_its_parts_and_closes_them():
    class Closed(ArrayStore):
        may_cross_fork = False

        def close(self):
            self.is_closed = True

    parts = [ArrayStore([4]), ArrayStore([5])]
    store = concat(parts)
    assert store.source_order.num_stored == 9 and store.may_cross_fork
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again[7], store[7])
    closed = Closed([4])
    both = concat([closed, select(ArrayStore([3]), ids=[0])])
    assert not both.may_cross_fork
    both.close()
    assert closed.is_closed


def test_the_fingerprint_is_of_the_parts_in_their_order():
    one, other = ArrayStore([4]), ArrayStore([5])
    fingerprints = {concat(parts).fingerprint for parts in ([one, other], [other, one], [one], [one, one])}
    assert len(fingerprints | {one.fingerprint}) == 5
    expected = hashlib.sha256(f"concat {one.fingerprint} {other.fingerprint}".encode()).hexdigest()
    assert concat([one, other]).fingerprint == expected


def test_a_store_twice_has_its_frames_twice():
    base = ArrayStore([4, 3])
    store = concat([base, base])
    assert len(store) == 14 and [row.path for row in store.videos] == ["000.mp4", "000.mp4"]
    assert np.array_equal(store[3], store[10])


def test_caches_of_both_containers_and_all_encodings_are_read_together(golden_caches):
    """The golden stores hold the same frames in other orders and encodings."""
    stores = [open_store(path) for path in sorted(golden_caches.iterdir()) if path.is_dir()]
    stores = [store for store in stores if store.frame_shape == stores[0].frame_shape]
    assert len(stores) > 1
    store = concat(stores)
    assert len(store) == sum(map(len, stores))
    expected = np.concatenate([each.read_frames(range(len(each))) for each in stores])
    assert np.array_equal(store.read_frames(range(len(store))), expected)
    assert_source_order_is_of(store.source_order, store, store.rows_of(range(len(store))))


def test_bad_input_is_refused_with_what_was_expected():
    with pytest.raises(ViewError, match=r"takes a list of one or more stores, found \[\]"):
        concat([])
    with pytest.raises(ViewError, match=r"takes a list of one or more stores, found 'a\.cache'"):
        concat("a.cache")
    with pytest.raises(ViewError, match="takes a list of stores, found str in it"):
        concat([ArrayStore([4]), "a.cache"])
    with pytest.raises(ViewError, match=r"frames of one shape.*has \(4, 6, 3\), .*has \(4, 8, 3\)"):
        concat([ArrayStore([4]), ArrayStore([4], frame_shape=(4, 8, 3))])
    depth = ArrayStore([4], frame_shape=(4, 6, 1), frame_dtype=np.uint16)
    with pytest.raises(
        ViewError, match=r"frames of one type of pixels.*has rgb8 \(uint8\), .*has gray16 \(uint16\)"
    ):
        concat([ArrayStore([4]), depth])
    assert concat([depth, depth]).frame_dtype == np.uint16
    store = concat([ArrayStore([4]), ArrayStore([5])])
    for call in (store.read_frames, store.rows_of, store.read_frames_and_rows, store.prefetch):
        with pytest.raises(FrameIdError, match=r"frame id 9 is outside \[0, 9\)"):
            call([9])
    with pytest.raises(FrameIdError, match=r"video 2 is outside \[0, 2\)"):
        store.ids_of_video(2)


def test_pts_of_a_concatenation_are_read_in_its_parts():
    parts = [np.array([0.0, 0.5, np.nan]), np.zeros(0), np.broadcast_to(np.nan, 2), np.array([7.0])]
    joined, expected = JoinedPts(parts), np.concatenate(parts)
    assert joined.shape == (6,) and len(joined) == 6
    np.testing.assert_array_equal(np.asarray(joined), expected)
    for key in (slice(1, 5), slice(None, None, 2), np.array([[5, 0], [2, 2]]), np.zeros(0, np.int64)):
        np.testing.assert_array_equal(joined[key], expected[key])
    with pytest.raises(ValueError, match="is a copy"):
        joined.__array__(copy=False)
