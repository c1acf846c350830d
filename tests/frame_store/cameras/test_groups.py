"""Groups of cameras: one moment in all of them, whatever the order of each camera's ids."""

import os
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store import FrameIdError, StoreDamagedError, ViewError, concat, group_cameras, open_store, select
from frame_store.cameras import AlignedStore, CameraGroup, aligned_store, stores_of_cameras
from frame_store.protocol import (
    DecodesInGroups,
    DecodesOnDevice,
    FrameStore,
    HoldsEncodedFrames,
    PrefetchingStore,
)
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.camera_cache import (
    SIZES,
    moments_of,
    spelt,
    write_camera_cache,
    write_plain_cache,
)

LAYOUTS = ["shuffled", "video"]


def check_moments(group):
    """Every id shows one moment in all cameras, by every way of reading."""
    num_frames = len(group)
    ids = np.arange(num_frames)
    rows = group.rows_of(ids)
    moments = np.stack([rows["video_id"], rows["frame_in_video"]], axis=1)
    for number, name in enumerate(group.cameras):
        store = group.cameras[name]
        own = store.rows_of(ids)
        np.testing.assert_array_equal(np.stack([own["video_id"], own["frame_in_video"]], axis=1), moments)
        np.testing.assert_array_equal(own["shard_id"], rows["shard_id"])
        expected = np.column_stack([np.full(num_frames, number), moments])
        np.testing.assert_array_equal(spelt(group.read_frames(ids, camera=name)), expected)
        np.testing.assert_array_equal(spelt(group[:][name]), expected)
        np.testing.assert_array_equal([spelt(moment[name]) for moment in group], expected)
        np.testing.assert_array_equal(spelt(group[num_frames - 1][name]), expected[-1])
        np.testing.assert_array_equal(spelt(group[-num_frames][name]), expected[0])
        frames, pair_rows = store.read_frames_and_rows(ids[::-1])
        np.testing.assert_array_equal(spelt(frames), expected[::-1])
        np.testing.assert_array_equal(pair_rows, own[::-1])
        repeated = np.r_[ids[:2], ids[:2]]
        np.testing.assert_array_equal(spelt(store.read_frames(repeated)), expected[repeated])
        for video_id in range(len(group.videos)):
            shown = store.ids_of_video(video_id)
            np.testing.assert_array_equal(shown, group.ids_of_video(video_id))
            assert (np.diff(moments[shown, 1]) > 0).all()
            assert (moments[shown, 0] == video_id).all()


@settings(max_examples=25, deadline=None)
@given(
    options=st.fixed_dictionaries(
        {
            "sizes": st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any).map(tuple),
            "seeds": st.lists(st.integers(0, 3), min_size=1, max_size=3),
            "layout": st.lists(st.sampled_from(LAYOUTS), min_size=3, max_size=3),
            "stride": st.integers(1, 3),
            "frames_per_shard": st.lists(st.integers(1, 6), min_size=3, max_size=3),
        }
    )
)
def test_every_id_is_one_moment(tmp_path_factory, options):
    path = tmp_path_factory.mktemp("caches") / "cache"
    write_camera_cache(path, cameras=["a", "b", "c"][: len(options["seeds"])], **options)
    group = open_store(path)
    check_moments(group)
    check_moments(pickle.loads(pickle.dumps(group)))


def test_the_fast_path_is_taken_for_equal_ids_alone(tmp_path):
    write_camera_cache(tmp_path / "equal", seeds=[1, 1])
    assert open_store(tmp_path / "equal").cameras["wrist"].camera == "wrist"
    write_camera_cache(tmp_path / "other", seeds=[1, 2])
    assert isinstance(open_store(tmp_path / "other").cameras["wrist"], AlignedStore)
    write_camera_cache(tmp_path / "shards", seeds=[1, 1], frames_per_shard=[4, 5])
    aligned = open_store(tmp_path / "shards").cameras["wrist"]
    assert isinstance(aligned, AlignedStore)
    assert aligned.own_ids([3, 1]).tolist() == [3, 1]
    check_moments(open_store(tmp_path / "shards"))


def test_independent_caches_of_the_same_videos(tmp_path):
    for number in range(3):
        layout = LAYOUTS[number % 2]
        write_plain_cache(
            tmp_path / f"{number}", number, seed=number, layout=layout, frames_per_shard=3 + number
        )
    group = group_cameras({f"camera {number}": open_store(tmp_path / f"{number}") for number in range(3)})
    check_moments(group)
    assert group.leader is group.cameras["camera 0"]
    assert len({tuple(store.shard_sizes) for store in group.cameras.values()}) == 1


