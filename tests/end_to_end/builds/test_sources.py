"""What a cache is built from: a folder or one video, as argument or flag, with `~`; and every reader takes the same."""

import shutil
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import frame_store
from cache_builder import build_cache, open_videos
from cache_builder.cli import cache_info, cache_verify
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from cache_builder.sources import default_output
from frame_store.shared import user_path
from loader import FrameLoader, webdataset_batches
from tests.support.caches.tree import FIRST_MANIFEST, generation_folder
from tests.support.commands import SMALL, digests, run
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, with videos."""
    folder = tmp_path / "home"
    tiny_folder(folder / "clips", simple_specs(2))
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_an_argument_means_the_same_as_the_option(simple_folder, tmp_path):
    assert run(simple_folder.path, "--out", tmp_path / "one", *SMALL).exit_code == 0
    assert run("--videos", simple_folder.path, "--out", tmp_path / "two", *SMALL).exit_code == 0
    one, two = ([*digests(tmp_path / name).values()] for name in ("one", "two"))
    assert one == two


class TestOneVideo:
    @pytest.fixture
    def video(self, tmp_path):
        folder = tmp_path / "videos"
        tiny_video(folder, path=Path("other.mp4"), num_frames=5)
        return tiny_video(folder, path=Path("clip.mp4"), num_frames=20).path

    def test_its_cache_goes_beside_it_and_is_that_of_a_folder_with_it_alone(self, video, tmp_path):
        assert run(video, *SMALL).exit_code == 0
        cache = video.with_name("clip.mp4.cache")
        assert len(frame_store.open_store(cache)) == 20
        assert [entry.path for entry in frame_store.open_store(cache).video_entries] == ["clip.mp4"]
        alone = tmp_path / "alone"
        alone.mkdir()
        shutil.copy(video, alone)
        assert run(alone, *SMALL).exit_code == 0
        assert [*digests(cache).values()] == [*digests(tmp_path / "alone.cache").values()]

    def test_it_is_compared_with_and_repaired_from(self, video):
        assert run(video, *SMALL).exit_code == 0
        cache = video.with_name("clip.mp4.cache")
        same = run(cache, "--against", video, command=cache_info)
        assert (same.exit_code, same.stdout) == (0, f"{video}: its 1 video, unchanged\n")
        before = digests(cache)
        shard = next((generation_folder(cache) / "shards").iterdir())
        shard.write_bytes(shard.read_bytes()[:-1])
        assert run(cache, "--repair", "--videos", video, command=cache_verify).exit_code == 0
        assert digests(cache) == before
        video.write_bytes(video.read_bytes() + b"x")
        changed = run(cache, "--against", video, command=cache_info)
        assert changed.exit_code == EXIT_NOT_WHOLE
        assert changed.stdout == f"video clip.mp4: changed since\n{video}: 1 difference\n"

    def test_it_is_read_live(self, video):
        for source, num_frames in ((video, 20), (str(video), 20), (video.parent, 25)):
            with closing(open_videos(source, size=64)) as store:
                assert len(store) == num_frames

    def test_a_link_keeps_its_name_and_its_place(self, video, tmp_path):
        """As in a hub's download folder, where names are links to files that are called by their digests."""
        blob = tmp_path / "blobs" / "0af3"
        blob.parent.mkdir()
        video.rename(blob)
        video.symlink_to(blob)
        assert run(video, *SMALL).exit_code == 0
        store = frame_store.open_store(video.with_name("clip.mp4.cache"))
        assert [entry.path for entry in store.video_entries] == ["clip.mp4"]


