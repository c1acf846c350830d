"""Sources with cameras, decoded live: one id is one moment in all cameras, columns come with them."""

import multiprocessing
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

import cache_builder
from cache_builder.errors import ColumnsError, ConfigError, VideoError
from cache_builder.live.cameras import agreeing, columns_of
from cache_builder.live.footage import Footage, PlacedVideo
from cache_builder.sources import SourceDataset, SourceVideo
from frame_store.cameras import CameraGroup
from frame_store.tables import read_table
from tests.support.lerobot import (
    CameraSpec,
    LeRobotSpec,
    edit_data,
    edit_episodes,
    read_picture,
    write_lerobot,
)

SIZE = 64
FRONT, WRIST, SIDE = (f"observation.images.{name}" for name in ("front", "wrist", "side"))
CAMERAS = (
    CameraSpec(key=FRONT, gop_size=5, num_b_frames=2),
    CameraSpec(key=WRIST, codec="hevc", gop_size=4, width=128, height=96, episodes_per_file=(2, 1)),
    CameraSpec(key=SIDE, gop_size=250, episodes_per_file=(3,)),
)
LENGTHS = (9, 12, 7, 11)


def open_quietly(root, **options) -> CameraGroup:
    return cache_builder.open_videos(root, size=SIZE, **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_lerobot(tmp_path_factory.mktemp("set"), LeRobotSpec(cameras=CAMERAS, lengths=LENGTHS))


@pytest.fixture(scope="module")
def group(written):
    group = open_quietly(written.root)
    yield group
    group.close()


def moments(group: CameraGroup) -> list[tuple[int, int]]:
    """(episode, frame) of each id, by the names of the videos."""
    rows = group.rows_of(range(len(group)))
    episodes = [int(path.removeprefix("episode_")) for path in group.videos.column("path")]
    return [(episodes[row["video_id"]], int(row["frame_in_video"])) for row in rows]


def check_random_ids(group: CameraGroup, ids: list[int]) -> None:
    expected = moments(group)
    for number, store in enumerate(group.cameras.values()):
        seen = [read_picture(picture) for picture in store.read_frames(ids)]
        assert seen == [(number, *expected[frame_id]) for frame_id in ids]


def test_every_id_is_one_moment_in_all_cameras(group):
    assert len(group) == sum(LENGTHS)
    assert moments(group) == [(episode, frame) for episode, n in enumerate(LENGTHS) for frame in range(n)]
    check_random_ids(group, list(range(len(group))))
    draw = random.Random(0)
    check_random_ids(group, [draw.randrange(len(group)) for _ in range(100)])
    assert group.frame_shapes == dict.fromkeys((FRONT, WRIST, SIDE), (SIZE, SIZE, 3))


@pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="PyAV has no encoder of AV1")
def test_av1_as_lerobot_writes_it(tmp_path):
    cameras = tuple(CameraSpec(key=f"observation.images.{n}", codec="av1") for n in "ab")
    write_lerobot(tmp_path, LeRobotSpec(cameras=cameras, lengths=(5, 8)))
    group = open_quietly(tmp_path)
    check_random_ids(group, [12, 3, 4, 5, 0, 9])


def test_columns_and_what_the_data_set_states_come_along(group, written):
    rows = np.arange(sum(LENGTHS))
    for name in ("action", "observation.state", "timestamp", "episode_index", "frame_index", "index"):
        np.testing.assert_array_equal(group.columns[name].gather(rows), written.columns[name])
    task = group.columns["task"]
    assert [task.text_of(code) for code in task.gather(rows)] == [
        written.spec.tasks[index] for index in written.columns["task_index"]
    ]
    assert group.dataset["kind"] == "lerobot"
    assert group.columns.fingerprint == group.fingerprint


def test_an_episode_that_a_camera_lacks_is_left_out_in_all(tmp_path):
    written = write_lerobot(tmp_path, LeRobotSpec(cameras=CAMERAS, lengths=LENGTHS))
    edit_episodes(tmp_path, 1, {f"videos/{WRIST}/from_timestamp": lambda seconds: seconds + 3.3})
    with pytest.warns(UserWarning, match="1 video left out in all cameras: episode_000001: camera") as caught:
        group = open_quietly(tmp_path)
    assert caught[0].filename == __file__
    assert repr(WRIST) in str(caught[0].message)
    assert moments(group) == [
        (episode, f) for episode, n in enumerate(LENGTHS) if episode != 1 for f in range(n)
    ]
    for store in group.cameras.values():
        assert [video.verdict for video in store.videos] == [None, "unreadable", None, None]
        assert isinstance(store.facts_of_videos[1], VideoError)
    check_random_ids(group, list(range(len(group)))[::-1])
    rows = np.arange(len(group))
    kept = written.columns["episode_index"] != 1
    np.testing.assert_array_equal(group.columns["index"].gather(rows), written.columns["index"][kept])
    assert group.columns["index"].num_missing == 0


def test_a_file_that_cannot_be_read_costs_its_episodes_alone(tmp_path):
    written = write_lerobot(tmp_path, LeRobotSpec(cameras=CAMERAS, lengths=LENGTHS))
    written.spans[WRIST][2][0].write_bytes(b"no video")
    with pytest.warns(UserWarning, match="1 video left out in all cameras: episode_000002: "):
        group = open_quietly(tmp_path)
    assert group.videos.column("num_frames_decoded").tolist() == [9, 12, 0, 11]
    check_random_ids(group, list(range(len(group))))


