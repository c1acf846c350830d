"""`select`: ids, videos, shards and source order of a view are those that lists give; views of views collapse."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store import FrameIdError, View, ViewError, base_of, cache_ids_of, select
from frame_store.protocol import FrameStore
from frame_store.video_table import VideoTable
from frame_store.views.selection import IdSelection, RangeSelection
from tests.frame_store.views.list_store import array_stores, assert_is_view_of
from tests.support.caches.array_store import ArrayStore


def ids_with(base, video_ids):
    return np.flatnonzero(np.isin(base.index["video_id"], video_ids)).tolist()


def subsets(of, *, min_size=1):
    return st.lists(st.sampled_from(of), min_size=min_size, unique=True)


@given(base=array_stores(), data=st.data())
def test_a_view_of_frames_is_what_lists_give(base, data):
    ids = data.draw(subsets(range(len(base))))
    assert_is_view_of(select(base, ids=ids), base, ids)


@given(base=array_stores(), data=st.data())
def test_a_view_of_videos_is_what_lists_give(base, data):
    videos = data.draw(subsets(range(len(base.videos))))
    assert_is_view_of(select(base, videos=videos), base, ids_with(base, videos), video_ids=sorted(videos))


@given(base=array_stores(), data=st.data())
def test_views_of_views_collapse_to_one_view_of_the_base(base, data):
    """Three of them, by frames and by videos in any order."""
    view, held = base, list(range(len(base)))
    videos = list(range(len(base.videos)))
    for _ in range(3):
        if data.draw(st.booleans()):
            chosen = sorted(data.draw(subsets(range(len(held)))))
            view, held = select(view, ids=chosen), [held[place] for place in chosen]
            videos = sorted(set(base.index["video_id"][held].tolist()))
        else:
            rows = sorted(data.draw(subsets(range(len(videos)))))
            view, videos = select(view, videos=rows), [videos[row] for row in rows]
            held = [frame for frame in held if base.index["video_id"][frame] in videos]
    assert_is_view_of(view, base, held, video_ids=videos)
    assert view.fingerprint == select(base, ids=held).fingerprint


@given(base=array_stores(), data=st.data())
def test_videos_and_ids_together_choose_what_both_name(base, data):
    videos = data.draw(subsets(range(len(base.videos))))
    ids = data.draw(subsets(range(len(base))))
    common = sorted(set(ids) & set(ids_with(base, videos)))
    if not common:
        with pytest.raises(ViewError, match="no frame is chosen: none of ids= belongs to a video of videos="):
            select(base, videos=videos, ids=ids)
        return
    assert_is_view_of(select(base, videos=videos, ids=ids), base, common)


def test_a_view_implements_the_store_and_pickles():
    base = ArrayStore([5, 5, 4])
    view = select(base, videos=[1])
    assert isinstance(view, FrameStore) and isinstance(view, View)
    assert view.source_order.num_stored == 7
    again = pickle.loads(pickle.dumps(view))
    assert not {"videos", "source_order"} & view.__getstate__().keys()
    assert again.cache_ids(range(7)).tolist() == view.cache_ids(range(7)).tolist()
    assert again.fingerprint == view.fingerprint
    assert np.array_equal(again[3], base[10])
    assert repr(view).startswith("View(7 of 14 frames, 1 of 2 videos, of ")


def test_a_view_that_keeps_everything_has_the_base_s_ids_and_another_fingerprint():
    base = ArrayStore([5, 5, 4], order=np.random.default_rng(1).permutation(14))
    view = select(base, ids=range(14))
    assert_is_view_of(view, base, range(14))
    assert view.shard_sizes.tolist() == base.shard_sizes.tolist()
    assert view.fingerprint != base.fingerprint


def test_a_store_that_is_no_view_is_its_own_base():
    base = ArrayStore([5])
    assert base_of(base) is base
    assert cache_ids_of(base, [[4, 0]]).tolist() == [[4, 0]]
    for wrong in ([5], [-1]):
        with pytest.raises(FrameIdError):
            cache_ids_of(base, wrong)
        with pytest.raises(FrameIdError):
            select(base, ids=[1, 2]).cache_ids(wrong)


def test_video_by_video_a_view_keeps_ranges_and_shuffled_four_bytes_a_frame():
    by_video = ArrayStore([500, 500], video_sizes=[100] * 10)
    view = select(by_video, videos=[1, 2, 5])
    assert isinstance(view.selection, RangeSelection)
    assert [edges.tolist() for edges in view.selection.runs()] == [[100, 500], [300, 600]]
    order = np.random.default_rng(0).permutation(1000)
    shuffled = select(ArrayStore([500, 500], video_sizes=[100] * 10, order=order), videos=[1, 2, 5])
    assert isinstance(shuffled.selection, IdSelection)
    assert shuffled.selection._ids.dtype == np.uint32 and len(shuffled.selection._ids) == 300


def test_the_fingerprint_depends_on_the_frames_and_on_the_base():
    base, other = ArrayStore([5, 9]), ArrayStore([6, 8])
    fingerprint = select(base, videos=[1]).fingerprint
    assert fingerprint == select(base, ids=range(7, 14)).fingerprint
    assert fingerprint == select(select(base, ids=range(3, 14)), videos=[1]).fingerprint
    differing = [
        select(base, ids=range(7, 13)),
        select(base, ids=range(6, 14)),
        select(base, ids=[7, 8, 9, 11, 12, 13]),
        select(base, videos=[0]),
        select(other, videos=[1]),
    ]
    assert len({fingerprint, *(view.fingerprint for view in differing)}) == 6


class PathsStore(ArrayStore):
    """Videos with given paths."""

    def __init__(self, paths):
        super().__init__([len(paths)], video_sizes=[1] * len(paths))
        self._paths = paths

    @property
    def videos(self):
        rows = super().videos
        return VideoTable(replace(row, path=path) for row, path in zip(rows, self._paths, strict=True))


PATHS = ["a/left.mp4", "a/right.mp4", "b/left.mp4", "b[1].mp4", "c.mkv"]


@pytest.mark.parametrize(
    ("videos", "expected"),
    [
        ("c.mkv", [4]),
        ("b[1].mp4", [3]),  # a path before it is a pattern
        ("*left*", [0, 2]),
        ("a/*", [0, 1]),
        (["c.mkv", "a/*"], [0, 1, 4]),
        (["*.mp4", "a/left.mp4"], [0, 1, 2, 3]),
        ([4, 0], [0, 4]),
        (np.array([4, 0], np.uint8), [0, 4]),
        (np.array([True, False, False, True, False]), [0, 3]),
        ([True, False, False, True, False], [0, 3]),
        (lambda row: row.path.endswith("mkv"), [4]),
    ],
)
def test_videos_by_row_bool_path_pattern_and_function(videos, expected):
    assert select(PathsStore(PATHS), videos=videos).video_ids.tolist() == expected


def test_frames_by_bools_and_in_any_order():
    base = ArrayStore([5, 5])
    assert select(base, ids=[7, 1, 3]).cache_ids([0, 1, 2]).tolist() == [1, 3, 7]
    assert select(base, ids=np.arange(10) % 3 == 0).cache_ids([0, 3]).tolist() == [0, 9]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, ViewError, "select takes videos=, ids= or both"),
        ({"videos": []}, ViewError, "no frame is chosen: videos= names no video, of"),
        ({"ids": []}, ViewError, "no frame is chosen: ids= is empty, of 5 frames"),
        ({"ids": [False] * 5}, ViewError, "no frame is chosen: ids= is empty, of 5 frames"),
        ({"ids": [1, 2, 1]}, ViewError, "frame 1 is given twice, and a view has a frame once; weights="),
        ({"ids": [5]}, FrameIdError, r"frame id 5 is outside \[0, 5\)"),
        ({"ids": [0.5]}, ValueError, "flat sequence of integers, found float64"),
        ({"ids": [True] * 4}, ViewError, r"one for each of 5 frames, found shape \(4,\)"),
        ({"videos": [5]}, ViewError, "video 5 is not in the table: it has 5 videos, rows 0 to 4"),
        ({"videos": [-1]}, ViewError, "video -1 is not in the table"),
        ({"videos": [1, 1]}, ViewError, "video 1 is given twice"),
        ({"videos": ["c.mkv", "c.mkv"]}, ViewError, "video 'c.mkv' is given twice"),
        (
            {"videos": [0.5]},
            ViewError,
            "takes rows of the table, bools, paths, patterns or a function; found float64",
        ),
        ({"videos": 3}, ViewError, "takes a list of rows of the table, .* or a function; found 3"),
        ({"videos": {1, 2}}, ViewError, r"takes a list of rows of the table, .* found \{1, 2\}"),
        ({"videos": iter([1])}, ViewError, "takes a list of rows of the table, .* found <list_iterator"),
        ({"videos": [True] * 4}, ViewError, r"one for each of 5 videos, found shape \(4,\)"),
        (
            {"videos": "a/lefty.mp4"},
            ViewError,
            "no video has the path 'a/lefty.mp4'; the nearest paths are 'a/left.mp4', 'b/left.mp4', 'a/right.mp4'",
        ),
        ({"videos": "*.avi"}, ViewError, r"no video matches '\*.avi'; the nearest paths are"),
        ({"videos": lambda _: False}, ViewError, "no frame is chosen: videos= names no video, of"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(options, error, text):
    with pytest.raises(error, match=text):
        select(PathsStore(PATHS), **options)


def test_a_path_is_no_store():
    with pytest.raises(ViewError, match=r"select takes an open store, such as .* gives, found 'a\.cache'"):
        select("a.cache", videos=[0])


def test_videos_without_frames_make_no_view():
    class WithUnreadable(ArrayStore):
        @property
        def videos(self):
            rows = list(super().videos)
            return VideoTable([*rows, replace(rows[0], num_frames_stored=0, num_frames_decoded=0)])

        @property
        def source_order(self):
            order = super().source_order
            return replace(
                order,
                first_row=np.append(order.first_row, order.first_row[-1]),
                first_stored=np.append(order.first_stored, order.first_stored[-1]),
            )

    base = WithUnreadable([7, 7])
    assert select(base, videos=[1, 2]).video_ids.tolist() == [1, 2]
    with pytest.raises(
        ViewError, match="no frame is chosen: videos= names 1 video without a frame, of 3 videos"
    ):
        select(base, videos=[2])
