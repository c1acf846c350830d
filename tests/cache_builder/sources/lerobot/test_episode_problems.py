"""What is wrong with one episode: its videos have the problem, in every camera, and the others are as they were."""

import math
import re

import numpy as np
import pytest

from cache_builder.sources import look_into
from tests.support.lerobot import REMOVED, CameraSpec, edit_data, edit_episodes, edit_parquet, write_lerobot

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes"
FILE = {camera: f"videos/{camera}/chunk-000/file-000.mp4" for camera in (FRONT, WRIST)}


def of_camera(name, camera=WRIST):
    return f"videos/{camera}/{name}"


def without_rows(root, episode, frames):
    def without(table):
        rows = table.to_pylist()
        keep = [not (row["episode_index"] == episode and row["frame_index"] in frames) for row in rows]
        return table.filter(keep)

    edit_parquet(root / DATA, without)


def reordered(root, change):
    edit_parquet(root / DATA, lambda table: table.take(change([*range(table.num_rows)])))


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


# name -> (what is changed, what the problem says, the episodes that have it). Episodes of 9, 12 and 7 frames at 10 fps.
CASES = {
    "length": (
        lambda root: edit_episodes(root, 1, {"length": 11}),
        f"{EPISODES}: length is 11, dataset_from_index is 9 and dataset_to_index is 21; expected .* = 9 \\+ 11",
        [1],
    ),
    "no frames": (
        lambda root: edit_episodes(root, 1, {"length": 0, "dataset_to_index": 9}),
        "length is 0, .*; expected 1 frame or more",
        [1],
    ),
    "rows before the first": (
        lambda root: edit_episodes(root, 0, {"dataset_from_index": -1, "dataset_to_index": 8}),
        "dataset_from_index is -1 .* from 0 or later on",
        [0],
    ),
    "rows overlap": (
        lambda root: edit_episodes(root, 2, {"dataset_from_index": 20, "dataset_to_index": 27}),
        f"{EPISODES}: its rows (9 to 20 overlap those of episode 2, 20 to 26|20 to 26 overlap .* episode 1, 9 to 20)",
        [1, 2],
    ),
    "rows of another number": (
        lambda root: edit_episodes(root, 2, {"dataset_from_index": 23, "dataset_to_index": 30}),
        f"{DATA}: row 21: index is 21, expected 23",
        [2],
    ),
    "fewer rows": (
        lambda root: without_rows(root, 1, {11}),
        f"{DATA} has 11 rows of it from row 9 on, {EPISODES} has the length 12",
        [1],
    ),
    "no rows": (
        lambda root: without_rows(root, 1, set(range(12))),
        f"{DATA}, its data file by {EPISODES}, has no rows of it",
        [1],
    ),
    "a row is missing within": (
        lambda root: (
            without_rows(root, 1, {5}),
            edit_episodes(root, 1, {"length": 11, "dataset_to_index": 20}),
        ),
        f"{DATA}: row 14: frame_index is 6, expected 5",
        [1],
    ),
    "rows not in order": (
        lambda root: reordered(root, lambda rows: [*rows[:10], rows[11], rows[10], *rows[12:]]),
        f"{DATA}: row 10: frame_index is 2, expected 1",
        [1],
    ),
    "rows of an episode apart": (
        lambda root: reordered(root, lambda rows: [*rows[:18], *rows[21:], *rows[18:21]]),
        f"{DATA} has 9 rows of it from row 9 on, {EPISODES} has the length 12",
        [1],
    ),
    "rows between those of an episode": (
        lambda root: reordered(root, lambda rows: [rows[20], *rows[:9], *rows[9:20], *rows[21:]]),
        f"{DATA} has 1 row of it from row 0 on, {EPISODES} has the length 12",
        [1],
    ),
    "a row too many": (
        lambda root: edit_data(root, 2, 6, {"episode_index": 1}),
        f"{DATA}: row 27: rows of it do not follow one another|{DATA} has 6 rows of it from row 21 on",
        [1, 2],
    ),
    "index": (
        lambda root: edit_data(root, 1, 3, {"index": 99}),
        f"{DATA}: row 12: index is 99, expected 12",
        [1],
    ),
    "timestamp NaN": (
        lambda root: edit_data(root, 1, 3, {"timestamp": math.nan}),
        f"{DATA}: row 12: timestamp is nan, expected a number of seconds",
        [1],
    ),
    "timestamp null": (
        lambda root: edit_data(root, 1, 3, {"timestamp": None}),
        f"{DATA}: row 12: timestamp is nan, expected a number of seconds",
        [1],
    ),
    "timestamps fall": (
        lambda root: edit_data(root, 1, 3, {"timestamp": 0.2}),
        f"{DATA}: row 12: timestamp is 0.2\\d*, expected more than in the row before",
        [1],
    ),
    "timestamps beyond the video": (
        lambda root: edit_data(root, 1, 11, {"timestamp": 1.3}),
        f"camera {FRONT!r}: {FILE[FRONT]}: timestamps go from 0.0000 s to 1.3000 s, and the video lasts 1.2000 s",
        [1],
    ),
    "task_index": (
        lambda root: edit_data(root, 1, 3, {"task_index": 2}),
        f"{DATA}: row 12: task_index is 2, expected 0 to 1, as meta/tasks has",
        [1],
    ),
    "another data file": (
        lambda root: edit_episodes(root, 1, {"data/file_index": 1}),
        "data/chunk-000/file-001.parquet does not exist",
        [1],
    ),
    "data file of no number": (
        lambda root: edit_episodes(root, 1, {"data/chunk_index": -1}),
        f"{EPISODES}: data: chunk_index is -1, expected 0 to 1000000",
        [1],
    ),
    "data file is a folder": (
        lambda root: (
            edit_episodes(root, 1, {"data/file_index": 1}),
            (root / "data/chunk-000/file-001.parquet").mkdir(),
        ),
        "data/chunk-000/file-001.parquet is no file",
        [1],
    ),
    "data file without the rows": (
        lambda root: (
            edit_episodes(root, 1, {"data/chunk_index": 1}),
            (root / "data/chunk-001").mkdir(),
            (root / "data/chunk-001/file-000.parquet").write_bytes((root / DATA).read_bytes()),
            edit_parquet(root / "data/chunk-001/file-000.parquet", lambda table: table.slice(0, 9)),
        ),
        f"data/chunk-001/file-000.parquet, its data file by .*, has no rows of it; {DATA} has some|"
        f"{DATA}, its data file by .*, and data/chunk-001/file-000.parquet have rows of it",
        [0, 1],
    ),
    "data file cut": (
        lambda root: cut(root / DATA),
        f"{DATA} is no Parquet file that pyarrow can read: .+",
        [0, 1, 2],
    ),
    "a row too many at the end": (
        lambda root: edit_parquet(root / DATA, lambda table: table.take([*range(28), 0])),
        f"{DATA}: row 28: rows of it do not follow one another",
        [0],
    ),
    "data file of other rows": (
        lambda root: edit_parquet(root / DATA, lambda table: table.take([*range(28), *range(28), 0])),
        f"{DATA} has 57 rows, expected at most 56",
        [0, 1, 2],
    ),
    "from_timestamp NaN": (
        lambda root: edit_episodes(root, 1, {of_camera("from_timestamp"): math.nan}),
        f"camera {WRIST!r}: {FILE[WRIST]}: from_timestamp is nan and to_timestamp 2.1, expected 0 or more",
        [1],
    ),
    "to_timestamp null": (
        lambda root: edit_episodes(root, 1, {of_camera("to_timestamp"): None}),
        "from_timestamp is 0.9 and to_timestamp nan",
        [1],
    ),
    "from_timestamp negative": (
        lambda root: edit_episodes(root, 0, {of_camera("from_timestamp"): -0.01}),
        "from_timestamp is -0.01 and to_timestamp 0.9, expected 0 or more",
        [0],
    ),
    "to_timestamp infinite": (
        lambda root: edit_episodes(root, 1, {of_camera("to_timestamp"): math.inf}),
        "from_timestamp is 0.9 and to_timestamp inf, expected 0 or more",
        [1],
    ),
    "to before from": (
        lambda root: edit_episodes(root, 1, {of_camera("to_timestamp"): 0.5}),
        "from_timestamp is 0.9 and to_timestamp 0.5, expected 0 or more, and a later time",
        [1],
    ),
    "stretch too long": (
        lambda root: edit_episodes(root, 1, {of_camera("to_timestamp"): 2.3}),
        f"camera {WRIST!r}: {FILE[WRIST]}: from 0.9 s to 2.3 s are 14 / 10 s, expected 12 / 10 s, as the length is",
        [1],
    ),
    "stretches overlap": (
        lambda root: edit_episodes(
            root, 1, {of_camera("from_timestamp"): 0.8, of_camera("to_timestamp"): 2.0}
        ),
        f"camera {WRIST!r}: {FILE[WRIST]}: its stretch 0.(8 s to 2.0 s|0 s to 0.9 s) overlaps that of episode [01]",
        [0, 1],
    ),
    "another video file": (
        lambda root: edit_episodes(root, 1, {of_camera("file_index"): 4}),
        f"camera {WRIST!r}: videos/{WRIST}/chunk-000/file-004.mp4 does not exist or is no file",
        [1],
    ),
    "video file of no number": (
        lambda root: edit_episodes(root, 1, {of_camera("chunk_index"): 10**9}),
        f"camera {WRIST!r}: {EPISODES}: chunk_index is 1000000000, expected 0 to 1000000",
        [1],
    ),
    "no video file": (
        lambda root: (root / FILE[WRIST]).unlink(),
        f"camera {WRIST!r}: {FILE[WRIST]} does not exist",
        [0, 1, 2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_problem_is_of_these_episodes_alone(tmp_path, name):
    change, text, episodes = CASES[name]
    cameras = (CameraSpec(key=FRONT), CameraSpec(key=WRIST))
    written = write_lerobot(tmp_path, cameras=cameras, lengths=(9, 12, 7), with_videos=False)
    before = look_into(tmp_path)
    change(tmp_path)
    contents = look_into(tmp_path)
    assert contents.cameras == (FRONT, WRIST)
    for camera in contents.cameras:
        videos = contents.videos_of(camera)
        assert [video.relative_path for video in videos] == written.names
        for episode, (video, old) in enumerate(zip(videos, before.videos_of(camera), strict=True)):
            if episode in episodes:
                assert video.span is None
                assert re.search(text, video.problem), video.problem
            else:
                assert video.problem is None
                np.testing.assert_array_equal(video.span.frame_seconds, old.span.frame_seconds)
    left = [
        row
        for row in range(28)
        if row not in {row for episode in episodes for row in rows_of(written, episode)}
    ]
    tables = contents.dataset.read_tables()
    assert [row for table in tables for row in table.columns["index"].values] == left


def rows_of(written, episode):
    return range(28)[written.rows(episode)]


def test_a_column_is_taken_away_and_not_set(tmp_path):
    """The tool of these tests."""
    write_lerobot(tmp_path, with_videos=False)
    edit_episodes(tmp_path, None, {"length": REMOVED})
    with pytest.raises(Exception, match="length"):
        look_into(tmp_path)
