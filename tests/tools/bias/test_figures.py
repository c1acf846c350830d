"""The figures of `cache-bias` of real caches: its table, its JSON, and what is exact of them."""

import json
import re
import sys

import numpy as np
import pytest
from frame_cache_tools.bias import table as bias_table
from frame_cache_tools.bias.cli import EXIT_LIMIT_BROKEN, EXIT_WRONG_COMMAND

import frame_store
from loader import SamplingSpec
from loader.bias.design_effect import design_effect, slot_correlation
from loader.bias.distributions.last_batch import chi2_of_short_batch
from loader.bias.nested import pair_distances
from loader.bias.pixels import thumbnails
from loader.sampling.orders.epoch import epoch_order
from tests.support.bias_command import bias, samplers, words
from tests.support.statistics.oracles.clips import chi2_of_whole_clips
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.statistics import standard_errors_off


def test_chi2_is_the_ratio_of_means_of_the_stored_sizes(bias_caches):
    (rows,) = samplers(bias_caches["video"], "--batch-size", "32")
    sizes = frame_store.open_store(bias_caches["video"]).shard_sizes
    expected = sizes.mean() * (1 / sizes).mean() - 1
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["law"]["chi2"] == pytest.approx(expected, rel=1e-12)
    assert 0 < naive["bias_of_proxy"] <= np.sqrt(expected)
    others = [row for name, row in rows.items() if "uniform" not in name]
    assert len(others) >= 6
    in_order = rows["sampling=sequential"]["law"]["chi2"]
    assert in_order == chi2_of_short_batch(int(sizes.sum()), batch_size=32) > 0
    assert all(row["law"]["chi2"] == 0 for row in others if row["law"]["name"] != "sampling=sequential")


def test_the_layouts_side_by_side(bias_caches):
    in_order, shuffled = samplers(bias_caches["video"], bias_caches["shuffled"], "--batch-size", "32")
    naive = "sampling=shards frames_per_visit=32 shard_choice=uniform"
    assert in_order[naive]["effective_batch"] < 4
    assert shuffled[naive]["effective_batch"] == pytest.approx(32, rel=0.1)
    store = frame_store.open_store(bias_caches["shuffled"])
    pixels = thumbnails(store)(np.arange(len(store)))
    exact = intraclass_correlation(np.split(pixels, np.cumsum(store.shard_sizes)[:-1]))
    assert shuffled[naive]["rho"]["rho"] == pytest.approx(exact)  # of this cache, not the mean over builds
    assert shuffled[naive]["rho"]["basis"] == "exact" and exact != pytest.approx(-1 / (len(store) - 1))
    for rows in (in_order, shuffled):
        assert rows["sampling=iid"]["effective_batch"] == 32


def test_the_table_in_words(bias_caches):
    text = bias(bias_caches["video"], "--batch-size", "32").stdout
    assert re.search(
        r"how alike frames of one unit are .*, all frames: gop \d\.\d+, video \d\.\d+, shard \d\.\d+\n", text
    )
    assert re.search(
        r"-- by thumbnails 16x16 --.*\nsampler .* design effect +B_eff +B_eff over 100 steps\n", text
    )
    assert "frames of small shards are shown too often: A(n)/H(n) - 1" in " ".join(text.split())
    assert re.search(r"^iid .* 1 +32\.0 +32\.0$", text, re.MULTILINE)


def test_the_table_can_be_read_by_itself(bias_caches):
    """In 120 columns, without the terms of the derivations, and with each column explained."""
    for flags in ((), ("--rho", "0.5"), ("--weights", "video"), ("--clip-frames", "4")):
        text = bias(bias_caches["video"], "--batch-size", "32", *flags).stdout
        assert max(map(len, text.splitlines()[1:])) <= 120
        assert "kappa" not in text and "at least" not in text.split("\n\n")[0]
        for column in ("chi2", "bias/sigma", "chi2 pairs", "design effect", "B_eff", "B_eff over 100 steps"):
            assert re.search(rf"^{re.escape(column)}: ", text, re.MULTILINE)
    text = bias(*bias_caches.values(), "--batch-size", "32").stdout
    assert text.count("\nB_eff: ") == 1  # one legend for all caches


