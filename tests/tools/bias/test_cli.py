"""`cache-bias` on real caches: the table, the gate, the plan, and what it answers before anything is built."""

import io
import json
import os
import re
import sys

import numpy as np
import pytest
from frame_cache_tools.bias import cli as bias_cli
from frame_cache_tools.bias import plan as bias_plan
from frame_cache_tools.bias import table as bias_table
from frame_cache_tools.bias.cases import subject_of_cache
from frame_cache_tools.bias.cli import EXIT_LIMIT_BROKEN, EXIT_WRONG_COMMAND, main

import frame_store
from cache_builder.cli import Terminated
from cache_builder.cli.command_line import EXIT_INTERRUPTED, EXIT_MACHINE_FAILED, EXIT_TERMINATED
from loader import SamplingSpec
from loader.bias.clips import chi2_of_whole_clips
from loader.bias.design_effect import design_effect, intraclass_correlation, slot_correlation
from loader.bias.rho import thumbnails
from loader.bias.steps import chi2_of_short_batch
from loader.sampling.orders.epoch import epoch_order
from tests.support.commands import SMALL, run
from tests.support.statistics.statistics import standard_errors_off
from tests.support.videos.tiny_videos import simple_specs, tiny_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos of 60 to 210 frames."""
    specs = [*simple_specs(4, num_frames=60), *simple_specs(2, num_frames=200)]
    numbered = [
        spec.__class__(**{**spec.__dict__, "path": spec.path.with_name(f"{i}.mp4"), "video_number": i})
        for i, spec in enumerate(specs)
    ]
    return tiny_folder(tmp_path_factory.mktemp("videos"), tuple(numbered)).path


@pytest.fixture(scope="module")
def caches(folder, tmp_path_factory):
    """One shard a video, and shuffled."""
    top = tmp_path_factory.mktemp("caches")
    flags = {
        "video": ["--layout", "video", "--frames-per-shard", "video"],
        "shuffled": ["--frames-per-shard", "100"],
    }
    for name, extra in flags.items():
        assert run("--videos", folder, "--out", top / name, *SMALL, *extra).exit_code == 0
    return {name: top / name for name in flags}


def bias(*arguments):
    return run(*map(str, arguments), command=main)


@pytest.mark.parametrize(
    ("signal", "code", "said"),
    [
        (KeyboardInterrupt, EXIT_INTERRUPTED, "interrupted\n"),
        (Terminated, EXIT_TERMINATED, "terminated\n"),
    ],
)
def test_ctrl_c_and_sigterm_are_one_word_and_an_exit_code(monkeypatch, signal, code, said):
    def interrupted(flags):
        raise signal

    monkeypatch.setattr(bias_cli, "_run", interrupted)
    result = bias("any")
    assert (result.exit_code, result.stderr) == (code, said)


@pytest.mark.parametrize(
    ("output", "code", "said"),
    [
        ("pipe", 0, ""),
        ("/dev/full", EXIT_MACHINE_FAILED, "output cannot be written: No space left on device\n"),
    ],
)
def test_a_reader_that_has_had_enough_is_no_failure(caches, monkeypatch, output, code, said):
    """As behind `| head`; a full disk is the machine's failure."""
    if output == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    with os.fdopen(writer, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr := io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main([str(caches["video"])])
    assert ended.value.code == code
    assert stderr.getvalue().endswith(said) and bool(stderr.getvalue()) == bool(said)


def samplers(*arguments):
    """Rows of `--json` by sampler, one dict a subject."""
    result = bias(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [
        {row["law"]["name"]: row for row in subject["samplers"]}
        for subject in json.loads(result.stdout)["subjects"]
    ]


def test_chi2_is_the_ratio_of_means_of_the_stored_sizes(caches):
    (rows,) = samplers(caches["video"], "--batch-size", "32")
    sizes = frame_store.open_store(caches["video"]).shard_sizes
    expected = sizes.mean() * (1 / sizes).mean() - 1
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["law"]["chi2"] == pytest.approx(expected, rel=1e-12)
    assert 0 < naive["bias_of_proxy"] <= np.sqrt(expected)
    others = [row for name, row in rows.items() if "uniform" not in name]
    assert len(others) >= 6
    in_order = rows["sampling=sequential"]["law"]["chi2"]
    assert in_order == chi2_of_short_batch(int(sizes.sum()), batch_size=32) > 0
    assert all(row["law"]["chi2"] == 0 for row in others if row["law"]["name"] != "sampling=sequential")


def test_the_layouts_side_by_side(caches):
    in_order, shuffled = samplers(caches["video"], caches["shuffled"], "--batch-size", "32")
    naive = "sampling=shards frames_per_visit=32 shard_choice=uniform"
    assert in_order[naive]["effective_batch"] < 4
    assert shuffled[naive]["effective_batch"] == pytest.approx(32, rel=0.1)
    store = frame_store.open_store(caches["shuffled"])
    pixels = thumbnails(store)(np.arange(len(store)))
    exact = intraclass_correlation(np.split(pixels, np.cumsum(store.shard_sizes)[:-1]))
    assert shuffled[naive]["rho"]["rho"] == pytest.approx(exact)  # of this cache, not of the mean build
    assert shuffled[naive]["rho"]["basis"] == "exact" and exact != pytest.approx(-1 / (len(store) - 1))
    for rows in (in_order, shuffled):
        assert rows["sampling=iid"]["effective_batch"] == 32


def test_the_table_says_it_in_words(caches):
    said = bias(caches["video"], "--batch-size", "32").stdout
    assert re.search(
        r"rho by thumbnails 16x16, all frames: gop \d\.\d+, video \d\.\d+, shard \d\.\d+\n", said
    )
    assert "frames of small ones too often: A(n)/H(n) - 1" in said
    assert re.search(r"^sampling=iid .* 32\.0$", said, re.MULTILINE)


def test_one_sampler_and_its_clips(caches):
    (rows,) = samplers(caches["video"], "--clip-frames", "4", "--clip-stride", "3", "--batch-size", "8")
    (row,) = rows.values()
    law = row["law"]
    assert law["slots_per_batch"] == 32
    sizes = frame_store.open_store(caches["video"]).shard_sizes.tolist()
    assert law["num_frames"] == sum(sizes)
    assert law["num_windows"] == sum(sizes) - 9 * len(sizes)
    assert 0 < law["chi2"] == pytest.approx(chi2_of_whole_clips(sizes, clip_frames=4, stride=3))
    assert (law["chi2_over_windows"], law["target"], law["short_videos"]) == (0, "windows", [])
    assert row["rho"]["level"] == "clip"
    assert 8 <= row["effective_batch"] < 32
    refused = bias(caches["shuffled"], "--clip-frames", "4")
    assert refused.exit_code == EXIT_WRONG_COMMAND
    assert "build one with cache-build --layout video" in refused.stderr


def test_videos_shorter_than_a_clip_are_counted_and_named(caches, folder):
    arguments = ("--clip-frames", "64", "--batch-size", "2")
    (of_cache,) = samplers(caches["video"], *arguments)
    _, before_building = samplers("--videos", folder, *arguments)
    for rows in (of_cache, before_building):
        (row,) = rows.values()
        law = row["law"]
        short = [{"name": "0.mp4", "num_frames": 60}, {"name": "1.mp4", "num_frames": 63}]
        assert law["short_videos"] == short
        assert law["num_short_videos"] == 2
        assert law["num_frames_in_short_videos"] == law["num_frames_never_shown"] == 123
    said = bias(caches["video"], *arguments).stdout
    num_frames = len(frame_store.open_store(caches["video"]))
    assert (
        f"123 of {num_frames} frames in 2 videos shorter than a clip, never shown: 0.mp4 (60), 1.mp4 (63)"
        in said
    )
    assert f"an epoch is {law['num_windows']} clips, one for each whole window" in said
    drawn = bias(caches["video"], "--sampling", "iid", *arguments).stdout
    assert f"an epoch is {law['num_windows']} clips, drawn among as many whole windows" in drawn
    assert re.search(r"chi2 windows +chi2 frames", said)
    many = bias(caches["video"], "--clip-frames", "100", "--batch-size", "2").stdout
    assert "0.mp4 (60), 1.mp4 (63), 2.mp4 (66) and 1 more" in many
    skipped = bias(caches["video"], "--clip-frames", "2", "--clip-stride", "150", "--batch-size", "2").stdout
    assert (
        f"{2 * 150 - 200 + 2 * 150 - 203} frames of longer videos in no whole window, never shown" in skipped
    )


def test_the_gate_of_clips_has_a_target(caches):
    clips = (caches["video"], "--clip-frames", "64", "--batch-size", "2", "--max-chi2", "1e-12")
    assert bias(*clips).exit_code == 0
    assert bias(*clips, "--target", "windows").exit_code == 0
    broken = bias(*clips, "--target", "frames")
    assert broken.exit_code == EXIT_LIMIT_BROKEN
    assert "chi2 over frames is 0." in broken.stderr and "at most 1e-12 is allowed" in broken.stderr
    for passed in (clips, (*clips, "--target", "frames")):  # counted and named in both cases
        assert "123 of " in bias(*passed).stdout
    frames = (caches["video"], "--sampling", "permutation", "--max-chi2", "1e-12")
    assert bias(*frames, "--target", "frames").exit_code == 0


def test_the_plan_of_clips(caches, monkeypatch):
    monkeypatch.setattr(bias_plan, "SECONDS_PER_ROUND", 0.05)  # how fast they are is nothing to this
    clips = (caches["video"], "--clip-frames", "8", "--batch-size", "4", "--plan", "--demand", "1")
    assert "take sampling=permutation clip_frames=8 on " in bias(*clips).stdout
    for nothing in (
        (*clips, "--target", "frames"),
        (caches["video"], "--sampling", "sequential", *clips[5:]),
    ):
        refused = bias(*nothing)
        assert refused.exit_code == EXIT_WRONG_COMMAND
        assert "nothing to pick: no sampler here is unbiased at every position" in refused.stderr


def test_the_gate(caches):
    naive = ["--sampling", "shards", "--frames-per-visit", "32", "--shard-choice", "uniform"]
    proportional = ["--sampling", "shards", "--frames-per-visit", "32"]
    common = (caches["video"], "--batch-size", "32")
    assert bias(*common, *proportional, "--max-chi2", "1e-12").exit_code == 0
    broken = bias(*common, *naive, "--max-chi2", "1e-12")
    assert broken.exit_code == EXIT_LIMIT_BROKEN
    assert "at most 1e-12 is allowed" in broken.stderr
    too_alike = bias(*common, *proportional, "--min-effective-batch", "16")
    assert too_alike.exit_code == EXIT_LIMIT_BROKEN
    assert "at least 16 are asked for" in too_alike.stderr
    assert bias(*common, "--sampling", "iid", "--min-effective-batch", "32").exit_code == 0
    assert bias(*common, "--max-chi2", "1").exit_code == EXIT_WRONG_COMMAND


def test_the_gate_judges_what_is_certain(caches, tmp_path):
    """Shards of 1 and 99 frames, drawn alike: 32 frames are worth 1.27, by the sizes alone."""
    (tmp_path / "sizes").write_text("1 99")
    naive = (
        "--sampling",
        "shards",
        "--frames-per-visit",
        "1",
        "--shard-choice",
        "uniform",
        "--batch-size",
        "32",
    )
    sizes = ("--shard-sizes", tmp_path / "sizes")
    for limit, code in ((1.26, 0), (1.28, EXIT_LIMIT_BROKEN), (30, EXIT_LIMIT_BROKEN)):
        result = bias(*sizes, *naive, "--min-effective-batch", limit)
        assert result.exit_code == code
    assert (
        "a global batch may be worth only 1.3 independent frames, at least 30 are asked for" in result.stderr
    )
    (rows,) = samplers(*sizes, *naive)
    (row,) = rows.values()
    assert row["law"]["effective_batch_floor"] == pytest.approx(32 * 0.0099 / 0.25)
    assert row["design_effect"] is None and row["law"]["floor_is_proven"]
    block = ("--sampling", "block", "--shards-per-block", "1", "--batch-size", "32")
    unknown = bias(*sizes, *block, "--rho", "0.5", "--min-effective-batch", "2")
    assert unknown.exit_code == EXIT_WRONG_COMMAND
    assert "nothing certain is known" in unknown.stderr and "give --features of all frames" in unknown.stderr
    assert re.search(r"^sampling=block .* ~\d.* ~\d", unknown.stdout, re.MULTILINE)
    assert "~ is an approximation, and no limit is judged by it" in unknown.stdout
    assert (
        bias(caches["video"], *block, "--min-effective-batch", "1").exit_code == 0
    )  # exact, from all frames


def test_the_figures_of_a_cache_of_unequal_shards_are_exact(caches):
    (rows,) = samplers(caches["video"], "--batch-size", "32")
    store = frame_store.open_store(caches["video"])
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
    said = bias(caches["video"], "--batch-size", "32").stdout
    assert f"bias included, a global batch is worth {naive['effective_batch_with_bias']:.1f} frames" in said


def test_the_batch_of_all_ranks_together(caches):
    block = ("--sampling", "block", "--shards-per-block", "4")
    ranks = (caches["video"], *block, "--batch-size", "8", "--world-size", "4")
    (of_ranks,), (of_one,) = samplers(*ranks), samplers(caches["video"], *block, "--batch-size", "32")
    (together,), (alone,) = of_ranks.values(), of_one.values()
    assert together["effective_batch"] == alone["effective_batch"]
    assert together["law"]["slots_per_batch"] == 32
    result = bias(*ranks, "--min-effective-batch", together["effective_batch"] + 0.1)
    assert result.exit_code == EXIT_LIMIT_BROKEN and "a global batch may be worth only" in result.stderr
    assert "global batch: 4 ranks x 8 = 32 frames" in result.stdout
    assert "effective global batch" in result.stdout
    (subject,) = json.loads(bias(*ranks, "--json").stdout)["subjects"]
    assert (subject["world_size"], subject["batch_size"], subject["global_batch_size"]) == (4, 8, 32)


def test_a_large_cache_is_estimated_and_says_so(caches, monkeypatch):
    monkeypatch.setattr(bias_table, "MAX_FRAMES_READ", 100)
    in_order, shuffled = samplers(caches["video"], caches["shuffled"], "--batch-size", "32")
    bases = {name: row["basis"] for name, row in in_order.items()}
    assert bases == {
        "sampling=permutation": "exact",
        "sampling=iid": "exact",
        "sampling=block shards_per_block=4": "approximate",
        "sampling=shards frames_per_visit=8": "sampled",
        "sampling=shards frames_per_visit=32": "sampled",
        "sampling=shards frames_per_visit=32 shard_choice=uniform": None,
        "webdataset shuffle_buffer=1000 num_workers=1": "approximate",
        "sampling=sequential": "sampled",
    }
    for rows, basis in ((in_order, "sampled"), (shuffled, "builds")):
        row = rows["sampling=shards frames_per_visit=32"]
        assert row["basis"] == basis and not row["is_exact"]
        assert row["effective_batch_low"] < row["effective_batch"] < row["effective_batch_high"]
    said = bias(caches["video"], "--batch-size", "32").stdout
    assert re.search(r"^sampling=shards frames_per_visit=8 .*\[\d", said, re.MULTILINE)
    assert "a sample, 95% interval: gop" in said and "[low, high]: rho of a sample of frames" in said


def test_an_assumed_rho_looks_at_no_pixel(caches, monkeypatch):
    monkeypatch.setattr(bias_table, "thumbnails", None)
    (rows,) = samplers(caches["video"], "--rho", "0.5", "--batch-size", "32")
    assert rows["sampling=shards frames_per_visit=8"]["design_effect"] == 1 + 7 * 0.5
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["design_effect"] is naive["bias_of_proxy"] is None
    assert rows["sampling=sequential"]["why_not_exact"] == "needs features"
    said = bias(caches["video"], "--rho", "0.5", "--batch-size", "32").stdout
    assert "design effects hold for the rho that --rho assumes" in said


def test_the_help_says_which_figures_are_exact():
    said = " ".join(bias("--help").stdout.split())
    assert "Every number but rho is exact" not in said
    assert (
        "Exact, from shard sizes and settings alone or from all frames: every number without a mark." in said
    )
    assert f"caches of more than {bias_table.MAX_FRAMES_READ:,} frames" in said


def test_features_take_the_place_of_pixels(caches, tmp_path):
    store = frame_store.open_store(caches["video"])
    shard_ids = store.index["shard_id"]
    features = np.eye(len(store.shard_sizes))[shard_ids]  # frames of a shard all alike: rho is 1
    np.save(tmp_path / "features.npy", features)
    options = (caches["video"], "--features", tmp_path / "features.npy", "--batch-size", "32")
    (rows,) = samplers(*options)
    naive = rows["sampling=shards frames_per_visit=32 shard_choice=uniform"]
    assert naive["rho"]["rho"] == pytest.approx(1)
    assert naive["rho"]["proxy"] == str(tmp_path / "features.npy")
    sizes = store.shard_sizes
    drawn, there = features.mean(0) * 0 + 1 / len(sizes), sizes / sizes.sum()
    sigma = np.sqrt(np.square(features - there).sum(1).mean())
    assert naive["bias_of_proxy"] == pytest.approx(np.linalg.norm(drawn - there) / sigma, rel=1e-12)
    for content, said in (
        (features[:-1], f"expected one row for each of {len(store)} frames"),
        (np.where(np.arange(len(store))[:, None] == 3, np.nan, features), "the first is row 3"),
        (np.array(["a"] * len(store)), "expected an array of numbers"),
    ):
        np.save(tmp_path / "features.npy", content)
        refused = bias(*options)
        assert refused.exit_code == EXIT_WRONG_COMMAND
        assert said in refused.stderr


def test_before_anything_is_built(folder, caches, tmp_path):
    """From the packets alone, and the same numbers as of the caches themselves."""
    shuffled, in_order, one_each = samplers("--videos", folder, "--batch-size", "32")
    naive = "sampling=shards frames_per_visit=32 shard_choice=uniform"
    built = samplers(caches["video"], "--batch-size", "32")[0][naive]
    assert one_each[naive]["law"]["chi2"] == built["law"]["chi2"]
    assert one_each[naive]["effective_batch"] is None
    low, worth, high = (shuffled[naive][f"effective_batch{end}"] for end in ("_low", "", "_high"))
    assert 20 < low <= worth <= high and worth == pytest.approx(32, rel=0.1)  # over the seeds of a build
    assert shuffled[naive]["basis"] == "builds" and not shuffled[naive]["is_exact"]
    assert in_order["sampling=iid"]["effective_batch"] == 32
    assert not list(folder.parent.glob(f"{folder.name}*.scan"))
    sizes = frame_store.open_store(caches["video"]).shard_sizes.tolist()
    for text in (json.dumps(sizes), "\n".join(map(str, sizes))):
        (tmp_path / "sizes").write_text(text)
        (rows,) = samplers("--shard-sizes", tmp_path / "sizes", "--batch-size", "32", "--rho", "0.5")
        assert rows[naive]["law"]["chi2"] == built["law"]["chi2"]
        assert rows[naive]["design_effect"] is None and rows[naive]["why_not_exact"] == "needs features"
        visits = rows["sampling=shards frames_per_visit=8"]
        assert (visits["design_effect"], visits["basis"]) == (pytest.approx(1 + 7 * 0.5), "assumed")
        assert rows["webdataset shuffle_buffer=1000 num_workers=1"]["basis"] == "approximate"


def test_the_plan_measures_and_picks(caches, tmp_path, monkeypatch):
    monkeypatch.setattr(bias_plan, "SECONDS_PER_ROUND", 0.05)  # how fast they are is nothing to this
    options = (caches["shuffled"], "--batch-size", "32", "--plan")
    easy = json.loads(bias(*options, "--demand", "1", "--json").stdout)
    assert all(row["frames_per_second"] > 0 for row in easy["measured"])
    assert easy["pick"]["sampler"] == "sampling=permutation"
    hopeless = bias(*options, "--demand", "1e12")
    assert hopeless.exit_code == 0
    assert "no unbiased sampler gives 1000000000000 frames/s here" in hopeless.stdout
    plot = tmp_path / "plot.png"
    assert bias(*caches.values(), "--batch-size", "32", "--plot", plot).exit_code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_laws_are_by_steps_and_the_remainder_is_that_of_the_loader(tmp_path):
    (tmp_path / "sizes").write_text("1025")
    common = ("--shard-sizes", tmp_path / "sizes", "--batch-size", "128", "--sampling")
    in_order = bias(*common, "sequential", "--max-chi2", "12.4")
    assert in_order.exit_code == EXIT_LIMIT_BROKEN and "chi2 over frames is 12.45" in in_order.stderr
    assert (
        "the last batch has 1 of 128 frames, always the same, and is a step like any other" in in_order.stdout
    )
    assert bias(*common, "sequential", "--remainder", "drop", "--max-chi2", "0.001").exit_code == 0
    shuffled = bias(*common, "permutation").stdout
    assert "1 frame dropped an epoch; the mean of one epoch's steps is off by 0.00098 sigma" in shuffled
    assert "steps is off by 0.11 sigma" in bias(*common, "permutation", "--remainder", "uneven").stdout
    small = ("--shard-sizes", tmp_path / "sizes", "--batch-size", "600", "--world-size", "2", "--sampling")
    assert "a batch is 512, not 600: an epoch holds no whole step" in bias(*small, "permutation").stdout
    refused = bias(*small, "permutation", "--remainder", "drop")
    assert refused.exit_code == EXIT_WRONG_COMMAND and "holds no whole step" in refused.stderr
    stream = bias(*common, "webdataset", "--max-chi2", "1")
    assert stream.exit_code == EXIT_LIMIT_BROKEN and "no chi2 to judge" in stream.stderr
    assert "~0" in stream.stdout and "chi2 is by slots" in stream.stdout
    whole = bias(
        "--shard-sizes",
        tmp_path / "sizes",
        "--batch-size",
        "41",
        "--sampling",
        "webdataset",
        "--max-chi2",
        "1",
    )
    assert whole.exit_code == 0 and "~0" not in whole.stdout


def test_the_table_tells_of_pairs_what_is_exact_and_marks_what_is_not(tmp_path):
    (tmp_path / "sizes").write_text("50 " * 32)
    shown = bias("--shard-sizes", tmp_path / "sizes").stdout.splitlines()
    found = {line.split("  ")[0]: line for line in shown}
    assert " 0.774 " in found["sampling=block shards_per_block=4"]
    assert " 0.0962 " in found["sampling=shards frames_per_visit=8"]
    assert ">= 0.00104" in found["webdataset shuffle_buffer=1000 num_workers=1"]
    (tmp_path / "sizes").write_text("50 " * 32 + "49")
    (rows,) = samplers("--shard-sizes", tmp_path / "sizes")
    law = rows["sampling=block shards_per_block=4"]["law"]
    assert law["chi2_of_pairs"] == pytest.approx(0.803, abs=0.001) and law["chi2_of_pairs_is_exact"] is False
    assert rows["sampling=iid"]["law"]["chi2_of_pairs"] == 0
    one = bias("--shard-sizes", tmp_path / "sizes", "--sampling", "block", "--shards-per-block", "4").stdout
    assert ">= 0.8" in one


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to look at"),
        (["CACHE", "--videos", "x"], "say what to look at"),
        (["--videos", "gone"], "no such folder"),
        (["gone"], "no cache: no such folder"),
        (["--shard-sizes", "gone"], "No such file"),
        (["CACHE", "--plan"], "--plan and --demand FRAMES_PER_SECOND belong together"),
        (["--shard-sizes", "SIZES", "--plan", "--demand", "4"], "measure FrameLoader on caches"),
        (["CACHE", "--sampling", "shards", "--frames-per-visit", "7"], "must be --batch-size"),
        (["CACHE", "--sampling", "block", "--shards-per-block", "99"], "only 6 shards hold frames"),
        (["CACHE", "--sampling", "iid", "--world-size", "5000"], "5000 ranks cannot share"),
        (["CACHE", "--sampling", "permutation", "--world-size", "5000"], "5000 ranks cannot share"),
        (["CACHE", "--clip-frames", "999"], "but the longest video has"),
        (["CACHE", "--clip-frames", "4", "--sampling", "block"], "needs --shards-per-block"),
        (
            ["CACHE", "--clip-frames", "4", "--sampling", "sequential"],
            "clips are drawn by --sampling permutation or --sampling iid",
        ),
        (["CACHE", "--sampling", "iid", "--max-chi2", "1", "--target", "windows"], "give --clip-frames"),
        (["CACHE", "--clip-frames", "4", "--target", "frames"], "give one of them"),
        (["CACHE", "--draws", "1"], "--draws must be 3 or more"),
        (["CACHE", "--features", "f.npy", "--rho", "0.5"], "two answers to one question"),
        (
            ["CACHE", "--sampling", "webdataset", "--num-workers", "2", "--world-size", "4"],
            "8 workers of all",
        ),
        (["CACHE", "--batch-size", "0"], "--batch-size must be 1 or more"),
        (["CACHE", "--world-size", "0"], "--world-size must be 1 or more"),
        (["CACHE", "--rho", "2"], "--rho is how alike"),
        (["CACHE", "--sampling", "permutation", "--frames-per-visit", "3"], "belongs to --sampling shards"),
    ],
)
def test_wrong_commands_get_one_line(caches, tmp_path, arguments, said):
    (tmp_path / "sizes").write_text("10 20")
    places = {"CACHE": caches["video"], "SIZES": tmp_path / "sizes"}
    result = bias(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert said in result.stderr


@pytest.mark.parametrize("content", ["", "10 x", "[1.5]", "-3 4", "0 0", "[", "{}"])
def test_what_is_no_list_of_sizes_is_refused(tmp_path, content):
    (tmp_path / "sizes").write_text(content)
    result = bias("--shard-sizes", tmp_path / "sizes")
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert str(tmp_path / "sizes") in result.stderr


def test_clips_of_a_video_layout_know_its_videos(caches):
    subject = subject_of_cache(caches["video"])
    assert subject.video_sizes.tolist() == subject.shard_sizes.tolist()
    assert list(subject.video_names) == [f"{number}.mp4" for number in range(6)]
    assert len(epoch_order(subject.shard_sizes)) == subject.num_frames


@pytest.mark.parametrize("rho", ["1.5", "-0.5", "nan", "inf"])
def test_a_rho_that_no_frames_can_have_is_refused(rho, tmp_path):
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("9 4 9 1")  # a pair of four frames is alike by -1/3 at least
    result = bias("--shard-sizes", sizes, "--rho", rho, "--batch-size", "4")
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "from -0.3333 to 1" in result.stderr and result.stderr.count("\n") == 1


def test_the_least_and_the_greatest_rho_are_taken(tmp_path):
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("3 3 9")
    for rho in ("-0.5", "1"):
        result = bias("--shard-sizes", sizes, "--rho", rho, "--batch-size", "4")
        assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_figures_do_not_depend_on_the_unit_of_the_features(caches, tmp_path, unit):
    num_frames = len(frame_store.open_store(caches["video"]))
    features = np.random.default_rng(0).normal(size=(num_frames, 2))
    rows = []
    for scale in (1.0, unit):
        np.save(tmp_path / "features.npy", np.column_stack([features * scale, np.ones(num_frames)]))
        rows += samplers(caches["video"], "--batch-size", "32", "--features", tmp_path / "features.npy")
    plain, scaled = rows
    for name, row in plain.items():
        for figure in ("design_effect", "bias_of_proxy"):
            found, expected = scaled[name][figure], row[figure]
            assert (found is None) == (expected is None)
            assert found is None or found == pytest.approx(expected, rel=1e-9)


def test_frames_that_are_all_alike_are_called_so(caches, tmp_path):
    np.save(tmp_path / "features.npy", np.full(len(frame_store.open_store(caches["video"])), 0.1))
    options = ("--features", tmp_path / "features.npy", "--batch-size", "32")
    (rows,) = samplers(caches["video"], *options)
    for name in ("sampling=shards frames_per_visit=8", "sampling=sequential"):
        assert rows[name]["design_effect"] is None
        assert rows[name]["why_not_exact"] == "all frames are alike"
    gate = ("--sampling", "block", "--shards-per-block", "2", "--min-effective-batch", "1")
    result = bias(caches["video"], *options, *gate)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "give --features that differ" in result.stderr


def test_a_visit_to_the_whole_of_the_only_shard(tmp_path):
    """Every batch has the mean of all frames: it is worth infinitely many, and nothing is divided by 0."""
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("5")
    options = ("--shard-sizes", sizes, "--sampling", "shards", "--frames-per-visit", "5", "--batch-size", "5")
    assert bias(*options, "--json").exit_code == 0
    assert bias(*options, "--min-effective-batch", "1000").exit_code == 0
    assert " inf" in bias(*options).stdout


@pytest.mark.parametrize(
    "flags",
    [
        ("--sampling", "iid", "--max-chi2", "nan"),
        ("--sampling", "iid", "--min-effective-batch", "nan"),
        ("--plan", "--demand", "nan"),
        ("--plan", "--demand", "0"),
        ("--plan", "--demand", "-5"),
    ],
)
def test_a_limit_that_judges_nothing_is_refused(caches, flags):
    result = bias(caches["video"], "--batch-size", "8", *flags)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert flags[-2] in result.stderr and f"found {flags[-1]}" in result.stderr


@pytest.mark.parametrize(("sizes", "mark"), [("9 9 9 9", ">= "), ("3 9 4 20", "~")])
def test_a_bound_by_an_approximate_kappa_is_marked_as_approximate(tmp_path, sizes, mark):
    path = tmp_path / "sizes.txt"
    path.write_text(sizes)
    options = ("--shard-sizes", path, "--sampling", "webdataset", "--batch-size", "4")
    ((row,),) = [rows.values() for rows in samplers(*options)]
    assert row["law"]["kappa_is_exact"] == (mark == ">= ")
    assert f" {mark}{row['law']['chi2_of_pairs']:.3g} " in bias(*options).stdout


def test_the_table_says_what_kappa_counts(tmp_path):
    """Of visits not the shards they share by chance (S29): frames drawn one by one have 0."""
    path = tmp_path / "sizes.txt"
    path.write_text("9 9 9")
    options = ("--shard-sizes", path, "--batch-size", "3", "--sampling")
    for sampling, kappa, is_of_visits in (
        (("permutation",), 0.0, True),
        (("shards", "--frames-per-visit", "3"), 1.0, True),
        (("sequential",), 1.0, False),
    ):
        said = bias(*options, *sampling).stdout
        assert f" {kappa:.4f} " in said and ("kappa: how often two slots" in said) == is_of_visits
    ((row,),) = [rows.values() for rows in samplers(*options, "permutation")]
    assert row["law"]["kappa"]["shard"] == pytest.approx(8 / 26)
