"""Two processes that append to one cache, or change it otherwise, at once."""

import fcntl
import shutil

import numpy as np
import pytest

from cache_builder import build_cache, compact_cache, forget_videos
from cache_builder.errors import OutputError
from cache_builder.growing import publishing
from frame_store import open_store
from frame_store.manifest import encode_manifest, next_manifest, read_manifest
from frame_store.names import manifest_name
from tests.support.grown.appended import SETTINGS, append, frames_of, put


class TestTwoPublishers:
    """Two processes that no lock keeps apart: the second finds a version that was not there when it began."""

    @pytest.fixture
    def race(self, here, monkeypatch):
        """Run `other` between the renames of an append and its commit."""
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        commit = publishing.commit_next

        def between(other):
            def racing(*arguments, **more):
                monkeypatch.setattr(publishing, "commit_next", commit)
                aside = here / "c.building.aside"
                (here / "c.building").rename(aside)  # of another machine
                columns = here / "c.columns.building.aside"
                (here / "c.columns.building").rename(columns)
                other()
                aside.rename(here / "c.building")
                columns.rename(here / "c.columns.building")
                return commit(*arguments, **more)

            monkeypatch.setattr(publishing, "commit_next", racing)

        return between

    def test_both_append(self, here, pieces, race):
        put(pieces, here / "videos", 1)
        more = put(pieces, here / "more", 3)
        frames = frames_of(here / "c")
        race(lambda: build_cache(more, here / "c", append=True, workers=1))
        append(here)
        manifest = read_manifest(here / "c")
        assert (manifest.version, [entry.num_frames for entry in manifest.generations]) == (2, [24, 9, 7])
        assert (manifest.generations[2].first_frame, manifest.generations[2].first_video) == (33, 4)
        np.testing.assert_array_equal(frames_of(here / "c")[:24], frames)
        assert [row.path for row in open_store(here / "c").videos][3:] == ["v3.mp4", "v1.mp4"]

    def test_one_video_comes_twice(self, here, pieces, race):
        put(pieces, here / "videos", 1)
        more = put(pieces, here / "more", 3)
        shutil.copy2(pieces / "v5.mp4", more / "v1.mp4")
        race(lambda: build_cache(more, here / "c", append=True, workers=1))
        with pytest.raises(
            OutputError, match=r"another process has added 'v1.mp4' meanwhile; nothing was lost"
        ):
            append(here)
        assert read_manifest(here / "c").version == 1

    def test_a_video_is_taken_back_while_another_takes_its_path(self, here, pieces, race):
        forget_videos(here / "c", "v0.mp4")
        more = put(pieces, here / "more", 3)
        shutil.copy2(pieces / "v5.mp4", more / "v0.mp4")
        race(lambda: build_cache(more, here / "c", append=True, workers=1))
        (here / "c.building").mkdir()  # `race` moves it aside
        with pytest.raises(OutputError, match=r"another process has added 'v0.mp4' meanwhile"):
            append(here)
        assert [row.path for row in open_store(here / "c").videos].count("v0.mp4") == 1

    def test_both_append_the_same_or_forget(self, here, pieces, race):
        put(pieces, here / "videos", 1)
        race(lambda: append(here))
        append(here)
        assert read_manifest(here / "c").version == 1
        put(pieces, here / "videos", 3)
        race(lambda: forget_videos(here / "c", "v0.mp4"))
        append(here)
        manifest = read_manifest(here / "c")
        assert (manifest.version, manifest.forgotten_videos, manifest.num_videos) == (3, [0], 5)

    def test_the_other_writes_columns_or_replaces_the_cache(self, here, pieces, race):
        from cache_builder import add_columns

        put(pieces, here / "videos", 1)
        table = {"video": [f"v{n}.mp4" for n in (0, 2, 4)], "goal": [1, 2, 3]}
        race(lambda: add_columns(here / "c", table))
        with pytest.raises(OutputError, match="another process has written other columns meanwhile"):
            append(here)
        race(lambda: build_cache(here / "videos", here / "c", overwrite=True, **SETTINGS | {"seed": 6}))
        with pytest.raises(OutputError, match="another process has replaced it meanwhile"):
            append(here, columns={"video": ["v1.mp4"], "goal": [4]})


def test_a_version_that_is_there_when_it_is_created_leads_to_the_next_one(here, pieces, monkeypatch):
    from cache_builder.stages import committing

    put(pieces, here / "videos", 1)
    create = committing.create_file
    others = iter(range(2))

    def slow(path, data, *, scratch):
        if next(others, None) is not None:
            now = next_manifest(read_manifest(here / "c"))
            (here / "c" / manifest_name(now.version)).write_bytes(encode_manifest(now))
        create(path, data, scratch=scratch)

    monkeypatch.setattr(committing, "create_file", slow)
    append(here)
    assert (read_manifest(here / "c").version, len(read_manifest(here / "c").generations)) == (3, 2)


def test_a_build_of_a_grown_caches_videos_finds_it_complete_before_and_after_compaction(here, pieces):
    put(pieces, here / "videos", 1)
    append(here)
    for _ in range(2):
        assert build_cache(here / "videos", here / "c", **SETTINGS).status == "already complete"
        compact_cache(here / "c", join_all=True, workers=1)


def test_a_manifest_that_is_created_leaves_no_second_name_that_a_later_one_could_write_through(
    here, monkeypatch
):
    from frame_store.files import publishing as files

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(files.Path, "unlink", killed)
        patched.setattr(files, "sync_path", killed)
        with pytest.raises(KeyboardInterrupt):
            files.create_file(here / "made", b"first", scratch=here / "scratch")
    with pytest.raises(FileExistsError):
        files.create_file(here / "made", b"second", scratch=here / "scratch")
    assert (here / "made").read_bytes() == b"first"
