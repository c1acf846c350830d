"""The gate and the plan of `cache-bias` on real caches: limits that it judges, and samplers that it picks."""

import errno
import json
import os
import re
import sys

import numpy as np
import pytest
from frame_cache_tools.bias import plan as bias_plan
from frame_cache_tools.bias.cli import EXIT_LIMIT_BROKEN, EXIT_WRONG_COMMAND
from frame_cache_tools.bias.section import Section

import frame_store
from tests.support.bias_command import bias, samplers, words


def test_the_gate_of_clips_has_a_target(bias_caches):
    clips = (bias_caches["video"], "--clip-frames", "64", "--batch-size", "2", "--max-chi2", "1e-12")
    assert bias(*clips).exit_code == 0
    assert bias(*clips, "--target", "windows").exit_code == 0
    broken = bias(*clips, "--target", "frames")
    assert broken.exit_code == EXIT_LIMIT_BROKEN
    assert "chi2 over frames is 0." in broken.stderr and "at most 1e-12 is allowed" in broken.stderr
    for passed in (clips, (*clips, "--target", "frames")):  # counted and named for both targets
        assert "123 of " in bias(*passed).stdout
    frames = (bias_caches["video"], "--sampling", "permutation", "--max-chi2", "1e-12")
    assert bias(*frames, "--target", "frames").exit_code == 0


def test_the_plan_of_clips(bias_caches, monkeypatch):
    monkeypatch.setattr(bias_plan, "SECONDS_PER_ROUND", 0.01)  # this test needs no precise speeds
    clips = (bias_caches["video"], "--clip-frames", "8", "--batch-size", "4", "--plan", "--demand", "1")
    assert "take sampling=permutation frame_offsets=(0, 1, ..., 7) edges=whole on " in words(*clips)
    for nothing in (
        (*clips, "--target", "frames"),
        (bias_caches["video"], "--sampling", "sequential", *clips[5:]),
    ):
        refused = bias(*nothing)
        assert refused.exit_code == EXIT_WRONG_COMMAND
        assert "nothing to pick: no sampler here is unbiased at every position" in refused.stderr


def test_the_gate(bias_caches):
    naive = ["--sampling", "shards", "--frames-per-visit", "32", "--shard-choice", "uniform"]
    proportional = ["--sampling", "shards", "--frames-per-visit", "32"]
    common = (bias_caches["video"], "--batch-size", "32")
    assert bias(*common, *proportional, "--max-chi2", "1e-12").exit_code == 0
    broken = bias(*common, *naive, "--max-chi2", "1e-12")
    assert broken.exit_code == EXIT_LIMIT_BROKEN
    assert "at most 1e-12 is allowed" in broken.stderr
    too_alike = bias(*common, *proportional, "--min-effective-batch", "16")
    assert too_alike.exit_code == EXIT_LIMIT_BROKEN
    assert "at least 16 are required" in too_alike.stderr
    assert bias(*common, "--sampling", "iid", "--min-effective-batch", "32").exit_code == 0
    assert bias(*common, "--max-chi2", "1").exit_code == EXIT_WRONG_COMMAND


def test_a_limit_judges_what_is_certain(bias_caches, tmp_path):
    """Shards of 1 and 99 frames, drawn alike: the effective batch of 32 frames is 1.27, from the sizes alone."""
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
        "the effective global batch may be only 1.3 independent frames, at least 30 are required"
        in result.stderr
    )
    (rows,) = samplers(*sizes, *naive)
    (row,) = rows.values()
    assert row["law"]["effective_batch_floor"] == pytest.approx(32 * 0.0099 / 0.25)
    assert row["design_effect"] is None and row["law"]["floor_is_proven"]
    block = ("--sampling", "block", "--shards-per-block", "1", "--batch-size", "32")
    unknown = bias(*sizes, *block, "--rho", "0.5", "--min-effective-batch", "2")
    assert unknown.exit_code == EXIT_WRONG_COMMAND
    assert "nothing certain is known" in unknown.stderr and "give --features of all frames" in unknown.stderr
    assert re.search(r"^block, 1 shard .* ~\d.* ~\d", unknown.stdout, re.MULTILINE)
    assert "~ is an approximation, and no limit is judged by it" in unknown.stdout
    assert (
        bias(bias_caches["video"], *block, "--min-effective-batch", "1").exit_code == 0
    )  # exact, from all frames


