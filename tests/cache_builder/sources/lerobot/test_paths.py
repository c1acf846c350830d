"""File names that a stranger's metadata gives: none leaves the folder of the data set, and nothing in them is run."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import InputFolderError
from cache_builder.sources import look_into
from cache_builder.sources.lerobot.templates import PathTemplate
from tests.support.lerobot import CameraSpec, edit_info, write_lerobot

FIELDS = ("video_key", "chunk_index", "file_index")
USUAL = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


def path(text, key="front", chunk=1, file=23):
    return PathTemplate(text, FIELDS).path({"video_key": key}, {"chunk_index": chunk, "file_index": file})


class TestTemplate:
    def test_numbers_have_their_width(self):
        assert path(USUAL) == "videos/front/chunk-001/file-023.mp4"
        assert path(USUAL, chunk=1234) == "videos/front/chunk-1234/file-023.mp4"
        assert path("{video_key}/{chunk_index}{file_index:d}/{video_key}.mp4") == "front/123/front.mp4"

    @given(
        chunk=st.integers(0, 10**6), file=st.integers(0, 10**6), key=st.text("ab.{}:", min_size=1, max_size=5)
    )
    def test_it_gives_what_format_would_give(self, chunk, file, key):
        if key not in {".", ".."}:
            expected = USUAL.format(video_key=key, chunk_index=chunk, file_index=file)
            assert path(USUAL, key, chunk, file) == expected

    @pytest.mark.parametrize(
        "field",
        [
            "{video_key.__class__}",
            "{video_key[0]}",
            "{video_key!r}",
            "{video_key:>1000000000}",
            "{}",
            "{0}",
            "{video_key",
            "video_key}",
            "{{video_key}}",
            "{other}",
        ],
    )
    def test_what_format_would_follow_is_refused(self, field):
        with pytest.raises(ValueError, match="expected a path with the fields"):
            PathTemplate(f"videos/{field}/{{chunk_index}}/{{file_index}}.mp4", FIELDS)

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("/" + USUAL, "front"),
            ("../" + USUAL, "front"),
            (USUAL, "../../.."),
            (USUAL, ".."),
            ("{video_key}/{chunk_index}{file_index}", "/etc"),
            (USUAL, "a\0b"),
        ],
    )
    def test_no_path_leaves_the_folder(self, text, key):
        with pytest.raises(ValueError, match="is no path below the folder of the data set"):
            path(text, key)

    @pytest.mark.parametrize("number", [-1, 10**6 + 1])
    def test_numbers_are_bounded(self, number):
        with pytest.raises(ValueError, match=f"file_index is {number}, expected 0 to 1000000"):
            path(USUAL, file=number)


def test_a_camera_that_leads_out_is_a_problem_of_its_episodes(tmp_path):
    root = tmp_path / "set"
    write_lerobot(root, cameras=(CameraSpec(key="../../top"),), with_videos=False)
    contents = look_into(root)
    assert {video.problem for video in contents.videos} == {
        "camera '../../top': meta/episodes: 'videos/../../top/chunk-000/file-000.mp4' is no path below the folder of "
        "the data set"
    }
    assert all(video.span is None for video in contents.videos)


def test_a_data_path_that_leads_out_is_a_problem(tmp_path):
    write_lerobot(tmp_path, with_videos=False)
    edit_info(tmp_path, data_path="../{chunk_index}/{file_index}.parquet")
    assert "'../0/0.parquet' is no path below" in look_into(tmp_path).videos[0].problem


def test_links_are_followed_as_in_a_plain_folder(tmp_path):
    written = write_lerobot(tmp_path / "set", with_videos=False)
    (file, *_), *_ = written.spans["observation.images.front"]
    file.rename(tmp_path / "elsewhere.mp4")
    file.symlink_to(tmp_path / "elsewhere.mp4")
    assert look_into(tmp_path / "set").videos[0].problem is None


def test_a_pipe_is_no_file(tmp_path):
    """Opening one would wait forever."""
    written = write_lerobot(tmp_path, with_videos=False)
    (file, *_), *_ = written.spans["observation.images.front"]
    file.unlink()
    os.mkfifo(file)
    assert "does not exist or is no file" in look_into(tmp_path).videos[0].problem
    (tmp_path / "meta/tasks.parquet").unlink()
    os.mkfifo(tmp_path / "meta/tasks.parquet")
    with pytest.raises(InputFolderError, match=r"meta/tasks\.parquet is no file"):
        look_into(tmp_path)