def test_threads_read_a_group_at_once(tmp_path):
    write_camera_cache(tmp_path / "cache")
    group = open_store(tmp_path / "cache")
    wrong = []

    def read(seed):
        generator = np.random.default_rng(seed)
        for _ in range(20):
            ids = generator.integers(0, len(group), 8)
            rows = group.rows_of(ids)
            for number, name in enumerate(group.cameras):
                found = spelt(group.read_frames(ids, camera=name))
                if (
                    found != np.column_stack([np.full(8, number), rows["video_id"], rows["frame_in_video"]])
                ).any():
                    wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_child_reads_the_group(tmp_path):
    write_camera_cache(tmp_path / "cache")
    group = open_store(tmp_path / "cache")
    expected = group[3]["wrist"].copy()
    assert group.may_cross_fork
    child = os.fork()
    if not child:
        same = np.array_equal(group[3]["wrist"], expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_closing_a_group_releases_and_reading_opens_again(tmp_path):
    write_camera_cache(tmp_path / "cache")
    with open_store(tmp_path / "cache") as group:
        expected = group[2]["wrist"].copy()
    np.testing.assert_array_equal(group[2]["wrist"], expected)


def test_reading_names_a_camera(tmp_path):
    write_camera_cache(tmp_path / "cache")
    group = open_store(tmp_path / "cache")
    with pytest.raises(ViewError, match="of which camera\\? name one by camera=, of 'front', 'wrist'"):
        group.read_frames([0])
    with pytest.raises(ViewError, match="no camera 'left'; there are 'front', 'wrist'"):
        group.read_frames([0], camera="left")
    for name in group.cameras:
        with pytest.raises(FrameIdError, match=r"frame id 24 is outside \[0, 24\)"):
            group.read_frames([24], camera=name)
    with pytest.raises(FrameIdError):
        group[24]
    out = np.empty((2, 8, 12, 3), np.uint8)
    assert group.read_frames([1, 0], out, camera="wrist") is out
    one = group_cameras({"only": open_store(tmp_path / "cache", camera="front")})
    np.testing.assert_array_equal(one.read_frames([0, 1]), group.read_frames([0, 1], camera="front"))


def test_a_group_is_a_store_that_prefetches(tmp_path):
    write_camera_cache(tmp_path / "cache")
    group = open_store(tmp_path / "cache")
    assert isinstance(group, FrameStore)
    assert isinstance(group, PrefetchingStore)
    assert not isinstance(group, HoldsEncodedFrames)
    assert stores_of_cameras(group) == group.cameras
    assert stores_of_cameras(group.leader) is None
    with pytest.raises(TypeError):
        group.cameras["front"] = None


def test_what_is_no_store_with_ids_of_its_own_is_refused_by_name(tmp_path):
    write_camera_cache(tmp_path / "cache")
    group = open_store(tmp_path / "cache")
    front = group.leader
    for cameras, said in [
        ({}, "takes a dict with a store for each name"),
        ([front], "takes a dict with a store for each name"),
        ({"": front}, "the name of a camera is a text, found ''"),
        ({"a": group}, "camera 'a' is a group of cameras itself; .* 'front', 'wrist'"),
        ({"a": front, "b": select(front, videos=[0])}, "camera 'b' is a view"),
        ({"a": front, "b": "cache"}, "camera 'b' must be an open store, found 'cache'"),
    ]:
        with pytest.raises(ViewError, match=said):
            group_cameras(cameras)


def test_cameras_that_disagree_are_refused_with_both_names(tmp_path):
    write_plain_cache(tmp_path / "first", 0, sizes=(4, 4))
    first = open_store(tmp_path / "first")
    for name, options, said in [
        ("fewer", {"sizes": (4,)}, "camera 'b' has 1 video, camera 'a' has 2"),
        (
            "names",
            {"sizes": (4, 4), "names": ["episode_000000", "x"]},
            "video 1, 'episode_000001': path is 'x' in camera 'b', 'episode_000001' in camera 'a'",
        ),
        (
            "lengths",
            {"sizes": (4, 5)},
            "video 1, 'episode_000001': num_frames_decoded is 5 in camera 'b', 4 in camera 'a'",
        ),
        ("stride", {"sizes": (4, 4), "stride": 2}, "num_frames_stored is 2 in camera 'b', 4 in camera 'a'"),
    ]:
        write_plain_cache(tmp_path / name, 1, **options)
        with pytest.raises(ViewError, match=said):
            group_cameras({"a": first, "b": open_store(tmp_path / name)})


class OtherFrames(ArrayStore):
    """Stores every second frame of its videos, from `first` on."""

    def __init__(self, first):
        super().__init__([4, 4], video_sizes=[4, 4])
        self._index = self._index.copy()
        self._index["frame_in_video"] = self._index["frame_in_video"] * 2 + first

    @property
    def source_order(self):
        from frame_store.source_order import source_order_of_rows

        return source_order_of_rows(
            self._index["video_id"], self._index["frame_in_video"], num_decoded=[8, 8]
        )


def test_cameras_that_store_other_frames_of_one_number_are_refused():
    with pytest.raises(
        ViewError, match=r"cameras 'a' and 'b' store other frames .*: of '000.mp4', frame 0 and not 1"
    ):
        group_cameras({"a": OtherFrames(0), "b": OtherFrames(1)})


class InGroups(ArrayStore):
    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids, np.int64) // 3 * 3

    def read_frames_into(self, frame_ids, outs):
        for out, frame in zip(outs, self.read_frames(frame_ids), strict=True):
            out[...] = frame


