"""`cache-bias --write-order`: the same bytes as the build's, and then the report."""

import json
import shutil
from pathlib import Path

import pytest

from cache_builder import build_cache
from frame_store.manifest import read_manifest
from tests.support.bias_command import bias
from tests.support.videos.tiny_videos import tiny_video


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    (folder / "videos").mkdir()
    tiny_video(folder / "videos", path=Path("a.mp4"), num_frames=9)
    build_cache(folder / "videos", folder / "plain", size=16, workers=1)
    build_cache(folder / "videos", folder / "ordered", size=16, workers=1, content_order=True)
    return folder


def test_the_order_is_that_of_the_build(caches, tmp_path):
    cache = Path(shutil.copytree(caches / "plain", tmp_path / "cache"))
    result = bias(cache, "--write-order", "--sampling", "permutation", "--batch-size", 2, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["cases"]
    assert f"{cache}: content order written, 9 frames in " in result.stderr
    manifest, of_build = read_manifest(cache), read_manifest(caches / "ordered")
    assert manifest.content_orders == of_build.content_orders
    name = manifest.content_orders[0].file.name
    assert (cache / name).read_bytes() == (caches / "ordered" / name).read_bytes()


def test_it_needs_a_cache(tmp_path):
    sizes = tmp_path / "sizes.json"
    sizes.write_text("[4, 4]")
    result = bias("--shard-sizes", sizes, "--write-order")
    assert result.exit_code == 2
    assert "--write-order writes into a cache: give one or more CACHE" in result.stderr


def test_a_folder_without_a_cache_is_one_line(tmp_path):
    result = bias(tmp_path, "--write-order")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("wrong", [("--horizon", "0"), ("--plot", "nowhere/plot.png")])
def test_a_wrong_flag_is_refused_before_any_frame_is_read(caches, tmp_path, wrong):
    cache = Path(shutil.copytree(caches / "plain", tmp_path / "cache"))
    assert bias(cache, "--write-order", *wrong).exit_code == 2
    assert read_manifest(cache).content_orders == []


def test_one_step_is_one(caches):
    said = bias(caches / "plain", "--sampling", "stratified", "--batch-size", 2, "--horizon", "1").stdout
    assert "B_eff over 1 step: the same for the noise of 1 step together" in said


def test_the_cache_without_an_order_is_named(caches):
    asked = ("--sampling", "stratified", "--strata", "content", "--batch-size", 2)
    refused = bias(caches / "ordered", caches / "plain", *asked)
    assert refused.exit_code == 2 and f"{caches / 'plain'}" in refused.stderr
    assert "--strata content needs a cache with a content order: build it" in refused.stderr
