"""Videos that do not fit their metadata: files swapped between cameras, clocks that are off, files cut short."""

import shutil
import warnings

import av
import numpy as np
import pytest

from cache_builder import build_cache, estimate_build, open_videos
from cache_builder.errors import VideosNotWholeError
from frame_store import open_store
from loader.lerobot import LeRobotFrames
from tests.support.lerobot import (
    CameraSpec,
    FeatureSpec,
    LeRobotSpec,
    edit_info,
    edit_parquet,
    read_picture,
    write_lerobot,
)

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
LENGTHS = (6, 9, 7, 5)
CAMERAS = (
    CameraSpec(key=FRONT, episodes_per_file=(2,)),
    CameraSpec(key=WRIST, width=80, episodes_per_file=(2,)),
)
NATIVE = {"size": "native", "workers": 1}


@pytest.fixture(scope="module")
def written_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("written") / "set"
    write_lerobot(root, LeRobotSpec(cameras=CAMERAS, lengths=LENGTHS))
    return root


@pytest.fixture
def root(tmp_path, written_once):
    return shutil.copytree(written_once, tmp_path / "set")


def file(root, camera, number=0):
    return root / f"videos/{camera}/chunk-000/file-{number:03d}.mp4"


def swap(one, other):
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def delay(path, seconds):
    """The same packets, all of them shown later."""
    late = path.with_name("late.mp4")
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        stream.time_base = source.streams.video[0].time_base
        for packet in source.demux(video=0):
            if packet.dts is not None:
                ticks = round(seconds / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                target.mux(packet)
    late.replace(path)


def left_out(root, cache):
    """Reasons by episode; build and live must agree about the episodes, and what is stored must show its own frames."""
    with pytest.raises(VideosNotWholeError):
        build_cache(root, cache, **NATIVE)
    report = build_cache(root, cache, on_error="skip", **NATIVE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        live = open_videos(root, size="native", workers=1)
    with live, open_store(cache) as cached:
        for group in (live, cached):
            assert np.diff(group.source_order.first_row).tolist() == [
                0 if video.verdict == "unreadable" else length
                for video, length in zip(report.videos, LENGTHS, strict=True)
            ]
            rows = group.rows_of(np.arange(len(group)))
            expected = list(zip(rows["video_id"].tolist(), rows["frame_in_video"].tolist(), strict=True))
            for number, camera in enumerate((FRONT, WRIST)):
                pictures = group.read_frames(np.arange(len(group)), camera=camera)
                assert [read_picture(one) for one in pictures] == [(number, *row) for row in expected]
    return {row: video.reason for row, video in enumerate(report.videos) if video.verdict == "unreadable"}


def test_files_that_two_cameras_have_swapped_are_told_by_their_size(root, tmp_path):
    swap(file(root, FRONT), file(root, WRIST))
    problems = estimate_build(root, tmp_path / "c", size=64).problems
    assert len(problems) == 4
    assert problems[0] == (
        f"episode_000000 of camera {FRONT}: videos/{FRONT}/chunk-000/file-000.mp4: its pictures have 64x80 pixels "
        "(height x width), and its source states 64x96 for its camera: it is another camera's file, or the statement "
        "is wrong"
    )
    assert set(left_out(root, tmp_path / "c")) == {0, 1}


@pytest.mark.parametrize("stated", [{"shape": [3, 64, 96]}, {"shape": [480, 640, 3]}, {"info": None}])
def test_sizes_may_be_stated_channels_first_or_in_one_of_two_places(root, tmp_path, stated):
    def change(features):
        features[FRONT] |= stated
        return features

    edit_info(root, features=change)
    assert build_cache(root, tmp_path / "c", **NATIVE).num_frames == sum(LENGTHS)


@pytest.mark.parametrize("seconds", [0.5, 0.1])
def test_no_episode_of_a_file_whose_clock_is_off_shows_frames_of_its_neighbour(root, tmp_path, seconds):
    delay(file(root, FRONT), seconds)
    reasons = left_out(root, tmp_path / "c")
    assert set(reasons) == {0, 1}
    assert f"with times {seconds:.6f} s later all do" in reasons[1]


def test_a_file_without_its_end_is_named_with_its_episodes(root, tmp_path):
    path = file(root, WRIST, 1)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(VideosNotWholeError) as caught:
        build_cache(root, tmp_path / "c", **NATIVE)
    name = f"videos/{WRIST}/chunk-000/file-001.mp4: "
    starts = [f"episode_{episode:06d} of camera {WRIST}: {name}" for episode in (2, 3)]
    assert [problem.startswith(start) for problem, start in zip(caught.value.problems, starts, strict=True)]
    reasons = left_out(root, tmp_path / "c")
    assert set(reasons) == {2, 3}
    assert all(name in reason for reason in reasons.values())


def test_without_a_readable_video_of_a_camera_its_native_size_is_no_riddle(root, tmp_path):
    shutil.rmtree(root / "videos" / WRIST)
    text = f"{WRIST}/chunk-000/file-000.mp4 does not exist"
    for run in (
        lambda: build_cache(root, tmp_path / "c", on_error="skip", **NATIVE),
        lambda: estimate_build(root, tmp_path / "c", **NATIVE),
        lambda: open_videos(root, size="native", workers=1),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(VideosNotWholeError, match=text):
                run()


def test_texts_may_be_stored_as_a_dictionary(tmp_path):
    written = write_lerobot(
        tmp_path / "set", lengths=(3, 4), features={"note": FeatureSpec(dtype="string", values=note)}
    )

    def encode(table):
        place = table.column_names.index("note")
        return table.set_column(place, "note", table.column("note").dictionary_encode())

    edit_parquet(written.root / "data/chunk-000/file-000.parquet", encode)
    build_cache(written.root, tmp_path / "c", size=64, workers=1)
    frames = LeRobotFrames(tmp_path / "c")
    assert [frames[row]["note"] for row in range(7)] == written.columns["note"]


def note(episode, frame):
    return f"{episode % 2} {frame % 2}"


def test_a_mark_of_depth_that_is_no_truth_value_means_colour_to_build_and_loader(tmp_path):
    written = write_lerobot(tmp_path / "set", lengths=(3, 4))

    def change(features):
        features[FRONT]["info"] = {"video.is_depth_map": "false"}
        return features

    edit_info(written.root, features=change)
    build_cache(written.root, tmp_path / "c", size=64, workers=1)
    assert LeRobotFrames(tmp_path / "c")[0][FRONT].shape == (3, 64, 64)
