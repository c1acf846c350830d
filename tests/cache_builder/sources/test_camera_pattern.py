"""Plain folders with cameras: which file is which camera's of which episode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder import build_cache
from cache_builder.cli import cache_build, cache_info, cache_verify
from cache_builder.errors import ConfigError, InputFolderError
from cache_builder.setting_names import SettingError
from cache_builder.sources import CameraPattern, Sources, look_into
from tests.cache_builder.sources.test_folder import touch
from tests.support.commands import run

BY_EPISODE = "{episode}/{camera}.mp4"


def look(folder, pattern=BY_EPISODE, **which):
    return look_into(Sources.of(folder, camera_pattern=pattern, **which))


def table(contents):
    return [(video.camera, video.relative_path, video.file, video.problem) for video in contents.videos]


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "path", "found"),
        [
            (BY_EPISODE, "7/top.mp4", ("7", "top")),
            (BY_EPISODE, "./7/top.mp4", None),
            (BY_EPISODE, "x/7/top.mp4", None),
            (BY_EPISODE, "7/top.MP4", None),
            (BY_EPISODE, "7/top.mp4.mp4", ("7", "top.mp4")),
            ("./{camera}/{episode}.mp4", "top/7.mp4", ("7", "top")),
            ("{episode}_{camera}.mkv", "7_left_wrist.mkv", ("7", "left_wrist")),
            ("{camera}_{episode}.mkv", "left_wrist_7.mkv", ("7", "left_wrist")),
            ("{camera}_{episode}.mkv", "_7.mkv", None),
            ("*/{episode}/{camera}.mp4", "day1/7/top.mp4", ("7", "top")),
            ("**/{episode}/{camera}.mp4", "7/top.mp4", ("7", "top")),
            ("**/{episode}/{camera}.mp4", "a/b/7/top.mp4", ("7", "top")),
            ("{episode}/{camera}.*", "7/top.webm", ("7", "top")),
            ("run?/{episode}.{camera}.mp4", "run1/7.top.mp4", ("7", "top")),
            ("run?/{episode}.{camera}.mp4", "run12/7.top.mp4", None),
            ("a+[b]/{episode}/{camera}.mp4", "a+[b]/7/top.mp4", ("7", "top")),
        ],
    )
    def test_which_paths_match(self, pattern, path, found):
        assert CameraPattern(pattern).match(path) == found

    @given(episode=st.text("ab.1-", min_size=1), camera=st.text("ab.1-", min_size=1))
    def test_names_come_back(self, episode, camera):
        for pattern in (BY_EPISODE, "{camera}/x/{episode}.mp4", "*/{episode}_{camera}.mkv"):
            path = pattern.format(episode=episode, camera=camera).replace("*", "day")
            assert CameraPattern(pattern).match(path) == (episode, camera)

    @pytest.mark.parametrize(
        "pattern",
        [
            "",
            "{episode}.mp4",
            "{camera}.mp4",
            "{episode}/{episode}/{camera}.mp4",
            "{episode}/{camera}{x}.mp4",
        ],
    )
    def test_both_fields_are_needed_once(self, pattern):
        with pytest.raises(SettingError, match=r"expected a path with \{episode\} and \{camera\}, each once"):
            CameraPattern(pattern)

    @pytest.mark.parametrize(
        "pattern", ["{episode}/{camera}", "/a/{episode}/{camera}.mp4", "{episode}.x/{camera}"]
    )
    def test_the_extension_is_named(self, pattern):
        with pytest.raises(SettingError, match="a path below the folder that ends with an extension"):
            CameraPattern(pattern)

    def test_it_is_text(self):
        with pytest.raises(SettingError, match="must be text, found 3"):
            CameraPattern(3)


class TestFolder:
    def test_cameras_and_episodes_are_sorted_by_name(self, tmp_path):
        touch(tmp_path, "b/top.mp4", "a/top.mp4", "a/left.mp4", "b/left.mp4")
        contents = look(tmp_path)
        assert contents.cameras == ("left", "top") and contents.dataset is None
        assert contents.depth_cameras == frozenset()
        assert table(contents) == [
            (camera, episode, f"{episode}/{camera}.mp4", None)
            for camera in ("left", "top")
            for episode in "ab"
        ]
        assert [video.path for video in contents.videos] == [
            tmp_path / video.file for video in contents.videos
        ]

    def test_other_videos_are_counted(self, tmp_path):
        touch(tmp_path, "a/top.mp4", "a/top.mkv", "top.mp4", "a/x/top.mp4", "a/notes.txt")
        contents = look(tmp_path)
        assert len(contents.videos) == 1
        assert contents.passed_over.text == (
            "passed over by extension: 1 .txt; not matched by the camera pattern: 3 videos"
        )

    def test_an_episode_without_a_camera_has_a_problem_in_all(self, tmp_path):
        touch(tmp_path, "a/top.mp4", "a/left.mp4", "b/top.mp4", "c/top.mp4", "c/left.mp4")
        problem = "no file of '{episode}/{camera}.mp4' is of camera 'left'; expected one of every camera"
        assert table(look(tmp_path)) == [
            ("left", "a", "a/left.mp4", None),
            ("left", "b", "b", problem),
            ("left", "c", "c/left.mp4", None),
            ("top", "a", "a/top.mp4", None),
            ("top", "b", "b/top.mp4", problem),
            ("top", "c", "c/top.mp4", None),
        ]

    def test_two_videos_for_one(self, tmp_path):
        touch(tmp_path, "day1/a/top.mp4", "day2/a/top.mp4")
        with pytest.raises(InputFolderError) as caught:
            look(tmp_path, "*/{episode}/{camera}.mp4")
        assert "camera 'top' of episode 'a' is both 'day1/a/top.mp4' and 'day2/a/top.mp4'" in str(
            caught.value
        )

    def test_no_video_matches(self, tmp_path):
        touch(tmp_path, "a_top.mp4")
        with pytest.raises(InputFolderError, match=r"matches none of its 1 video, such as 'a_top\.mp4'"):
            look(tmp_path)

    def test_too_many_cameras(self, tmp_path):
        touch(tmp_path, *(f"a/{number}.mp4" for number in range(101)))
        with pytest.raises(
            InputFolderError, match="finds 101 cameras, at most 100 are stored: '0', '1', '10'"
        ):
            look(tmp_path)

    def test_filters_and_the_limit_choose_episodes(self, tmp_path):
        touch(tmp_path, *(f"{episode}/{camera}.mp4" for episode in "abc" for camera in ("left", "top")))
        contents = look(tmp_path, exclude="a", limit=1)
        assert [(video.camera, video.relative_path) for video in contents.videos] == [
            ("left", "b"),
            ("top", "b"),
        ]
        assert (contents.passed_over.num_excluded, contents.passed_over.num_beyond_limit) == (1, 1)

    def test_it_is_for_one_folder(self, tmp_path):
        touch(tmp_path, "one/a/top.mp4", "two/a/top.mp4", "three.mp4")
        with pytest.raises(ConfigError, match="has cameras, and 2 sources are given"):
            look([tmp_path / "one", tmp_path / "two"])
        with pytest.raises(ConfigError, match="is no folder, and camera_pattern is for folders"):
            look(tmp_path / "three.mp4")


class TestFaces:
    def test_python_names_the_keyword(self, tmp_path):
        touch(tmp_path, "a/top.mp4")
        with pytest.raises(ConfigError, match=r"^camera_pattern is '{camera}\.mp4'; expected"):
            build_cache(tmp_path, camera_pattern="{camera}.mp4")

    def test_the_commands_name_the_flag(self, tmp_path):
        touch(tmp_path, "a/top.mp4")
        done = run(tmp_path, "--camera-pattern", "{camera}.mp4", command=cache_build)
        assert done.exit_code == 2 and "--camera-pattern is '{camera}.mp4'; expected" in done.stderr
        done = run(tmp_path, "--camera-pattern", BY_EPISODE, command=cache_info)
        assert done.exit_code == 2 and "--camera-pattern is for --against: give both, or none" in done.stderr
        done = run(tmp_path, "--repair", "--camera-pattern", BY_EPISODE, command=cache_verify)
        assert done.exit_code == 2 and "--camera-pattern is for --videos: give both, or none" in done.stderr