class TestSeveralSources:
    @pytest.fixture
    def places(self, tmp_path):
        """Two folders, of which one has two videos, and a list of three of the four."""
        tiny_video(tmp_path, path=Path("one/b.mp4"), num_frames=5)
        tiny_video(tmp_path, path=Path("one/a.mp4"), num_frames=7)
        tiny_video(tmp_path, path=Path("two/a.mp4"), num_frames=9)
        tiny_video(tmp_path, path=Path("two/x/c.mp4"), num_frames=11)
        (tmp_path / "list.txt").write_text("two/a.mp4\none/b.mp4\none/a.mp4\n")
        return tmp_path

    @staticmethod
    def videos_of(cache):
        entries = frame_store.open_store(cache).video_entries
        return [(entry.path, entry.num_frames_stored) for entry in entries]

    def test_one_cache_of_all(self, places):
        result = run(places / "two", places / "one", *SMALL)
        assert (result.exit_code, result.stderr.startswith("error: 2 sources are given")) == (2, True)
        cache = places / "made"
        assert run(places / "two", "--videos", places / "one", "--out", cache, *SMALL).exit_code == 0
        assert self.videos_of(cache) == [
            ("two/a.mp4", 9),
            ("two/x/c.mp4", 11),
            ("one/a.mp4", 7),
            ("one/b.mp4", 5),
        ]
        with closing(open_videos([places / "two", places / "one"], size=64)) as live:
            assert [facts.path for facts in live.videos] == [path for path, _ in self.videos_of(cache)]
        assert "already complete" in run(places / "two", places / "one", "--out", cache, *SMALL).stdout
        again = run(places / "one", places / "two", "--out", cache, *SMALL)
        assert again.exit_code == 2 and "the videos come in another order there" in again.stderr
        before = digests(cache)
        shard = next((generation_folder(cache) / "shards").iterdir())
        shard.write_bytes(shard.read_bytes()[:-1])
        both = ("--videos", places / "one", "--videos", places / "two")
        assert run(cache, "--repair", *both, command=cache_verify).exit_code == 0
        assert digests(cache) == before
        same = run(cache, "--against", places / "two", "--against", places / "one", command=cache_info)
        assert (same.exit_code, same.stdout) == (0, f"{places}/two, {places}/one: its 4 videos, unchanged\n")
        turned = run(cache, "--against", places / "one", "--against", places / "two", command=cache_info)
        assert turned.exit_code == 1
        assert turned.stdout == (
            f"the videos come in another order in the cache\n{places}/one, {places}/two: 1 difference\n"
        )

    def test_a_list(self, places):
        assert run(places / "list.txt", *SMALL).exit_code == 0
        cache = places / "list.txt.cache"
        assert self.videos_of(cache) == [("two/a.mp4", 9), ("one/b.mp4", 5), ("one/a.mp4", 7)]
        with closing(open_videos(places / "list.txt", size=64)) as live:
            assert [facts.path for facts in live.videos] == ["two/a.mp4", "one/b.mp4", "one/a.mp4"]
        before = digests(cache)
        next((generation_folder(cache) / "shards").iterdir()).unlink()
        assert run(cache, "--repair", "--videos", places / "list.txt", command=cache_verify).exit_code == 0
        assert digests(cache) == before

    def test_unfinished_work_on_another_order_is_not_taken_over(self, places):
        """Spilled frames are kept by the row of their video, which is another one then."""
        asked = ("--out", places / "made", *SMALL, "--layout", "video")
        assert run(places / "list.txt", *asked).exit_code == 0
        wanted = digests(places / "made")
        shutil.rmtree(places / "made")
        (places / "list.txt").write_text("one/a.mp4\none/b.mp4\ntwo/a.mp4\n")
        with patch("cache_builder.build.making.gather", side_effect=KeyboardInterrupt):
            assert run(places / "list.txt", *asked).exit_code == 130
        (places / "list.txt").write_text("two/a.mp4\none/b.mp4\none/a.mp4\n")
        refused = run(places / "list.txt", *asked)
        assert refused.exit_code == 2 and "order of the videos" in refused.stderr
        assert run(places / "list.txt", *asked, "--overwrite").exit_code == 0
        assert digests(places / "made") == wanted

    def test_patterns_and_a_limit_choose_the_videos(self, places):
        asked = ("--include", "*/a.mp4", "--include", "*/*/*", "--exclude", "two/a*", "--limit", "1")
        result = run(places / "one", places / "two", "--out", places / "made", *asked, *SMALL)
        assert "excluded: 2 videos; beyond the limit: 1 video" in result.stdout, result.stderr
        assert self.videos_of(places / "made") == [("one/a.mp4", 7)]
        # The same videos chosen in another way are the same cache.
        asked = ("--exclude", "two/", "--limit", "1")
        again = run(places / "one", places / "two", "--out", places / "made", *asked, *SMALL)
        assert "already complete" in again.stdout
        both = ("--against", places / "one", "--against", places / "two")
        same = run(places / "made", *both, *asked, command=cache_info)
        assert (same.exit_code, same.stdout) == (0, f"{places}/one, {places}/two: its 1 video, unchanged\n")
        others = run(places / "made", *both, "--exclude", "two/x/", command=cache_info)
        assert others.exit_code == 1
        assert others.stdout.splitlines() == [
            "video one/b.mp4: new, not in the cache",
            "video two/a.mp4: new, not in the cache",
            f"{places}/one, {places}/two: 2 differences",
        ]
        report = build_cache(places / "one", places / "by_call", include="b.*", size=64, workers=1)
        assert (report.num_frames, report.passed_over.num_excluded) == (5, 1)
        with closing(open_videos(places / "two", size=64, exclude=["x/*"], limit=3)) as live:
            assert (len(live), live.passed_over.num_excluded) == (9, 1)

    @pytest.mark.parametrize("flag", ["--include", "--exclude"])
    def test_an_empty_pattern_is_refused_by_the_name_of_its_flag(self, places, flag):
        refused = run(places / "one", flag, "", *SMALL)
        assert refused.exit_code == 2
        assert (
            refused.stderr
            == f"error: {flag}: a pattern for paths of videos is text such as '*.mp4', found ''\n"
        )