def test_one_sampler_and_its_clips(bias_caches):
    (rows,) = samplers(bias_caches["video"], "--clip-frames", "4", "--clip-stride", "3", "--batch-size", "8")
    (row,) = rows.values()
    law = row["law"]
    assert law["slots_per_batch"] == 32
    sizes = frame_store.open_store(bias_caches["video"]).shard_sizes.tolist()
    assert law["num_frames"] == sum(sizes)
    assert law["num_windows"] == sum(sizes) - 9 * len(sizes)
    assert 0 < law["chi2"] == pytest.approx(chi2_of_whole_clips(sizes, clip_frames=4, stride=3))
    assert (law["chi2_over_windows"], law["target"], law["short_videos"]) == (0, "windows", [])
    assert row["rho"]["level"] == "clip"
    assert 8 <= row["effective_batch"] < 32
    (shuffled,) = samplers(
        bias_caches["shuffled"], "--clip-frames", "4", "--clip-stride", "3", "--batch-size", "8"
    )
    (same,) = shuffled.values()  # the layout changes nothing of what windows show
    assert same["law"] == law
    assert same["design_effect"] == pytest.approx(row["design_effect"], rel=1e-6)


def test_videos_shorter_than_a_clip_are_counted_and_named(bias_caches, bias_videos):
    arguments = ("--clip-frames", "64", "--batch-size", "2")
    (of_cache,) = samplers(bias_caches["video"], *arguments)
    _, before_building = samplers("--videos", bias_videos, *arguments)
    for rows in (of_cache, before_building):
        (row,) = rows.values()
        law = row["law"]
        short = [{"name": "0.mp4", "num_frames": 60}, {"name": "1.mp4", "num_frames": 63}]
        assert law["short_videos"] == short
        assert law["num_short_videos"] == 2
        assert law["num_frames_in_short_videos"] == law["num_frames_never_shown"] == 123
    text = words(bias_caches["video"], *arguments)
    num_frames = len(frame_store.open_store(bias_caches["video"]))
    assert (
        f"123 of {num_frames} frames in 2 videos without a whole window, never shown: 0.mp4 (60), 1.mp4 (63)"
        in text
    )
    assert f"an epoch is {law['num_windows']} windows, one for each anchor" in text
    drawn = words(bias_caches["video"], "--sampling", "iid", *arguments)
    assert f"an epoch is {law['num_windows']} windows, drawn with replacement" in drawn
    assert re.search(r"chi2 windows +chi2 frames", text)
    many = words(bias_caches["video"], "--clip-frames", "100", "--batch-size", "2")
    assert "0.mp4 (60), 1.mp4 (63), 2.mp4 (66) and 1 more" in many
    skipped = words(bias_caches["video"], "--clip-frames", "2", "--clip-stride", "150", "--batch-size", "2")
    assert (
        f"{2 * 150 - 200 + 2 * 150 - 203} frames of longer videos in no whole window, never shown" in skipped
    )