def test_the_plan_measures_and_picks(bias_caches, tmp_path, monkeypatch):
    monkeypatch.setattr(bias_plan, "SECONDS_PER_ROUND", 0.01)  # this test needs no precise speeds
    options = (bias_caches["shuffled"], "--batch-size", "32", "--plan")
    easy = json.loads(bias(*options, "--demand", "1", "--json").stdout)
    assert all(row["frames_per_second"] > 0 for row in easy["measured"])
    assert easy["pick"]["sampler"] == "sampling=stratified"
    worth = {row["sampler"]: row["effective_batch_over_horizon"] for row in easy["measured"]}
    unbiased = {name: found for name, found in worth.items() if "sequential" not in name}
    assert worth["sampling=stratified"] == max(unbiased.values()) > 2 * worth["sampling=permutation"] > 64
    hopeless = bias(*options, "--demand", "1e12")
    assert hopeless.exit_code == 0
    assert "no unbiased sampler gives 1000000000000 frames/s here" in hopeless.stdout
    plot = tmp_path / "plot.png"
    assert bias(*bias_caches.values(), "--batch-size", "32", "--plot", plot).exit_code == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_refused_before_anything_is_measured(
    bias_caches, tmp_path, monkeypatch
):
    def measured(*_):
        raise AssertionError("measured")

    monkeypatch.setattr(Section, "measure", measured)
    for path, said in (
        (tmp_path / "nowhere" / "plot.png", f"there is no folder {tmp_path}/nowhere"),
        (tmp_path, "expected a file to write, found a folder"),
    ):
        refused = bias(bias_caches["video"], "--batch-size", "32", "--plot", path)
        assert refused.exit_code == EXIT_WRONG_COMMAND
        assert refused.stderr == f"error: --plot {path}: {said}\n"
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    missing = bias(bias_caches["video"], "--batch-size", "32", "--plot", tmp_path / "plot.png")
    assert (
        missing.exit_code == EXIT_WRONG_COMMAND and "--plot needs matplotlib: pip install" in missing.stderr
    )


def test_a_full_disk_leaves_no_part_of_a_plot_and_names_it(bias_caches, tmp_path, monkeypatch):
    monkeypatch.setattr(bias_plan, "SECONDS_PER_ROUND", 0.01)
    plot = tmp_path / "plot.of_no_known_ending"
    options = (bias_caches["video"], "--sampling", "iid", "--batch-size", "32", "--plot", plot)
    assert bias(*options).exit_code == 0 and plot.read_bytes().startswith(b"\x89PNG")

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as `write` raises it: without a name

    monkeypatch.setattr(type(plot), "write_bytes", full)
    failed = bias(*options)
    assert (
        failed.exit_code == 3
        and failed.stderr == f"error: the machine failed: {plot}: No space left on device\n"
    )
    assert not plot.exists()


def test_laws_are_by_steps_and_the_remainder_is_that_of_the_loader(tmp_path):
    (tmp_path / "sizes").write_text("1025")
    common = ("--shard-sizes", tmp_path / "sizes", "--batch-size", "128", "--sampling")
    in_order = bias(*common, "sequential", "--max-chi2", "12.4")
    assert in_order.exit_code == EXIT_LIMIT_BROKEN and "chi2 over frames is 12.45" in in_order.stderr
    assert (
        "the last batch has 1 of 128 frames, always the same, and is a step like any other" in in_order.stdout
    )
    assert bias(*common, "sequential", "--remainder", "drop", "--max-chi2", "0.001").exit_code == 0
    shuffled = words(*common, "permutation")
    assert "1 frame dropped an epoch; the mean of one epoch's steps is off by 0.00098 sigma" in shuffled
    assert "steps is off by 0.11 sigma" in words(*common, "permutation", "--remainder", "uneven")
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


def test_frames_that_are_all_alike_are_called_so(bias_caches, tmp_path):
    np.save(tmp_path / "features.npy", np.full(len(frame_store.open_store(bias_caches["video"])), 0.1))
    options = ("--features", tmp_path / "features.npy", "--batch-size", "32")
    (rows,) = samplers(bias_caches["video"], *options)
    for name in ("sampling=shards frames_per_visit=8", "sampling=sequential"):
        assert rows[name]["design_effect"] is None
        assert rows[name]["why_not_exact"] == "all frames are alike"
    gate = ("--sampling", "block", "--shards-per-block", "2", "--min-effective-batch", "1")
    result = bias(bias_caches["video"], *options, *gate)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "give --features that differ" in result.stderr


def test_a_visit_to_the_whole_of_the_only_shard(tmp_path):
    """Every batch has the mean of all frames, so the effective batch is infinite, and nothing is divided by 0."""
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
def test_a_limit_that_judges_nothing_is_refused(bias_caches, flags):
    result = bias(bias_caches["video"], "--batch-size", "8", *flags)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert flags[-2] in result.stderr and f"found {flags[-1]}" in result.stderr