def test_one_camera_is_opened_alone(tmp_path):
    written = write_lerobot(tmp_path, LeRobotSpec(cameras=CAMERAS, lengths=LENGTHS))
    written.spans[FRONT][0][0].write_bytes(b"no video")
    store = open_quietly(tmp_path, camera=WRIST)
    assert isinstance(store, cache_builder.LiveStore)
    assert len(store) == sum(LENGTHS)
    assert [read_picture(frame)[0] for frame in store[:3]] == [1, 1, 1]
    assert store.columns["frame_index"].gather([8, 9]).tolist() == [8, 0]
    with pytest.raises(ConfigError, match=r"no camera 'top'; its cameras are 'observation\.images\.front', "):
        open_quietly(tmp_path, camera="top")
    written.spans[WRIST][3][0].write_bytes(b"no video")
    with pytest.warns(UserWarning, match=f"1 video left out in camera '{WRIST}'"):
        assert len(open_quietly(tmp_path, camera=WRIST)) == sum(LENGTHS[:3])


def test_a_plain_folder_has_no_camera(sample_folder):
    with pytest.raises(ConfigError, match="no camera 'top'; it has none"):
        cache_builder.open_videos(sample_folder.path, camera="top")


def test_rows_that_contradict_the_metadata_cost_their_episode(tmp_path):
    write_lerobot(tmp_path, LeRobotSpec(cameras=CAMERAS[:2], lengths=(5, 6)))
    edit_data(tmp_path, 1, 2, {"frame_index": 3})
    with pytest.warns(
        UserWarning, match=r"in all cameras: episode_000001: data/.*: row 7: frame_index is 3, exp"
    ):
        group = open_quietly(tmp_path)
    assert group.columns["index"].gather(range(5)).tolist() == list(range(5))


def test_frames_without_a_row_are_an_error(group, written):
    frames = np.arange(8)
    table = read_table({"video": ["episode_000000"] * 8, "frame": frames, "x": frames})
    dataset = SourceDataset(read_tables=lambda: [table], statement={})
    with pytest.raises(
        ColumnsError, match="episode_000000: expected a row for each of 9 decoded frames, found 8"
    ):
        columns_of(group, dataset)


def test_threads_pickles_and_forks_read_the_same(group):
    draw = random.Random(1)
    requests = [[draw.randrange(len(group)) for _ in range(8)] for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda ids: check_random_ids(group, ids), requests))
    copy = pickle.loads(pickle.dumps(group))
    check_random_ids(copy, requests[0])
    assert copy.fingerprint == group.fingerprint
    assert copy.columns["index"].gather([3]).tolist() == [3]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(group.read_frames(requests[1], camera=WRIST).tobytes()))
    child.start()
    assert queue.get(timeout=60) == group.read_frames(requests[1], camera=WRIST).tobytes()
    child.join()


def test_cameras_of_a_folder_by_a_pattern(tmp_path):
    written = write_lerobot(
        tmp_path / "set",
        LeRobotSpec(
            cameras=tuple(CameraSpec(key=name, episodes_per_file=(1,)) for name in ("left", "right")),
            lengths=(4, 6, 5),
        ),
    )
    folder = tmp_path / "folder"
    for name in ("left", "right"):
        for episode, (path, _, _) in enumerate(written.spans[name]):
            (folder / f"run{episode}").mkdir(parents=True, exist_ok=True)
            (folder / f"run{episode}" / f"{name}.mp4").write_bytes(path.read_bytes())
    group = cache_builder.open_videos(folder, size=SIZE, camera_pattern="{episode}/{camera}.mp4")
    assert list(group.cameras) == ["left", "right"]
    for number, store in enumerate(group.cameras.values()):
        expected = [(number, episode, frame) for episode, n in enumerate((4, 6, 5)) for frame in range(n)]
        assert [read_picture(frame) for frame in store] == expected
    (folder / "run1" / "left.mp4").write_bytes((folder / "run2" / "left.mp4").read_bytes())
    message = "its cameras have different numbers of frames: 5 frames in 'left', 6 frames in 'right'"
    with pytest.warns(UserWarning, match=message):
        group = cache_builder.open_videos(folder, size=SIZE, camera_pattern="{episode}/{camera}.mp4")
    assert group.videos.column("num_frames_decoded").tolist() == [4, 0, 5]


def test_which_videos_agree():
    def footage(camera: str, *places: int | str) -> Footage:
        videos = [SourceVideo(relative_path=f"e{n}", path=None, camera=camera) for n in range(len(places))]
        made = [
            VideoError(f"e{n}", place)
            if isinstance(place, str)
            else PlacedVideo(file=0, first_frame=0, num_frames=place)
            for n, place in enumerate(places)
        ]
        return Footage(videos=videos, places=made, files=[])

    agreed, problems = agreeing({"a": footage("a", 3, 4, "gone", 5), "b": footage("b", 3, 5, 6, "torn")})
    assert problems == [
        "e1: its cameras have different numbers of frames: 4 frames in 'a', 5 frames in 'b'",
        "e2: camera 'a': gone",
        "e3: camera 'b': torn",
    ]
    _, problems = agreeing({"a": footage("a", "no rows"), "b": footage("b", "no rows")})
    assert problems == ["e0: no rows"]
    assert {name: each.num_frames().tolist() for name, each in agreed.items()} == {
        "a": [3, 0, 0, 0],
        "b": [3, 0, 0, 0],
    }
