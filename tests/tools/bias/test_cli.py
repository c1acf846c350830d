"""`cache-bias` as a command: signals, outputs, what it refuses, and what it answers before a build."""

import io
import json
import os
import sys

import pytest
from frame_cache_tools.bias import cli as bias_cli
from frame_cache_tools.bias import table as bias_table
from frame_cache_tools.bias.cases import case_of_cache
from frame_cache_tools.bias.cli import EXIT_WRONG_COMMAND, main

import frame_store
from cache_builder.cli import Terminated
from cache_builder.cli.exit_status import EXIT_INTERRUPTED, EXIT_MACHINE_FAILED, EXIT_TERMINATED
from loader.sampling.orders.epoch import epoch_order
from tests.support.bias_command import bias, samplers


@pytest.mark.parametrize(
    ("signal", "code", "text"),
    [
        (KeyboardInterrupt, EXIT_INTERRUPTED, "interrupted\n"),
        (Terminated, EXIT_TERMINATED, "terminated\n"),
    ],
)
def test_ctrl_c_and_sigterm_are_one_word_and_an_exit_code(monkeypatch, signal, code, text):
    def interrupted(flags):
        raise signal

    monkeypatch.setattr(bias_cli, "_run", interrupted)
    result = bias("any")
    assert (result.exit_code, result.stderr) == (code, text)


@pytest.mark.parametrize(
    ("output", "code", "text"),
    [
        ("pipe", 0, ""),
        ("/dev/full", EXIT_MACHINE_FAILED, "output cannot be written: No space left on device\n"),
    ],
)
def test_a_closed_pipe_is_no_failure_and_a_full_disk_is_one(bias_caches, monkeypatch, output, code, text):
    """A closed pipe, as with `| head`, is no failure; a full disk is a failure of the machine."""
    if output == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    with os.fdopen(writer, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr := io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main([str(bias_caches["video"])])
    assert ended.value.code == code
    assert stderr.getvalue().endswith(text) and bool(stderr.getvalue()) == bool(text)


def test_the_help_states_which_figures_are_exact():
    text = " ".join(bias("--help").stdout.split())
    assert "Every number but rho is exact" not in text
    assert (
        "Numbers without a mark are exact: they follow from shard sizes and settings, or from all frames."
        in text
    )
    assert f"caches of more than {bias_table.MAX_FRAMES_READ:,} frames" in text


def test_before_anything_is_built(bias_videos, bias_caches, tmp_path):
    """Computed from the packets alone, the numbers are those of the caches."""
    shuffled, in_order, one_each = samplers("--videos", bias_videos, "--batch-size", "32")
    naive = "sampling=shards frames_per_visit=32 shard_choice=uniform"
    built = samplers(bias_caches["video"], "--batch-size", "32")[0][naive]
    assert one_each[naive]["law"]["chi2"] == built["law"]["chi2"]
    assert one_each[naive]["effective_batch"] is None
    low, effective, high = (shuffled[naive][f"effective_batch{end}"] for end in ("_low", "", "_high"))
    assert 20 < low <= effective <= high and effective == pytest.approx(
        32, rel=0.1
    )  # over the seeds of a build
    assert shuffled[naive]["basis"] == "builds" and not shuffled[naive]["is_exact"]
    assert in_order["sampling=iid"]["effective_batch"] == 32
    assert not list(bias_videos.parent.glob(f"{bias_videos.name}*.scan"))
    sizes = frame_store.open_store(bias_caches["video"]).shard_sizes.tolist()
    for text in (json.dumps(sizes), "\n".join(map(str, sizes))):
        (tmp_path / "sizes").write_text(text)
        (rows,) = samplers("--shard-sizes", tmp_path / "sizes", "--batch-size", "32", "--rho", "0.5")
        assert rows[naive]["law"]["chi2"] == built["law"]["chi2"]
        assert rows[naive]["design_effect"] is None and rows[naive]["why_not_exact"] == "needs features"
        visits = rows["sampling=shards frames_per_visit=8"]
        assert (visits["design_effect"], visits["basis"]) == (pytest.approx(1 + 7 * 0.5), "bound")
        assert rows["webdataset shuffle_buffer=1000 num_workers=1"]["basis"] == "approximate"


@pytest.mark.parametrize(
    ("arguments", "text"),
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
            "where the anchors are not uniform at every position of an epoch",
        ),
        (
            ["CACHE", "--sampling", "iid", "--max-chi2", "1", "--target", "windows"],
            "give --clip-frames or --frame-offsets",
        ),
        (["CACHE", "--clip-frames", "4", "--target", "frames"], "give one of them"),
        (["CACHE", "--draws", "1"], "--draws must be 3 or more"),
        (["CACHE", "--features", "f.npy", "--rho", "0.5"], "both determine rho"),
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
def test_wrong_commands_get_one_line(bias_caches, tmp_path, arguments, text):
    (tmp_path / "sizes").write_text("10 20")
    places = {"CACHE": bias_caches["video"], "SIZES": tmp_path / "sizes"}
    result = bias(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert text in result.stderr


@pytest.mark.parametrize("content", ["", "10 x", "[1.5]", "-3 4", "0 0", "[", "{}"])
def test_a_file_that_is_no_list_of_sizes_is_refused(tmp_path, content):
    (tmp_path / "sizes").write_text(content)
    result = bias("--shard-sizes", tmp_path / "sizes")
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert str(tmp_path / "sizes") in result.stderr


def test_clips_of_a_video_layout_know_its_videos(bias_caches):
    case = case_of_cache(bias_caches["video"])
    assert case.video_sizes.tolist() == case.shard_sizes.tolist()
    assert list(case.video_names) == [f"{number}.mp4" for number in range(6)]
    assert len(epoch_order(case.shard_sizes)) == case.num_frames


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
