"""A LeRobot data set as a source: episodes, cameras, files, spans, columns, what it states."""

import shutil

import numpy as np
import pytest

from cache_builder.errors import ConfigError, InputFolderError
from cache_builder.sources import Sources, look_into
from frame_store.lerobot_statement import LeRobotStatement
from tests.support.lerobot import CameraSpec, FeatureSpec, edit_episodes, edit_info, write_lerobot

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
TWO = (CameraSpec(key=FRONT), CameraSpec(key=WRIST, episodes_per_file=(1, 2)))


@pytest.fixture
def written(tmp_path):
    return write_lerobot(tmp_path / "set", cameras=TWO, lengths=(9, 12, 7), with_videos=False)


def columns_of(contents):
    (table,) = contents.dataset.read_tables()
    videos = [table.video.strings[code] for code in table.video.values]
    return videos, table.frames, table.columns


def texts(column):
    return [column.strings[code] for code in column.values]


class TestVideos:
    def test_every_camera_has_all_episodes_in_their_order(self, written):
        contents = look_into(written.root)
        assert contents.cameras == (FRONT, WRIST)
        assert [(video.camera, video.relative_path) for video in contents.videos] == [
            (camera, name) for camera in (FRONT, WRIST) for name in written.names
        ]
        assert contents.passed_over.text is None
        assert not any(video.problem for video in contents.videos)

    def test_files_are_those_of_the_camera_and_not_of_the_data(self, written):
        contents = look_into(written.root)
        for camera in (FRONT, WRIST):
            for video, (path, start, end) in zip(
                contents.videos_of(camera), written.spans[camera], strict=True
            ):
                assert video.path == path
                assert video.file == path.relative_to(written.root).as_posix()
                assert (video.span.from_seconds, video.span.to_seconds) == (start, end)
        assert [video.file[-14:] for video in contents.videos_of(WRIST)] == [
            "0/file-000.mp4",
            "0/file-001.mp4",
            "0/file-001.mp4",
        ]

    def test_frames_lie_at_the_begin_of_the_episode_and_their_timestamps(self, written):
        spans = [video.span for video in look_into(written.root).videos_of(FRONT)]
        np.testing.assert_allclose(spans[1].frame_seconds, 0.9 + np.arange(12) / 10, rtol=0, atol=1e-12)
        assert spans[1].frame_seconds.dtype == np.float64
        assert spans[1].tolerance_seconds == 1e-4

    def test_timestamps_of_their_own_are_taken_as_they_are(self, tmp_path):
        times = np.array([0.0, 0.1003, 0.2101, 0.2999], np.float32)
        root = tmp_path / "set"
        write_lerobot(root, lengths=(4,), timestamps=lambda _, frame: times[frame], with_videos=False)
        span = look_into(root).videos[0].span
        np.testing.assert_array_equal(span.frame_seconds, [0.0, *times[1:].astype(np.float64)])

    def test_irregular_timestamps_may_last_longer_than_the_frames_at_the_rate(self, tmp_path):
        write_lerobot(
            tmp_path,
            lengths=(4,),
            timestamps=lambda _, frame: (0.0, 0.1, 0.2, 0.55)[frame],
            with_videos=False,
        )
        edit_episodes(tmp_path, 0, {f"videos/{FRONT}/to_timestamp": 0.65})
        assert look_into(tmp_path).videos[0].problem is None

    def test_long_episodes_have_exact_times(self, tmp_path):
        """float32 would be off by more than the tolerance after 2,048 s."""
        write_lerobot(tmp_path, lengths=(7000,), fps=3, features={}, with_videos=False)
        span = look_into(tmp_path).videos[0].span
        np.testing.assert_allclose(span.frame_seconds, np.arange(7000) / 3, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("place", ["info", "video_info"])
    @pytest.mark.parametrize("mark", ["is_depth_map", "video.is_depth_map"])
    def test_depth_is_found_however_it_is_marked(self, written, place, mark):
        def marked(features):
            for number, camera in enumerate((FRONT, WRIST)):
                features[camera].pop("info")
                features[camera][place] = {mark: bool(number)}
            return features

        assert look_into(written.root).depth_cameras == frozenset()
        edit_info(written.root, features=marked)
        assert look_into(written.root).depth_cameras == {WRIST}


class TestDataset:
    def test_rows_are_joined_by_episode_and_frame(self, written):
        videos, frames, columns = columns_of(look_into(written.root))
        assert videos == [
            name for name, length in zip(written.names, (9, 12, 7), strict=True) for _ in range(length)
        ]
        assert frames.tolist() == [frame for length in (9, 12, 7) for frame in range(length)]
        assert set(columns) == {*written.columns, "task"}
        for key, expected in written.columns.items():
            np.testing.assert_array_equal(columns[key].values, expected)
            assert columns[key].values.dtype == expected.dtype
        tasks = written.spec.tasks
        assert texts(columns["task"]) == [tasks[number] for number in written.columns["task_index"]]

    def test_what_the_set_states(self, written):
        stated = LeRobotStatement.of(look_into(written.root).dataset.statement, where="set")
        assert stated.info["features"][WRIST]["shape"] == [64, 96, 3]
        assert stated.stats["action"]["count"] == [28]
        assert stated.tasks == written.spec.tasks and stated.subtasks is None
        assert stated.length.tolist() == [9, 12, 7]
        assert stated.dataset_from_index.tolist() == [0, 9, 21]
        assert stated.dataset_to_index.tolist() == [9, 21, 28]
        assert stated.episode_tasks == ((0,), (1,), (0,))

    def test_without_stats(self, written):
        (written.root / "meta/stats.json").unlink()
        assert look_into(written.root).dataset.statement["stats"] is None

    def test_features_that_fit_no_column_are_named(self, tmp_path):
        features = {
            "still": FeatureSpec(dtype="image", shape=(4, 4, 3)),
            "task": FeatureSpec(dtype="string"),
            "state": FeatureSpec(shape=(2,)),
        }
        write_lerobot(tmp_path, features=features, with_videos=False)
        edit_info(
            tmp_path,
            features=lambda old: (
                {key: value for key, value in old.items() if key != "state"}
                | {"words": {"dtype": "language", "shape": [1]}}
            ),
        )
        contents = look_into(tmp_path)
        assert contents.passed_over.text == (
            "feature 'still' is left out: pictures inside Parquet files; "
            "feature 'task' is left out: its name is that of the text of task_index; "
            "feature 'words' is left out: of dtype 'language'; "
            "feature 'state' is left out: meta/info.json does not name it"
        )
        assert not {"still", "words", "state"} & columns_of(contents)[2].keys()


class TestChoice:
    def test_filters_compare_episodes_for_all_cameras(self, written):
        contents = look_into(Sources.of(written.root, exclude="episode_000001"))
        assert [(video.camera, video.relative_path) for video in contents.videos] == [
            (camera, f"episode_00000{episode}") for camera in (FRONT, WRIST) for episode in (0, 2)
        ]
        assert contents.passed_over.num_excluded == 1
        videos, _, columns = columns_of(contents)
        assert set(videos) == {"episode_000000", "episode_000002"}
        assert columns["index"].values.tolist() == [*range(9), *range(21, 28)]

    def test_the_limit_counts_episodes(self, written):
        contents = look_into(Sources.of(written.root, include="*_00000[12]", limit=1))
        assert [video.relative_path for video in contents.videos] == ["episode_000001"] * 2
        assert contents.passed_over.num_excluded == 1 and contents.passed_over.num_beyond_limit == 1

    def test_the_statement_keeps_episodes_that_are_left_out(self, written):
        dataset = look_into(Sources.of(written.root, limit=1)).dataset
        assert LeRobotStatement.of(dataset.statement, where="set").length.tolist() == [9, 12, 7]

    def test_it_is_built_alone(self, written, tmp_path):
        shutil.copytree(written.root, tmp_path / "other")
        with pytest.raises(
            ConfigError, match=r"is a LeRobot data set, and 2 sources are given.*lerobot-edit-dataset"
        ):
            look_into(Sources.of([written.root, tmp_path / "other"]))
        (tmp_path / "plain").mkdir()
        (tmp_path / "plain/a.mp4").touch()
        with pytest.raises(ConfigError, match="2 sources are given"):
            look_into(Sources.of([tmp_path / "plain", written.root]))

    def test_a_camera_pattern_is_for_plain_folders(self, written):
        with pytest.raises(ConfigError, match="camera_pattern is for plain folders: leave it out"):
            look_into(Sources.of(written.root, camera_pattern="{episode}/{camera}.mp4"))


class TestRecognition:
    def test_a_folder_with_another_meta_folder_is_plain(self, tmp_path):
        (tmp_path / "meta").mkdir()
        (tmp_path / "meta/a.mp4").touch()
        (tmp_path / "meta/info.txt").touch()
        contents = look_into(tmp_path)
        assert contents.cameras == () and [video.relative_path for video in contents.videos] == ["meta/a.mp4"]

    @pytest.mark.parametrize("version", ["v3.0", "v3.7"])
    def test_versions_3(self, written, version):
        edit_info(written.root, codebase_version=version)
        assert len(look_into(written.root).videos) == 6

    @pytest.mark.parametrize("version", ["v2.1", "v2.0", "v1.6"])
    def test_older_versions_are_told_the_converter(self, written, version):
        edit_info(written.root, codebase_version=version)
        with pytest.raises(InputFolderError) as caught:
            look_into(written.root)
        assert f"of version {version}, and v3.0 is read" in str(caught.value)
        assert "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=" in str(caught.value)
        assert ("convert_dataset_v20_to_v21" in str(caught.value)) == (version != "v2.1")

    @pytest.mark.parametrize("version", ["v4.0", "3.0", "v3", "v3.0\n"])
    def test_other_versions(self, written, version):
        edit_info(written.root, codebase_version=version)
        with pytest.raises(InputFolderError, match=r"codebase_version is '.*', expected v3\.0"):
            look_into(written.root)

    def test_without_pyarrow(self, written, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
        with pytest.raises(InputFolderError, match=r"pip install 'frame-cache\[tables\]'"):
            look_into(written.root)
