"""Several sources, and which of their videos are taken."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import ConfigError, InputFolderError
from cache_builder.setting_names import SettingError
from cache_builder.sources import (
    SourceContents,
    Sources,
    SourceVideo,
    VideoFilter,
    default_output,
    look_into,
)
from cache_builder.sources.contents import NOTHING_PASSED_OVER
from cache_builder.sources.names import base_name
from tests.cache_builder.sources.test_folder import touch


def paths_in(*sources, **which):
    return [video.relative_path for video in look_into(Sources.of(sources, **which)).videos]


@pytest.fixture
def places(tmp_path):
    """Two folders, a video and a list; each has a file of the name `a.mp4`, with content of its own."""
    touch(
        tmp_path,
        "one/b.mp4",
        "one/a.mp4",
        "one/.hidden",
        "two/x/a.mp4",
        "two/n.txt",
        "three/a.mp4",
        "four/a.mp4",
    )
    (tmp_path / "list.txt").write_text("four/a.mp4\n")
    return tmp_path


class TestSeveralSources:
    def test_paths_begin_with_the_base_name_of_their_source(self, places):
        sources = [places / name for name in ("two", "three/a.mp4", "one", "list.txt")]
        contents = look_into(Sources.of(sources))
        assert [video.relative_path for video in contents.videos] == [
            "two/x/a.mp4",
            "a.mp4",
            "one/a.mp4",
            "one/b.mp4",
            "list.txt/four/a.mp4",
        ]
        assert contents.passed_over.text == "passed over by extension: 1 .txt; passed over as hidden: 1"
        assert [video.path.name for video in contents.videos] == ["a.mp4", "a.mp4", "a.mp4", "b.mp4", "a.mp4"]

    def test_one_source_has_no_prefix_in_a_list_either(self, places):
        assert paths_in(places / "one") == ["a.mp4", "b.mp4"]

    def test_a_name_is_that_of_the_link_and_of_the_current_folder(self, places, monkeypatch):
        (places / "link").symlink_to("one")
        monkeypatch.chdir(places / "two")
        assert paths_in(places / "link", Path()) == ["link/a.mp4", "link/b.mp4", "two/x/a.mp4"]
        assert paths_in("../one/../one/", "..//two") == ["one/a.mp4", "one/b.mp4", "two/x/a.mp4"]

    def test_equal_base_names_are_refused(self, places):
        touch(places, "other/one/z.mp4")
        with pytest.raises(InputFolderError) as caught:
            paths_in(places / "one", places / "two", places / "other/one")
        assert f"{places}/other/one: has the base name of {places}/one, 'one'" in str(caught.value)
        with pytest.raises(InputFolderError, match="has the base name of"):
            paths_in(places / "three/a.mp4", places / "four/a.mp4")

    def test_one_file_in_two_sources_is_refused(self, places):
        same = "'one/a.mp4' and 'a.mp4' are one file, which two of the sources hold"
        with pytest.raises(ConfigError, match=same):
            paths_in(places / "one", places / "one/a.mp4")
        (places / "two/link.mp4").symlink_to(places / "one/b.mp4")
        with pytest.raises(ConfigError, match=r"leave one out by exclude$"):
            paths_in(places / "one", places / "two")
        assert paths_in(places / "one", places / "two", exclude="two/link*") == [
            "one/a.mp4",
            "one/b.mp4",
            "two/x/a.mp4",
        ]
        (places / "one/again.mp4").symlink_to("a.mp4")
        (places / "one/gone.mp4").symlink_to("gone")
        assert len(paths_in(places / "one", places / "three")) == 5

    def test_the_root_has_no_name(self):
        with pytest.raises(ConfigError, match=r"^/: has no name"):
            base_name("/")

    def test_they_need_an_output(self, places):
        assert default_output(places / "list.txt") == places / "list.txt.cache"
        with pytest.raises(ConfigError, match=re.escape(f"2 sources are given, {places}/one, x: give out")):
            default_output(Sources.of([places / "one", "x"]))

    def test_none(self):
        with pytest.raises(SettingError, match="no source is given"):
            Sources.of([])


def test_two_names_that_would_be_recorded_as_one(tmp_path):
    touch(tmp_path, "b\\xff.mp4")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mp4")).touch()
    except OSError:
        pytest.skip("this file system takes valid UTF-8 only")
    with pytest.raises(InputFolderError, match=r"would be recorded as .*: rename one of them"):
        look_into(tmp_path)


def contents_of(paths):
    videos = [SourceVideo(relative_path=path, path=Path(path)) for path in paths]
    return SourceContents(videos=videos, passed_over=NOTHING_PASSED_OVER)


class TestFilter:
    def test_include_then_exclude_then_limit(self, places):
        touch(places, "five/a.mp4", "five/x/a.mp4", "five/x/b.mp4", "five/x/c.mkv", "five/y/b.mp4")
        five = places / "five"
        assert paths_in(five, include="x/*") == ["x/a.mp4", "x/b.mp4", "x/c.mkv"]
        assert paths_in(five, include=["x/*", "y/*"], exclude=["*.mkv"]) == ["x/a.mp4", "x/b.mp4", "y/b.mp4"]
        chosen = look_into(Sources.of(five, include=["*.mp4"], exclude=["a.*", "*.avi"], limit=1))
        assert [video.relative_path for video in chosen.videos] == ["x/b.mp4"]
        assert chosen.passed_over.text == (
            "excluded: 3 videos; beyond the limit: 1 video; no video to exclude matches '*.avi'"
        )
        assert look_into(Sources.of(five, limit=9)).passed_over.text is None

    def test_patterns_see_the_base_name_of_several_sources(self, places):
        assert paths_in(places / "one", places / "two", include="two/**") == ["two/x/a.mp4"]

    def test_a_pattern_that_matches_nothing_is_named(self, places):
        with pytest.raises(ConfigError) as caught:
            paths_in(places / "one", include=["a.mp4", "a.mkv"])
        assert str(caught.value) == "include: 'a.mkv' matches no video of 2, such as 'a.mp4', 'b.mp4'"
        with pytest.raises(ConfigError, match=r"no video of 2 is left: include and exclude leave all out"):
            paths_in(places / "one", exclude="*")

    @pytest.mark.parametrize("limit", [0, -1, 1.5, True])
    def test_a_wrong_limit(self, limit):
        with pytest.raises(SettingError, match=r"^limit must be"):
            VideoFilter(limit=limit)

    @given(
        paths=st.lists(
            st.text("ab/", min_size=1, max_size=4).map(lambda name: f"x{name}y"), min_size=1, unique=True
        ),
        include=st.lists(st.sampled_from(["*a*", "*b*", "x*/**", "*"]), max_size=2),
        exclude=st.lists(st.sampled_from(["*aa*", "*bb*", "**/b*"]), max_size=2),
        limit=st.none() | st.integers(1, 5),
    )
    def test_every_video_is_taken_or_counted_once(self, paths, include, exclude, limit):
        sources = Sources.of("unused", include=include, exclude=exclude, limit=limit)
        try:
            taken = sources.filter.applied(contents_of(paths))
        except ConfigError:
            return
        over = taken.passed_over
        assert len(taken.videos) + over.num_excluded + over.num_beyond_limit == len(paths)
        kept = [video.relative_path for video in taken.videos]
        rows = [paths.index(path) for path in kept]
        assert rows == sorted(rows) and len(kept) <= (limit or len(paths))
        without_limit = Sources.of("unused", include=include, exclude=exclude).filter.applied(
            contents_of(paths)
        )
        assert kept == [video.relative_path for video in without_limit.videos][:limit]
