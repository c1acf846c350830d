"""Views, splits and concatenations of groups of cameras, on caches of cameras whose pixels spell every frame."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store import (
    ColumnError,
    ViewError,
    base_of,
    cache_ids_of,
    concat,
    group_cameras,
    open_store,
    select,
    split,
)
from frame_store.cameras import CameraGroup
from frame_store.columns import Column, ColumnPart, Columns
from frame_store.views import CameraView, num_parts, part_of_videos, parts_of
from tests.support.caches.camera_cache import spelt, write_camera_cache, write_plain_cache

SIZES = (5, 4, 0, 6, 3)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    write_camera_cache(folder / "shuffled", sizes=SIZES)
    write_camera_cache(folder / "video", sizes=SIZES, layout="video", stride=2)
    write_camera_cache(folder / "mixed", sizes=SIZES, layout=["shuffled", "video"])
    return folder


def check(view):
    """Each id of the view is one moment in all cameras, by every way of reading."""
    ids = np.arange(len(view))
    rows = view.rows_of(ids)
    names = [row.path for row in view.videos]
    for number, name in enumerate(view.cameras):
        frames, own = view.read_frames_and_rows(ids, camera=name)
        shown = spelt(frames)
        assert (shown[:, 0] == number).all()
        np.testing.assert_array_equal(
            [f"episode_{video:06d}" for video in shown[:, 1]], np.array(names)[rows["video_id"]]
        )
        np.testing.assert_array_equal(shown[:, 2], rows["frame_in_video"])
        np.testing.assert_array_equal(own, rows)
        np.testing.assert_array_equal(view.read_frames(ids[::-1], camera=name), frames[::-1])
        np.testing.assert_array_equal(view[:][name], frames)
        np.testing.assert_array_equal(view[len(view) - 1][name], frames[-1])
        np.testing.assert_array_equal([moment[name] for moment in view], frames)
        np.testing.assert_array_equal(view.cameras[name].read_frames(ids), frames)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["shuffled", "video", "mixed"]),
    videos=st.sets(st.sampled_from([0, 1, 3, 4]), min_size=1).map(sorted),
    keep=st.lists(st.booleans(), min_size=18, max_size=18),
)
def test_a_view_of_a_group_shows_one_moment_in_all_cameras(caches, name, videos, keep):
    group = open_store(caches / name)
    view = select(group, videos=videos)
    assert isinstance(view, CameraView)
    assert base_of(view) is group
    assert isinstance(view.base, CameraGroup)
    check(view)
    ids = np.flatnonzero(keep[: len(view)])
    if len(ids):
        part = select(view, ids=ids)
        assert base_of(part) is group
        np.testing.assert_array_equal(part.cache_ids(range(len(ids))), view.cache_ids(ids))
        check(part)
        check(pickle.loads(pickle.dumps(part)))


def test_a_view_of_a_group_names_a_camera(caches):
    view = select(open_store(caches / "shuffled"), videos=["episode_000003"])
    assert set(view[0]) == {"front", "wrist"}
    with pytest.raises(ViewError, match="of which camera"):
        view.read_frames([0])
    with pytest.raises(ViewError, match="no camera 'left'"):
        view.read_frames([0], camera="left")
    assert view.frame_shapes == {"front": (8, 12, 3), "wrist": (8, 12, 3)}
    assert view.dataset["kind"] == "lerobot"
    assert list(view.columns) == ["action"]
    assert view.columns.fingerprint == base_of(view).fingerprint


def test_fingerprints_of_views_of_groups(caches):
    group = open_store(caches / "shuffled")
    one, same = select(group, videos=[0, 3]), select(select(group, videos=[0, 1, 3]), videos=[0, 2])
    assert one.fingerprint == same.fingerprint
    others = [select(group, videos=[0]), select(group.leader, videos=[0, 3]), group]
    assert len({one.fingerprint, *(store.fingerprint for store in others)}) == 4


def test_a_split_goes_by_the_names_of_episodes_in_every_camera(tmp_path):
    sizes = (2,) * 60
    names = [f"episode_{number:06d}" for number in range(61)]
    write_camera_cache(tmp_path / "cache", sizes=sizes, columns=False)
    write_camera_cache(tmp_path / "grown", sizes=(*sizes, 9), cameras=["wrist", "front"], columns=False)
    shares = {"train": 0.7, "val": 0.3}
    group = open_store(tmp_path / "cache")
    parts = split(group, shares, seed=3)
    assert all(isinstance(view, CameraView) for view in parts.values())
    of_part = {name: {row.path for row in view.videos} for name, view in parts.items()}
    assert set.union(*of_part.values()) == set(names[:60])
    grown = open_store(tmp_path / "grown")
    for other in (
        grown,
        open_store(tmp_path / "grown", camera="front"),
        open_store(tmp_path / "cache", camera="wrist"),
        group.cameras["wrist"],
        select(group, ids=range(len(group))),
    ):
        for name, view in split(other, shares, seed=3).items():
            assert {row.path for row in view.videos} - {names[60]} == of_part[name]


def test_a_split_of_files_that_hold_several_videos_goes_by_file_and_place(tmp_path):
    """Another path is no other content; all videos of a file have one hash."""
    sizes = (2, 3) * 20
    write_plain_cache(tmp_path / "cache", sizes=sizes)
    write_plain_cache(tmp_path / "renamed", sizes=sizes, names=[f"other {number}" for number in range(40)])
    shares = {"train": 0.5, "val": 0.5}
    parts = split(open_store(tmp_path / "cache"), shares)
    renamed = split(open_store(tmp_path / "renamed"), shares)
    for name in shares:
        np.testing.assert_array_equal(parts[name].video_ids, renamed[name].video_ids)
        assert 5 < len(parts[name].video_ids) < 35
    by_group = split(open_store(tmp_path / "cache"), shares, group=[number % 10 for number in range(40)])
    assert sum(len(view.video_ids) for view in by_group.values()) == 40


def test_concat_of_groups_is_a_group_of_concatenations(caches):
    groups = [open_store(caches / name) for name in ("shuffled", "mixed", "video")]
    joined = concat(groups)
    assert isinstance(joined, CameraGroup)
    assert len(joined) == sum(map(len, groups))
    check_joined(joined)
    assert parts_of(joined) == tuple(groups)
    assert num_parts(joined) == 3
    np.testing.assert_array_equal(part_of_videos(joined), np.repeat([0, 1, 2], len(SIZES)))
    assert joined.dataset == groups[0].dataset
    assert list(joined.columns) == ["action"]
    assert joined.columns.num_rows == 3 * sum(SIZES)
    assert joined.dropped_columns == []
    ids = np.arange(len(joined))
    rows = joined.rows_of(ids)
    order = joined.source_order
    action = joined.columns["action"].gather(order.rows_of(rows["video_id"], rows["frame_in_video"]))
    np.testing.assert_array_equal(
        action, np.stack([rows["video_id"] % len(SIZES), rows["frame_in_video"]], axis=1)
    )
    check_joined(pickle.loads(pickle.dumps(joined)))


def check_joined(store):
    ids = np.arange(len(store))
    rows = store.rows_of(ids)
    names = np.array([int(row.path[-6:]) for row in store.videos])
    for number, name in enumerate(store.cameras):
        expected = np.column_stack(
            [np.full(len(ids), number), names[rows["video_id"]], rows["frame_in_video"]]
        )
        np.testing.assert_array_equal(spelt(store.read_frames(ids, camera=name)), expected)


def test_concat_of_views_of_groups_is_a_view_of_the_joined_group(caches):
    groups = [open_store(caches / name) for name in ("shuffled", "mixed")]
    some = [select(groups[0], videos=[1, 3]), groups[1], select(groups[0], videos=[0])]
    joined = concat(some)
    assert isinstance(joined, CameraView)
    assert isinstance(base_of(joined), CameraGroup)
    assert len(joined) == sum(map(len, some))
    check_joined(joined)
    np.testing.assert_array_equal(part_of_videos(joined), [0, 0, 1, 1, 1, 1, 1, 2])
    assert cache_ids_of(joined, range(len(joined))).max() < len(base_of(joined))


def test_concat_refuses_what_does_not_fit_and_names_both(caches, tmp_path):
    group = open_store(caches / "shuffled")
    front, wrist = (open_store(caches / "shuffled", camera=name) for name in ("front", "wrist"))
    write_camera_cache(tmp_path / "large", sizes=(4,), shape=[(8, 12), (6, 6)], columns=False)
    for other, said in [
        (front, "groups of cameras are concatenated with groups: CameraGroup.* is one, CacheStore.* is none"),
        (
            group_cameras({"front": front}),
            "the same cameras.*: CameraGroup.* has 'front', 'wrist', CameraGroup.* has 'front'",
        ),
        (group_cameras({"front": front, "left": wrist}), "the same cameras"),
        (
            open_store(tmp_path / "large"),
            r"frames of one shape.*: camera 'wrist' of .* has \(8, 12, 3\), camera 'wrist' of .* has \(6, 6, 3\)",
        ),
    ]:
        with pytest.raises(ViewError, match=said):
            concat([group, other])


def test_the_order_of_cameras_may_differ_between_groups(caches):
    front, wrist = (open_store(caches / "shuffled", camera=name) for name in ("front", "wrist"))
    turned = group_cameras({"wrist": wrist, "front": front})
    joined = concat([open_store(caches / "shuffled"), turned])
    assert list(joined.cameras) == ["front", "wrist"]
    check_joined(joined)


def test_columns_that_not_all_groups_have_are_dropped_and_other_kinds_refused(caches, tmp_path):
    write_camera_cache(tmp_path / "bare", sizes=SIZES, columns=False)
    joined = concat([open_store(caches / "shuffled"), open_store(tmp_path / "bare")])
    assert joined.dropped_columns == ["action"]
    assert not joined.columns
    assert joined.dataset is None


def columns_of(group, **values):
    order = group.source_order
    return Columns(
        [Column(name=name, scope="frame", parts=(ColumnPart(values=each),)) for name, each in values.items()],
        num_rows=order.num_rows,
        num_videos=order.num_videos,
        fingerprint="of another store",
    )


def test_columns_of_another_kind_are_refused(caches):
    first = open_store(caches / "shuffled")
    action = np.zeros(first.source_order.num_rows, np.int64)
    other = group_cameras(first.cameras, columns=columns_of(first, action=action))
    assert other.columns.fingerprint == other.fingerprint
    with pytest.raises(
        ColumnError, match=r"column 'action': per frame, float32 .* in store 0; per frame, int64"
    ):
        concat([first, other])


def test_columns_that_do_not_fit_the_videos_are_refused(caches):
    first, strided = open_store(caches / "shuffled"), open_store(caches / "video")
    short = select(first, videos=[0])
    columns = Columns(
        [Column(name="x", scope="frame", parts=(ColumnPart(values=np.zeros(5)),))],
        num_rows=5,
        num_videos=1,
        fingerprint=short.fingerprint,
    )
    with pytest.raises(ViewError, match="columns of 5 frames and 1 video do not fit cameras of 18 decoded"):
        group_cameras(strided.cameras, columns=columns)