@pytest.mark.parametrize("flag", [("--include", "*.mp4"), ("--exclude", "*.mp4"), ("--limit", "1")])
def test_a_choice_of_videos_needs_videos(tmp_path, flag):
    refused = run(tmp_path, *flag, command=cache_info)
    assert (refused.exit_code, refused.stderr) == (
        2,
        f"error: {flag[0]} is for --against: give both, or none\n",
    )


def test_a_link_to_a_folder_has_its_cache_beside_the_link(simple_folder, tmp_path, monkeypatch):
    (tmp_path / "clips").symlink_to(simple_folder.path)
    assert default_output(tmp_path / "clips") == tmp_path / "clips.cache"
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert default_output(Path()) == tmp_path / "here.cache"
    monkeypatch.chdir(tmp_path / "here" / "below")
    assert default_output(Path("..")) == tmp_path / "here.cache"


class TestHome:
    """A shell leaves `~` alone after `--videos=` and inside quotes."""

    def test_every_path_of_every_command(self, home, tmp_path):
        (home / "my.toml").write_text("size = 64\nworkers = 2\n")
        built = run("--videos=~/clips", "--out=~/made", "--config=~/my.toml")
        assert built.exit_code == 0, built.stderr
        assert (home / "made" / FIRST_MANIFEST).exists()
        assert run("~/clips", "--config", "~/my.toml").exit_code == 0
        assert (home / "clips.cache" / FIRST_MANIFEST).exists()
        assert run("~/made", "--against=~/clips", command=cache_info).exit_code == 0
        assert run("~/made", "--repair", "--videos=~/clips", command=cache_verify).exit_code == 0

    def test_every_path_of_the_tools(self, home):
        from frame_cache_tools.bench.cli import main as cache_bench
        from frame_cache_tools.bias.cli import main as cache_bias

        for command in (cache_bias, cache_bench):
            result = run("--videos=~/gone", command=command)
            assert f"{home / 'gone'}: no such folder" in result.stderr
        (home / "sizes").write_text("10 20")
        assert run("--shard-sizes=~/sizes", command=cache_bias).exit_code == 0

    def test_paths_of_calls(self, home):
        assert run("~/clips", "--out", "~/made", *SMALL).exit_code == 0
        stored = frame_store.open_store("~/made")
        with closing(open_videos("~/clips", size=64, scan_cache="~/scan")) as live:
            assert len(live) == len(stored)
        assert (home / "scan").exists()
        (batch,) = webdataset_batches("~/made", batch_size=100)
        assert np.array_equal(np.sort(batch.frame_ids.numpy()), np.arange(len(stored)))

    def test_a_home_that_nobody_has_is_a_name(self):
        assert user_path("~nobody-has-this-name/x") == Path("~nobody-has-this-name/x")
        assert user_path("a/~/b") == Path("a/~/b")

    @pytest.mark.parametrize("call", [frame_store.open_store, FrameLoader, open_videos, build_cache])
    def test_an_empty_path_is_not_the_current_folder(self, home, monkeypatch, call):
        """`os.environ.get("CLIPS", "")` would else build a cache of whatever lies here."""
        monkeypatch.chdir(home / "clips")
        with pytest.raises(ValueError, match="the path is empty"):
            call("")