def test_the_figures_of_a_cache_of_unequal_shards_are_exact(bias_caches):
    (rows,) = samplers(bias_caches["video"], "--batch-size", "32")
    store = frame_store.open_store(bias_caches["video"])
    pixels = thumbnails(store)(np.arange(len(store)))
    frames = pixels - pixels.mean(0)
    sigma2 = np.square(frames).sum(1).mean()
    exact = {name for name, row in rows.items() if row["is_exact"]}
    assert exact == set(rows) - {"webdataset shuffle_buffer=1000 num_workers=1"}
    row = rows["sampling=block shards_per_block=4"]
    effects = []
    for seed in range(400):
        order = epoch_order(store.shard_sizes, SamplingSpec(sampling="block", shards_per_block=4), seed=seed)
        batches = frames[order.ids(0, len(store) // 32 * 32)].reshape(-1, 32, frames.shape[1]).mean(1)
        effects.append(32 * np.square(batches).sum(1).mean() / sigma2)
    assert abs(standard_errors_off(effects, row["design_effect"])) < 4
    rho = intraclass_correlation(np.split(pixels, np.cumsum(store.shard_sizes)[:-1]))
    correlation = slot_correlation(
        row["law"]["kappa"]["shard"], rho, shard_size=float(store.shard_sizes.mean()), num_shards=6
    )
    assert abs(standard_errors_off(effects, design_effect(correlation, batch_size=32))) > 4
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["effective_batch_with_bias"] < naive["effective_batch"]
    text = words(bias_caches["video"], "--batch-size", "32")
    assert f"bias included, a batch is worth {naive['effective_batch_with_bias']:.1f} frames" in text


def test_the_batch_of_all_ranks_together(bias_caches):
    block = ("--sampling", "block", "--shards-per-block", "4")
    ranks = (bias_caches["video"], *block, "--batch-size", "8", "--world-size", "4")
    (of_ranks,), (of_one,) = samplers(*ranks), samplers(bias_caches["video"], *block, "--batch-size", "32")
    (together,), (alone,) = of_ranks.values(), of_one.values()
    assert together["effective_batch"] == alone["effective_batch"]
    assert together["law"]["slots_per_batch"] == 32
    result = bias(*ranks, "--min-effective-batch", together["effective_batch"] + 0.1)
    assert result.exit_code == EXIT_LIMIT_BROKEN and "the effective global batch may be only" in result.stderr
    assert "global batch: 4 ranks x 8 = 32 frames" in result.stdout
    (case,) = json.loads(bias(*ranks, "--json").stdout)["cases"]
    assert (case["world_size"], case["batch_size"], case["global_batch_size"]) == (4, 8, 32)


def test_a_large_cache_is_estimated_and_marked_so(bias_caches, monkeypatch):
    monkeypatch.setattr(bias_table, "MAX_FRAMES_READ", 100)
    in_order, shuffled = samplers(bias_caches["video"], bias_caches["shuffled"], "--batch-size", "32")
    bases = {name: row["basis"] for name, row in in_order.items()}
    assert bases == {
        "sampling=permutation": "exact",
        "sampling=stratified": "sampled",
        "sampling=iid": "exact",
        "sampling=block shards_per_block=4": "approximate",
        "sampling=shards frames_per_visit=8": "bound",
        "sampling=shards frames_per_visit=32": "sampled",
        "sampling=shards frames_per_visit=32 shard_choice=uniform": None,
        "webdataset shuffle_buffer=1000 num_workers=1": "approximate",
        "sampling=sequential": "sampled",
    }
    for rows, basis in ((in_order, "sampled"), (shuffled, "builds")):
        row = rows["sampling=shards frames_per_visit=32"]
        assert row["basis"] == basis and not row["is_exact"]
        assert row["effective_batch_low"] < row["effective_batch"] < row["effective_batch_high"]
    text = bias(bias_caches["video"], "--batch-size", "32").stdout
    assert re.search(r"^shards, 8 a visit .*>= \d.*\[\d", text, re.MULTILINE)
    assert "a sample, 95% interval: gop" in text and "[low, high]: rho of a sample of frames" in text
    block = re.search(r"^block, 4 shards .*$", text, re.MULTILINE)[0]
    assert "~" in block and "[" not in block  # the interval of rho says nothing about the formula


def test_a_report_without_speeds_imports_no_torch(bias_caches, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    (rows,) = samplers(bias_caches["video"], "--batch-size", "32")
    assert rows["sampling=stratified"]["long_run"] is not None


def test_a_mean_over_some_batches_is_said_to_be_one(bias_caches, monkeypatch):
    monkeypatch.setattr(pair_distances, "MAX_PLACES_SUMMED", 0)
    text = words(bias_caches["video"], "--sampling", "stratified", "--batch-size", "4")
    assert re.search(
        r"stratified: .*design effect over 16 of \d+ batches of an epoch; \[low, high\] of B_eff", text
    )
    assert "rho of a sample" not in text  # every frame was read
    assert "~ chi2 pairs estimated from some of the batches of an epoch" in text
    assert "~ is an approximation" in text


def test_chi2_of_pairs_under_weights_is_that_of_points(bias_caches):
    text = words(bias_caches["video"], "--sampling", "stratified", "--batch-size", "4", "--weights", "video")
    assert "~ chi2 pairs of the points that draw frames" in text and "~ is an approximation" in text


def test_with_an_assumed_rho_no_pixel_is_read(bias_caches, monkeypatch):
    monkeypatch.setattr(bias_table, "thumbnails", None)
    (rows,) = samplers(bias_caches["video"], "--rho", "0.5", "--batch-size", "32")
    assert rows["sampling=shards frames_per_visit=8"]["design_effect"] == 1 + 7 * 0.5
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["design_effect"] is naive["bias_of_proxy"] is None
    assert rows["sampling=sequential"]["why_not_exact"] == "needs features"
    text = bias(bias_caches["video"], "--rho", "0.5", "--batch-size", "32").stdout
    assert "design effects hold for the rho that --rho assumes" in text


def test_features_take_the_place_of_pixels(bias_caches, tmp_path):
    store = frame_store.open_store(bias_caches["video"])
    shard_ids = store.index["shard_id"]
    features = np.eye(len(store.shard_sizes))[shard_ids]  # frames of a shard all alike: rho is 1
    np.save(tmp_path / "features.npy", features)
    options = (bias_caches["video"], "--features", tmp_path / "features.npy", "--batch-size", "32")
    (rows,) = samplers(*options)
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["rho"]["rho"] == pytest.approx(1)
    assert naive["rho"]["proxy"] == str(tmp_path / "features.npy")
    sizes = store.shard_sizes
    drawn, there = features.mean(0) * 0 + 1 / len(sizes), sizes / sizes.sum()
    sigma = np.sqrt(np.square(features - there).sum(1).mean())
    assert naive["bias_of_proxy"] == pytest.approx(np.linalg.norm(drawn - there) / sigma, rel=1e-12)
    for content, text in (
        (features[:-1], f"expected one row for each of {len(store)} frames"),
        (np.where(np.arange(len(store))[:, None] == 3, np.nan, features), "the first is row 3"),
        (np.array(["a"] * len(store)), "expected an array of numbers"),
    ):
        np.save(tmp_path / "features.npy", content)
        refused = bias(*options)
        assert refused.exit_code == EXIT_WRONG_COMMAND
        assert text in refused.stderr


def test_the_table_marks_a_chi2_of_pairs_that_is_not_exact(tmp_path):
    (tmp_path / "sizes").write_text("50 " * 32)
    shown = bias("--shard-sizes", tmp_path / "sizes").stdout.splitlines()
    found = {line.split("  ")[0]: line for line in shown}
    assert " 0.749 " in found["block, 4 shards"]
    assert " 0.0449 " in found["shards, 8 a visit"]
    assert ">= 0.00104" in found["webdataset, buffer of 1000"]
    (tmp_path / "sizes").write_text("50 " * 32 + "49")
    (rows,) = samplers("--shard-sizes", tmp_path / "sizes")
    law = rows["sampling=block shards_per_block=4"]["law"]
    assert law["chi2_of_pairs"] == pytest.approx(0.7735, abs=0.001) and law["chi2_of_pairs_is_exact"] is False
    assert rows["sampling=iid"]["law"]["chi2_of_pairs"] == 0
    one = bias("--shard-sizes", tmp_path / "sizes", "--sampling", "block", "--shards-per-block", "4").stdout
    assert ">= 0.77" in one


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_figures_do_not_depend_on_the_unit_of_the_features(bias_caches, tmp_path, unit):
    num_frames = len(frame_store.open_store(bias_caches["video"]))
    features = np.random.default_rng(0).normal(size=(num_frames, 2))
    rows = []
    for scale in (1.0, unit):
        np.save(tmp_path / "features.npy", np.column_stack([features * scale, np.ones(num_frames)]))
        rows += samplers(bias_caches["video"], "--batch-size", "32", "--features", tmp_path / "features.npy")
    plain, scaled = rows
    for name, row in plain.items():
        for figure in ("design_effect", "bias_of_proxy"):
            found, expected = scaled[name][figure], row[figure]
            assert (found is None) == (expected is None)
            assert found is None or found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("sizes", "mark"), [("9 9 9 9", ">= "), ("3 9 4 20", "~")])
def test_a_bound_by_an_approximate_kappa_is_marked_as_approximate(tmp_path, sizes, mark):
    path = tmp_path / "sizes.txt"
    path.write_text(sizes)
    options = ("--shard-sizes", path, "--sampling", "webdataset", "--batch-size", "4")
    ((row,),) = [rows.values() for rows in samplers(*options)]
    assert row["law"]["kappa_is_exact"] == (mark == ">= ")
    assert f" {mark}{row['law']['chi2_of_pairs']:.3g} " in bias(*options).stdout
