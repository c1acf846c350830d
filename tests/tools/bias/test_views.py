"""`cache-bias` on views, on several caches as one, and by weights."""

import doctest

import numpy as np
import pytest
from frame_cache_tools.bias import views
from frame_cache_tools.bias.cli import EXIT_LIMIT_BROKEN, EXIT_WRONG_COMMAND

from frame_store import concat, open_store, select, split
from loader import SamplingSpec
from loader.bias import sampling_law
from loader.sampling import video_weights
from tests.support.bias_command import bias, samplers, words

SHARES = "train=0.5,val=0.5"


@pytest.fixture(scope="module")
def seed(bias_caches):
    """The first seed whose parts both have videos."""
    store = open_store(bias_caches["shuffled"])
    for number in range(20):
        try:
            split(store, {"train": 0.5, "val": 0.5}, seed=number)
        except ValueError:
            continue
        return number
    raise AssertionError("no seed splits the videos")


def test_a_part_of_a_split_is_described_as_the_view_that_the_library_gives(bias_caches, seed):
    path = bias_caches["shuffled"]
    flags = [path, "--split", SHARES, "--split-seed", seed, "--part", "val", "--batch-size", 4]
    parts = split(open_store(path), {"train": 0.5, "val": 0.5}, seed=seed)
    (rows,) = samplers(*flags)
    assert {row["law"]["num_frames"] for row in rows.values()} == {len(parts["val"])}
    assert not any(name.startswith("webdataset") for name in rows)
    expected = sampling_law(parts["val"].shard_sizes, SamplingSpec(), batch_size=4)
    assert rows["sampling=permutation"]["law"]["kappa"] == expected.kappa
    result = bias(*flags)
    assert result.exit_code == 0
    assert result.stderr == f"{path}:\n{parts}\n"
    assert f"{path}, val of {SHARES}: {len(parts['val'])} frames in" in result.stdout


def test_videos_by_pattern(bias_caches):
    store = open_store(bias_caches["video"])
    path = store.videos[0].path
    (rows,) = samplers(bias_caches["video"], "--videos-like", path, "--batch-size", 2)
    assert {row["law"]["num_frames"] for row in rows.values()} == {store.videos[0].num_frames_stored}


def test_visits_to_short_shards_are_said_to_draw_with_replacement(bias_caches):
    store = open_store(bias_caches["shuffled"])
    view = select(store, videos=[int(np.argmin(store.videos.column("num_frames_stored")))])
    path = view.videos[0].path
    m = int(view.shard_sizes.min()) + 1
    flags = [bias_caches["shuffled"], "--videos-like", path, "--sampling", "shards", "--batch-size", m]
    said = words(*flags, "--frames-per-visit", m)
    num_short = int((view.shard_sizes < m).sum())
    assert f"visits to {num_short} shard" in said
    assert f"of fewer than {m} frames draw with replacement (S56)" in said
    assert bias(*flags, "--frames-per-visit", m, "--max-chi2", 1e-12).exit_code == 0


def test_several_caches_as_one_with_a_weight_of_each(bias_caches):
    paths = [bias_caches["video"], bias_caches["shuffled"]]
    store = concat([open_store(path) for path in paths])
    (rows,) = samplers(*paths, "--concat", "--weights", "3,1", "--batch-size", 4)
    weights = video_weights(store, [3, 1])
    assert set(rows) == {name for name in rows if f"weights={weights.label}" in name} and len(rows) >= 2
    for row in rows.values():
        law = row["law"]
        assert (law["num_frames"], law["target"], law["weights"]) == (len(store), "weights", "per part")
        assert law["chi2"] == 0 and row["basis"] == "exact"
        assert law["chi2_of_target"] == pytest.approx(weights.chi2_over_frames)
    assert len(samplers(*paths, "--batch-size", 4)) == 2  # without --concat a case each


def test_a_gate_judges_weights_by_their_target_and_on_request_by_uniform_frames(bias_caches):
    flags = [
        bias_caches["video"],
        "--weights",
        "-1",
        "--sampling",
        "iid",
        "--batch-size",
        4,
        "--max-chi2",
        1e-6,
    ]
    assert bias(*flags).exit_code == 0
    text = words(*flags)
    assert "against the target, videos by weight (n^-1)" in text and "the variance (S59)" in text
    broken = bias(*flags, "--target", "frames")
    assert broken.exit_code == EXIT_LIMIT_BROKEN and "chi2 over frames is" in broken.stderr


def test_frames_of_weight_zero_are_counted(bias_caches):
    store = open_store(bias_caches["video"])
    sizes = store.videos.column("num_frames_stored")
    held = np.flatnonzero(sizes)[0]
    weights = ",".join("0" if row == held else "1" for row in range(len(sizes)))
    text = words(bias_caches["video"], "--weights", weights, "--sampling", "iid", "--batch-size", 4)
    assert f"{sizes[held]} frames have weight 0" in text


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--split", SHARES], "--split train=0.9,val=0.1 and --part train belong together"),
        (["--split-seed", "0"], "--split-seed is for --split: give both, or none"),
        (["--part", "train"], "--split train=0.9,val=0.1 and --part train belong together"),
        (["--split", SHARES, "--part", "test"], "--part is one of train, val, found 'test'"),
        (["--split", "train", "--part", "train"], "--split takes different names with shares"),
        (["--split", "a=1,a=1", "--part", "a"], "--split takes different names with shares"),
        (["--split", "a=0.5,b=0.6", "--part", "a"], "the shares must sum to 1, found 1.1"),
        (["--videos-like", "nosuch.mp4"], "no video has the path 'nosuch.mp4'; the nearest paths are"),
        (["--weights", "frames"], "--weights is video, seconds, a number tau"),
        (["--weights", "video", "--sampling", "permutation"], "weights draw with replacement"),
        (["--target", "weights", "--sampling", "iid", "--max-chi2", "0"], "--target weights needs --weights"),
        (["--concat", "--sampling", "webdataset"], "webdataset reads whole shards of one cache"),
    ],
)
def test_bad_flags_are_refused_in_one_line(bias_caches, flags, text):
    result = bias(bias_caches["video"], "--batch-size", 4, *flags)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert text in result.stderr and result.stderr.count("\n") == 1


def test_views_and_weights_are_of_caches(tmp_path):
    (tmp_path / "sizes").write_text("3 4")
    result = bias("--shard-sizes", tmp_path / "sizes", "--weights", "video")
    assert (result.exit_code, "--weights is about the videos of caches: give CACHE" in result.stderr) == (
        2,
        True,
    )


def test_examples_in_docstrings():
    assert doctest.testmod(views).failed == 0