class OnDevice(InGroups):
    device = "cuda:0"

    def read_frames_on_device(self, frame_ids, out=None):
        return self.read_frames(frame_ids)


def test_an_aligned_store_offers_what_its_store_can_under_these_ids():
    leader = ArrayStore([6, 8])
    in_groups = aligned_store(InGroups([7, 7]), leader, name="b")
    assert isinstance(in_groups, DecodesInGroups)
    assert not isinstance(in_groups, HoldsEncodedFrames | DecodesOnDevice)
    assert in_groups.decode_groups([5, 2]).tolist() == [3, 0]
    outs = np.empty((2, 4, 6, 3), np.uint8)
    in_groups.read_frames_into([5, 2], list(outs))
    np.testing.assert_array_equal(outs, leader.read_frames([5, 2]))
    shuffled = aligned_store(InGroups([7, 7], order=np.arange(14)[::-1]), leader, name="b")
    assert not isinstance(shuffled, DecodesInGroups)  # a group is a range of ids
    on_device = aligned_store(OnDevice([7, 7], order=np.arange(14)[::-1]), leader, name="b")
    assert isinstance(on_device, DecodesOnDevice)
    assert on_device.device == "cuda:0"
    np.testing.assert_array_equal(
        on_device.read_frames_on_device([0, 3]), on_device.store.read_frames([13, 10])
    )
    assert isinstance(aligned_store(OnDevice([7, 7]), leader, name="b"), DecodesInGroups)
    assert not aligned_store(ArrayStore([7, 7]), leader, name="b").prefetch([1])
    same = InGroups([6, 8])
    assert aligned_store(same, leader, name="b") is same


def test_columns_and_dataset_of_a_group_are_the_first_camera_s_unless_given(tmp_path):
    write_camera_cache(tmp_path / "cache")
    stores = {name: open_store(tmp_path / "cache", camera=name) for name in ("wrist", "front")}
    group = group_cameras(stores)
    assert list(group.columns) == ["action"]
    assert group.dataset["kind"] == "lerobot"
    assert group_cameras(stores, dataset={"kind": "other"}).dataset == {"kind": "other"}
    videos, frames = moments_of(SIZES)
    np.testing.assert_array_equal(
        group.columns["action"].gather(np.arange(len(videos))), np.stack([videos, frames], axis=1)
    )
    assert not group_cameras({"a": ArrayStore([3])}).columns


def test_fingerprints_tell_names_and_cameras_apart(tmp_path):
    write_camera_cache(tmp_path / "cache")
    front, wrist = (open_store(tmp_path / "cache", camera=name) for name in ("front", "wrist"))
    prints = [
        group_cameras(cameras).fingerprint
        for cameras in (
            {"front": front, "wrist": wrist},
            {"wrist": wrist, "front": front},
            {"a": front, "b": wrist},
            {"front": front},
        )
    ]
    assert len(set(prints)) == 4
    assert open_store(tmp_path / "cache").fingerprint == prints[0]


def test_concatenations_can_be_cameras(tmp_path):
    for number in range(4):
        write_plain_cache(tmp_path / f"{number}", number // 2, seed=number, sizes=(3, 4 + number % 2))
    cameras = [
        concat([open_store(tmp_path / f"{2 * camera + part}") for part in range(2)]) for camera in range(2)
    ]
    group = group_cameras(dict(zip("ab", cameras, strict=True)))
    assert isinstance(group, CameraGroup)
    ids = np.arange(len(group))
    rows = [group.cameras[name].rows_of(ids) for name in "ab"]
    for field in ("video_id", "frame_in_video", "shard_id"):
        np.testing.assert_array_equal(rows[0][field], rows[1][field])
    for number, name in enumerate("ab"):
        assert (spelt(group.read_frames(ids, camera=name))[:, 0] == number).all()
        np.testing.assert_array_equal(
            spelt(group.read_frames(ids, camera=name))[:, 2], rows[0]["frame_in_video"]
        )


def test_a_camera_that_lost_a_frame_while_it_was_open_is_damaged(tmp_path):
    """Its numbers of frames are those of the group, so that only the frame itself is missing."""
    write_camera_cache(tmp_path / "cache", stride=2)
    group = open_store(tmp_path / "cache")
    (file,) = tmp_path.glob("cache/camera-01/gen-*/source_frames.npy")
    frames = np.load(file)
    frames[1] += 1
    np.save(file, frames)
    with pytest.raises(
        StoreDamagedError, match=r"camera 'wrist' has no frame 2 of video 0.*run cache-verify"
    ):
        group.read_frames(np.arange(len(group)), camera="wrist")
