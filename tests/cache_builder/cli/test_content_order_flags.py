"""`--content-order` on the command line: with a build, on a complete cache, in a dry run, and shown by cache-info."""

import json
from pathlib import Path

import pytest

from cache_builder.cli import cache_info, cache_verify
from frame_store import open_store
from frame_store.manifest import read_manifest
from frame_store.views import content_ids
from tests.support.commands import run
from tests.support.videos.tiny_videos import tiny_video

FLAGS = ("--size", "16", "--encoding", "raw", "--workers", "1")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    tiny_video(folder, path=Path("a.mp4"), num_frames=5)
    return folder


def test_a_build_writes_the_order_and_says_so(videos, tmp_path):
    cache = tmp_path / "cache"
    result = run(videos, "--out", cache, *FLAGS, "--content-order")
    assert result.exit_code == 0, result.stderr
    folder = read_manifest(cache).content_orders[0].folder
    assert (
        f"{cache}: content order written, 5 frames in {folder} (148 bytes); 5 frames read in "
        in result.stdout
    )
    shown = run(cache, command=cache_info).stdout
    assert f"  content    ordered by pca-bisection-1, 148 bytes in {folder}\n" in shown
    stated = json.loads(run(cache, "--json", command=cache_info).stdout)
    assert stated["manifest"]["content_orders"][0]["folder"] == folder
    assert run(cache, command=cache_verify).exit_code == 0
    again = run(videos, "--out", cache, *FLAGS, "--content-order")
    assert f"{cache}: content order already complete, 5 frames in {folder} (148 bytes)\n" in again.stdout
    assert len(content_ids(open_store(cache))) == 5


def test_a_complete_cache_gets_the_order_without_decoding(videos, tmp_path):
    cache = tmp_path / "cache"
    run(videos, "--out", cache, *FLAGS)
    result = run(videos, "--out", cache, *FLAGS, "--content-order")
    assert "already complete" in result.stdout
    assert "content order written" in result.stdout


def test_a_dry_run_says_what_it_leaves_out(videos, tmp_path):
    result = run(videos, "--out", tmp_path / "cache", *FLAGS, "--content-order", "--dry-run")
    assert result.exit_code == 0
    assert "content order: not counted above" in result.stdout
    assert not (tmp_path / "cache").exists()


def test_without_videos_it_is_refused(tmp_path):
    result = run("--out", tmp_path / "cache", "--content-order")
    assert result.exit_code == 2
    assert "nothing to build from" in result.stderr


def test_a_damaged_order_is_told_and_repaired(videos, tmp_path):
    cache = tmp_path / "cache"
    run(videos, "--out", cache, *FLAGS, "--content-order")
    (path,) = cache.glob("content-*/content_order.npy")
    path.unlink()
    found = run(cache, command=cache_verify)
    assert found.exit_code == 1
    assert f"{path.relative_to(cache)}: No such file" in found.stdout
    mended = run(cache, "--repair", command=cache_verify)
    assert mended.exit_code == 0
    assert f"{path.relative_to(cache)}: made again, with the recorded hash" in mended.stderr
