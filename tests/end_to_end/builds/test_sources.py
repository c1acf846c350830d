"""What a cache is built from: a folder or one video, as argument or flag, with `~`; and every reader takes the same."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import frame_store
from cache_builder import build_cache, open_videos
from cache_builder.build.pipeline import default_output
from cache_builder.cli import cache_info, cache_verify
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
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
