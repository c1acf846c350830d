"""What a view must be, by lists: the frames of its base that it has, and everything counted from them."""

import numpy as np
from hypothesis import strategies as st

from frame_store.source_order import source_order_of_rows
from frame_store.views import base_of, cache_ids_of
from tests.support.caches.array_store import ArrayStore


@st.composite
def array_stores(draw, max_frames=24):
    """Stores of any video sizes (none is empty), shards of any sizes, both layouts."""
    video_sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=max_frames // 6))
    num_frames = sum(video_sizes)
    ends = sorted(draw(st.lists(st.integers(0, num_frames), max_size=4)))
    shard_sizes = np.diff([0, *ends, num_frames])
    order = draw(st.one_of(st.none(), st.permutations(range(num_frames))))
    return ArrayStore(shard_sizes, video_sizes=video_sizes, order=order)


def assert_is_view_of(view, base, base_ids, *, video_ids=None):
    """`view` is the store of the frames `base_ids` of `base`; None for the videos that have one of them."""
    base_ids = sorted(base_ids)
    rows = base.rows_of(base_ids)
    if video_ids is None:
        video_ids = sorted(set(rows["video_id"].tolist()))
    shards = sorted(set(rows["shard_id"].tolist()))
    assert base_of(view) is base
    assert len(view) == len(base_ids)
    assert view.video_ids.tolist() == video_ids
    assert view.cache_ids(range(len(view))).tolist() == base_ids
    assert cache_ids_of(view, [[0, len(view) - 1]]).tolist() == [[base_ids[0], base_ids[-1]]]
    assert view.shard_sizes.tolist() == [rows["shard_id"].tolist().count(shard) for shard in shards]
    own = view.rows_of(np.arange(len(view)))
    assert [video_ids[row] for row in own["video_id"]] == rows["video_id"].tolist()
    assert [shards[row] for row in own["shard_id"]] == rows["shard_id"].tolist()
    for name in ("frame_in_video", "pts_seconds"):
        assert np.array_equal(own[name], rows[name], equal_nan=True)
    frames, same_rows = view.read_frames_and_rows(np.arange(len(view))[::-1])
    assert np.array_equal(frames, base.read_frames(base_ids[::-1]))
    assert same_rows.tobytes() == own[::-1].tobytes()
    assert np.array_equal(view[len(view) - 1], base[base_ids[-1]])
    assert [row.path for row in view.videos] == [base.videos[video].path for video in video_ids]
    counts = [rows["video_id"].tolist().count(video) for video in video_ids]
    assert view.videos.column("num_frames_stored").tolist() == counts
    assert_source_order_is_of(view.source_order, view, own)
    for row in range(len(video_ids)):
        assert view.ids_of_video(row).tolist() == view.source_order.ids_of_video(row).tolist()


def assert_source_order_is_of(found, store, rows):
    """The same as sorting all rows gives."""
    decoded = store.videos.column("num_frames_decoded")
    expected = source_order_of_rows(rows["video_id"], rows["frame_in_video"], num_decoded=decoded)
    places = np.arange(len(store))
    assert found.first_row.tolist() == expected.first_row.tolist()
    assert found.first_stored.tolist() == expected.first_stored.tolist()
    assert found.ids_at(places).tolist() == expected.ids_at(places).tolist()
    videos = rows["video_id"][expected.ids_at(places)]
    assert found.frames_at(places, videos).tolist() == expected.frames_at(places, videos).tolist()
    assert (found.order is None) == (expected.order is None)
    assert (found.source_frames is None) == (expected.source_frames is None)
