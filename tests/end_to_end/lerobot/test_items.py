"""Every item of a cached LeRobot data set against a slow reader of the data set itself."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cache_builder import build_cache, open_videos
from frame_store import open_store, select
from loader.errors import LeRobotError
from loader.lerobot import LeRobotFrames
from tests.end_to_end.lerobot.reference import SlowItems
from tests.support.lerobot import (
    CameraSpec,
    FeatureSpec,
    LeRobotSpec,
    draw_picture,
    edit_data,
    read_picture,
    write_lerobot,
)

FRONT, WRIST, TOP = (f"observation.images.{name}" for name in ("front", "wrist", "top"))


def gray(number, width, height):
    """Pictures without colour: where colours change sharply, converters of half-size chroma differ by much."""

    def draw(episode, frame):
        picture = draw_picture(number, episode, frame, width, height).mean(axis=2, keepdims=True)
        return np.repeat(picture.astype(np.uint8), 3, axis=2)

    return draw


CAMERAS = (
    CameraSpec(key=FRONT, gop_size=5, num_b_frames=2, draw=gray(0, 96, 64)),
    CameraSpec(key=WRIST, gop_size=2, width=128, height=96, episodes_per_file=(2, 1), draw=gray(1, 128, 96)),
    CameraSpec(key=TOP, gop_size=250, episodes_per_file=(3,), draw=gray(2, 96, 64)),
)
LENGTHS = (9, 12, 3, 11)
FPS = 10
FEATURES = {
    "observation.state": FeatureSpec(shape=(6,)),
    "action": FeatureSpec(shape=(4,)),
    "next.reward": FeatureSpec(),
    "next.done": FeatureSpec(dtype="bool"),
    "flags": FeatureSpec(dtype="bool", shape=(3,)),
    "small": FeatureSpec(dtype="int32"),
    "bytes": FeatureSpec(dtype="uint8", shape=(4,)),
    "clock": FeatureSpec(dtype="float64"),
    "matrix": FeatureSpec(shape=(2, 3)),
    "one_by_one": FeatureSpec(shape=(1, 1)),
    "note": FeatureSpec(dtype="string"),
}
DELTA = {
    "action": [frame / FPS for frame in range(-2, 14)],
    "observation.state": [-0.1, 0.0],
    FRONT: [-0.2, 0.0, 0.3],
    WRIST: [-0.1],
    "next.reward": [0.0],
    "small": [0.0, 0.1],
    "flags": [0.5],
}
CODEC_LEVELS = 3 / 255


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "robot"
    spec = LeRobotSpec(
        cameras=CAMERAS,
        lengths=LENGTHS,
        fps=FPS,
        features=FEATURES,
        task_of=lambda episode, frame: (episode + frame // 4) % 2,
        episodes_per_data_file=(1, 2),
    )
    return write_lerobot(folder, spec).root


@pytest.fixture(scope="module", params=["wds", "zarr"])
def cache(root, request, tmp_path_factory):
    out = tmp_path_factory.mktemp("caches") / request.param
    build_cache(root, out, format=request.param, size="native", encoding="raw", workers=1)
    return out


@pytest.fixture(scope="module")
def skipped_root(root, tmp_path_factory):
    """The data set, of which a row of episode 1 has a wrong time."""
    folder = tmp_path_factory.mktemp("broken") / "robot"
    shutil.copytree(root, folder)
    edit_data(folder, 1, 5, {"timestamp": lambda seconds: seconds + 0.04})
    return folder


@pytest.fixture(scope="module")
def skipped(skipped_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("caches") / "skipped"
    build_cache(skipped_root, out, size="native", encoding="raw", workers=1, on_error="skip")
    return out


def check_item(found, expected, *, levels=CODEC_LEVELS):
    """Equal keys in their order, dtypes, shapes and values; pictures within what two converters of colour differ."""
    assert list(found) == list(expected)
    for key, value in expected.items():
        if isinstance(value, str):
            assert found[key] == value
            continue
        assert found[key].dtype == value.dtype and found[key].shape == value.shape, key
        if value.dim() >= 3 and key.startswith("observation.images"):
            assert (found[key] - value).abs().max() <= levels, key
        else:
            assert torch.equal(found[key], value), key


@pytest.mark.parametrize("delta", [None, DELTA], ids=["one frame", "windows"])
def test_every_item_is_that_of_the_data_set(root, cache, delta):
    frames, expected = LeRobotFrames(cache, delta), SlowItems(root, delta)
    assert len(frames) == frames.num_frames == len(expected) == sum(LENGTHS)
    items = frames.__getitems__(range(len(frames)))
    for number, item in enumerate(items):
        check_item(item, expected[number])
    check_item(frames[-1], expected[len(expected) - 1])
    check_item(frames[np.int64(3)], expected[3])


def test_live_items_are_those_of_the_data_set(root):
    with open_videos(root, size=64) as store:
        frames, expected = LeRobotFrames(store, DELTA), SlowItems(root, DELTA)
        for number in range(0, len(frames), 3):
            item, other = frames[number], expected[number]
            for key in (FRONT, WRIST, TOP):
                pictures = item.pop(key)
                assert pictures.shape == (*other.pop(key).shape[:-2], 64, 64)
            check_item(item, other)


def test_pictures_are_of_the_item(cache):
    """Every camera shows the episode and the frame of the item, before and after each boundary in a shared file."""
    frames = LeRobotFrames(cache)
    for item in frames.__getitems__(range(len(frames))):
        for number, key in enumerate((FRONT, WRIST, TOP)):
            picture = (item[key] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            assert read_picture(picture) == (number, int(item["episode_index"]), int(item["frame_index"]))


def test_the_index_stays_where_an_episode_was_left_out(skipped_root, skipped):
    frames, expected = LeRobotFrames(skipped, DELTA), SlowItems(skipped_root, DELTA)
    start = LENGTHS[0]
    assert len(frames) == sum(LENGTHS) and frames.num_episodes == len(LENGTHS)
    assert frames.episodes == frames.stored_episodes == [0, 2, 3]
    for number in [*range(start), *range(start + LENGTHS[1], len(frames))]:
        check_item(frames[number], expected[number])
        assert frames[number]["index"] == number
    message = (
        rf"index {start + 4} is frame 4 of episode 1, which .*skipped left out: camera '{FRONT}': .*"
        r"frame 5 of 12 is expected at .*; LeRobotFrames\(cache, episodes=frames.stored_episodes\) has the others"
    )
    for number in (start + 4, start + 4 - len(frames)):
        with pytest.raises(IndexError, match=message):
            frames[number]
    dense = LeRobotFrames(skipped, DELTA, episodes=frames.stored_episodes)
    assert len(dense) == sum(LENGTHS) - LENGTHS[1]
    slow = SlowItems(skipped_root, DELTA, episodes={0, 2, 3})
    for number, item in enumerate(dense.__getitems__(range(len(dense)))):
        check_item(item, slow[number])
    with pytest.raises(LeRobotError, match="left out episode 1; stored are 0, 2, 3"):
        LeRobotFrames(skipped, episodes=[0, 1])


def test_chosen_episodes_are_counted_as_lerobot_counts_them(root, cache):
    frames = LeRobotFrames(cache, DELTA, episodes=[3, 1, 1])
    expected = SlowItems(root, DELTA, episodes={1, 3})
    assert (len(frames), frames.num_frames, frames.num_episodes, frames.episodes) == (23, 23, 3, [3, 1, 1])
    for number in range(len(frames)):
        check_item(frames[number], expected[number])
    for wrong, message in [
        ([], "one or more episodes"),
        ([4], "has 4 episodes, found 4"),
        ([-1], "found -1"),
    ]:
        with pytest.raises(LeRobotError, match=message):
            LeRobotFrames(cache, episodes=wrong)


@pytest.mark.parametrize("index", [sum(LENGTHS), -sum(LENGTHS) - 1])
def test_an_index_outside_is_an_index_error(cache, index):
    with pytest.raises(IndexError, match=rf"Invalid key: {index} is out of bounds for size {sum(LENGTHS)}"):
        LeRobotFrames(cache)[index]


@pytest.mark.parametrize("index", [slice(2), [1], 1.0, "1"])
def test_only_whole_numbers_are_taken(cache, index):
    with pytest.raises(TypeError):
        LeRobotFrames(cache)[index]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_shuffling_loader_draws_every_item_once(root, cache, num_workers):
    frames, expected = LeRobotFrames(cache, DELTA), SlowItems(root, DELTA)
    loader = DataLoader(frames, batch_size=4, shuffle=True, num_workers=num_workers)
    drawn = []
    for batch in loader:
        assert isinstance(batch["task"], list)
        for place, index in enumerate(batch["index"].tolist()):
            check_item({key: value[place] for key, value in batch.items()}, expected[index])
            drawn.append(index)
    assert sorted(drawn) == list(range(len(frames)))


def test_it_pickles(root, cache):
    frames = pickle.loads(pickle.dumps(LeRobotFrames(cache, DELTA)))
    check_item(frames[7], SlowItems(root, DELTA)[7])


def test_transforms_get_the_pictures_of_each_camera_of_each_item(cache):
    seen = []

    def halved(pictures):
        seen.append((pictures.dtype, tuple(pictures.shape)))
        return pictures[..., ::2, ::2]

    frames = LeRobotFrames(cache, {FRONT: [-0.1, 0]}, image_transforms=halved)
    items = frames.__getitems__([0, 5])
    assert seen == [
        (torch.float32, (2, 3, 64, 96)), (torch.float32, (3, 96, 128)), (torch.float32, (3, 64, 96))
    ] * 2  # fmt: skip
    assert items[1][WRIST].shape == (3, 48, 64)


def test_what_training_asks_the_data_set(root, cache):
    frames, slow = LeRobotFrames(cache), SlowItems(root)
    meta = frames.meta
    assert frames.fps == meta.fps == FPS and frames.features is meta.features
    assert list(meta.features) == [*slow.info["features"]]
    assert meta.features[WRIST]["shape"] == meta.shapes[WRIST] == (96, 128, 3)
    assert meta.features["action"]["shape"] == (4,)
    assert (
        meta.video_keys == meta.camera_keys == [FRONT, WRIST, TOP]
        and meta.image_keys == meta.depth_keys == []
    )
    assert frames.episodes is None and frames.num_episodes == meta.total_episodes == len(LENGTHS)
    assert list(meta.episodes["dataset_from_index"]) == [0, 9, 21, 24]
    assert list(meta.episodes["dataset_to_index"]) == [9, 21, 24, 35]
    assert meta.episodes[1]["length"] == 12 and len(meta.episodes) == 4 and bool(meta)
    assert meta.total_frames == 35 and meta.total_tasks == 2
    assert meta.get_task_index("open the drawer") == 1 and meta.get_task_index("sing") is None
    assert [*meta.tasks.index] == ["pick the cube", "open the drawer"]
    assert meta.stats["action"]["mean"].shape == (4,) and frames.stats is meta.stats
    assert meta.names[FRONT] == ["height", "width", "channels"]


def test_features_say_the_stored_size(root, tmp_path):
    build_cache(root, tmp_path / "cache", size=32, workers=1)
    frames, native = LeRobotFrames(tmp_path / "cache", DELTA), SlowItems(root, DELTA)
    assert frames.features[WRIST]["shape"] == (32, 32, 3)
    assert frames.features[WRIST]["info"]["video.height"] == 32
    for number, item in enumerate(frames.__getitems__(range(len(frames)))):
        expected = native[number]
        for key in (FRONT, WRIST, TOP):
            assert item.pop(key).shape == (*expected.pop(key).shape[:-2], 32, 32)
        check_item(item, expected)


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        (
            {"action": [0.05, 0.1]},
            r"(?s)delta_timestamps are found outside of tolerance range.*\{'action': \[0.05\]\}",
        ),
        ({"act": [0.0]}, "the cache has no 'act'.*did you mean 'action'"),
        ({"note": [0.0]}, "'note' is a text"),
        ({"action": []}, "'action' has no offsets; leave the key out"),
        ({"timestamp": [0.0, 0.1]}, "'timestamp' has 2 offsets, and LeRobot reads a single timestamp"),
        ({"action": [float("nan")]}, "outside of tolerance"),
    ],
)
def test_windows_that_lerobot_would_refuse_are_refused(cache, delta, message):
    with pytest.raises(ValueError, match=message):
        LeRobotFrames(cache, delta)


def test_the_tolerance_of_windows_is_lerobots(cache):
    assert LeRobotFrames(cache, {"action": [0.10009]}).delta_indices == {"action": [1]}
    assert LeRobotFrames(cache, {"action": [0.11]}, tolerance_s=0.02)[0]["action"].shape == (1, 4)
    with pytest.raises(ValueError, match="outside of tolerance"):
        LeRobotFrames(cache, {"action": [0.1002]})


def test_what_is_no_whole_lerobot_cache_is_refused(root, cache, tmp_path):
    build_cache(root, tmp_path / "strided", size=32, stride=2, workers=1)
    with pytest.raises(LeRobotError, match=r"strided holds \d+ of 35 frames \(--stride or --fps\)"):
        LeRobotFrames(tmp_path / "strided")
    store = open_store(cache)
    with pytest.raises(LeRobotError, match=r"takes a whole cache.*give it episodes="):
        LeRobotFrames(select(store, videos=[0]))
    with pytest.raises(LeRobotError, match="is no cache of a LeRobot data set; cache-build --videos ROOT"):
        LeRobotFrames(store.leader)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1000), ("m", 1)])
def test_depth_is_in_millimetres_or_metres(tmp_path, unit, factor):
    depth = "observation.images.depth"
    cameras = (CAMERAS[0], CameraSpec(key=depth, codec="hevc", depth="gray12le"))
    root = write_lerobot(tmp_path / "set", LeRobotSpec(cameras=cameras, lengths=(5, 4))).root
    build_cache(root, tmp_path / "cache", size="native", encoding="raw", workers=1)
    frames = LeRobotFrames(tmp_path / "cache", {depth: [-0.1, 0.0]}, depth_output_unit=unit)
    assert frames.meta.depth_keys == [depth] and frames.features[depth]["shape"] == (64, 96, 1)
    low, high = np.log(0.01 + 3.5), np.log(10 + 3.5)
    for index in range(len(frames)):
        frame_id = int(frames.store.source_order.ids_at(np.array([index]))[0])
        codes = frames.store.cameras[depth][frame_id].astype(np.float64)
        assert read_picture(codes.astype(np.uint16))[2] == frames[index]["frame_index"]
        metres = np.clip(np.exp(codes / 4095 * (high - low) + low) - 3.5, 0.01, 10)
        found = frames[index][depth]
        assert found.shape == (2, 1, 64, 96) and found.dtype == torch.float32
        assert np.abs(found[1, 0].numpy() - metres[..., 0] * factor).max() <= 5e-5 * factor + 0.5 * (
            unit == "mm"
        )
    with pytest.raises(LeRobotError, match="depth_output_unit must be 'mm' or 'm', found 'cm'"):
        LeRobotFrames(tmp_path / "cache", depth_output_unit="cm")
