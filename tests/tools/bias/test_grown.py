"""`cache-bias` on a cache that has grown: what its shuffles and content orders, one for each build, cost."""

import json
import re

import numpy as np
import pytest
from frame_cache_tools.bias import table

from frame_store import CacheStore
from tests.support.bias_command import bias, samplers, words
from tests.support.grown.steps import append_videos, forget, join, order

VISITS = ["--sampling", "shards", "--frames-per-visit", 4, "--batch-size", 8]
BY_CONTENT = ["--sampling", "stratified", "--strata", "content", "--batch-size", 8]


def grown_of(*arguments):
    result = bias(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    (case,) = json.loads(result.stdout)["cases"]
    return case["grown"]


@pytest.fixture
def cache(tmp_path):
    """A generation of eight videos, and four of one video; a shard has room for the frames of all four."""
    path = tmp_path / "cache"
    for number, sizes in enumerate([[8] * 8, [4], [4], [4], [4]]):
        append_videos(path, sizes, scratch=tmp_path / str(number), frames_per_shard=16, ordered=True)
    return path


@pytest.fixture
def features(tmp_path, cache):
    """Alike in a video, as gradients are."""
    store, chance = CacheStore(cache), np.random.default_rng(3)
    videos = chance.normal(size=(len(store.videos), 5))
    np.save(tmp_path / "features.npy", videos[store.index["video_id"]] + chance.normal(size=(len(store), 5)))
    return tmp_path / "features.npy"


def test_shards_of_small_generations_are_alike_and_joining_them_is_foretold(cache, features):
    flags = [cache, *VISITS, "--features", features]
    grown = grown_of(*flags)
    assert grown["generation_frames"] == [64, 4, 4, 4, 4]
    (row,) = grown["samplers"]
    assert row["effective_batch"] < min(row["if_joined"], row["if_shuffled_as_one"])
    said = words(*flags)
    assert (
        "the cache has grown: 5 generations of 4 to 64 frames, and each build was shuffled by itself" in said
    )
    shown = [f"{row[name]:.1f}" for name in ("effective_batch", "if_joined", "if_shuffled_as_one")]
    assert re.search(
        rf"shards, 4 a visit: B_eff {shown[0]}; after cache-compact --all {shown[1]} \(S73\); after a build of all "
        rf"videos, shuffled as one, >= {shown[2]} \[",
        said,
    ), said
    join(cache, 0, 5)
    after = grown_of(*flags)
    assert after["generation_frames"] == [80]
    (joined,) = after["samplers"]
    assert joined["effective_batch"] == pytest.approx(row["if_joined"], rel=1e-12)
    assert joined["if_joined"] is None
    assert grown_of(cache, "--sampling", "iid", "--features", features)["samplers"] == []


def test_a_large_grown_cache_is_not_taken_for_one_shuffle(cache, features, tmp_path, monkeypatch):
    alone = append_videos(tmp_path / "alone", [8] * 8, scratch=tmp_path, frames_per_shard=16)
    monkeypatch.setattr(table, "MAX_FRAMES_READ", 0)
    (grown,), (one,) = samplers(cache, *VISITS), samplers(alone, *VISITS)
    assert [row["rho"]["basis"] for row in (*grown.values(), *one.values())] == ["sampled", "builds"]
    assert grown_of(alone, *VISITS) is None
    (row,) = grown_of(cache, *VISITS)["samplers"]
    assert row["if_joined"] not in {None, row["effective_batch"]}


def test_joined_content_orders_are_named_and_compared_with_one(cache, features):
    flags = [cache, *BY_CONTENT, "--features", features]
    grown = grown_of(*flags)
    assert grown["num_content_orders"] == 5
    (row,) = grown["samplers"]
    assert row["if_ordered_as_one"] not in {None, row["effective_batch"]}
    assert "by 5 orders of the appends, joined; --write-order orders all frames as one: " in words(*flags)
    order(cache)
    assert grown_of(*flags)["samplers"] == []


def test_the_table_of_candidates_of_a_cache_with_short_shards_and_forgotten_videos(cache):
    (rows,) = samplers(cache, "--batch-size", 8)
    assert "sampling=shards frames_per_visit=8" in rows, "short shards are drawn from with replacement"
    assert any(name.startswith("webdataset") for name in rows)
    forget(cache, 9)
    (rows,) = samplers(cache, "--batch-size", 8)
    assert {row["law"]["num_frames"] for row in rows.values()} == {76}
    assert not any(name.startswith("webdataset") for name in rows)
