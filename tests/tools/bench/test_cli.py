"""`cache-bench` end to end on tiny videos and slices, and its errors for wrong commands. No speed is asserted."""

import errno
import json
import multiprocessing.util
import os
import re
import signal
import sys

import pytest
from frame_cache_tools.bench import cli as bench_cli
from frame_cache_tools.bench import prepare as bench_prepare
from frame_cache_tools.bench import run as bench_run
from frame_cache_tools.bench.cases import ZARR_PYTHON, BenchPlan, Lookahead, cache_cases
from frame_cache_tools.bench.cli import (
    EXIT_INTERRUPTED,
    EXIT_MACHINE_FAILED,
    EXIT_NOTHING_MEASURED,
    EXIT_TERMINATED,
    EXIT_WRONG_COMMAND,
    main,
)
from frame_cache_tools.bench.inputs import look_at_cache
from frame_cache_tools.bench.measure.process import SourceFailedError
from frame_cache_tools.bench.measure.slices import Slice
from frame_cache_tools.bench.prepare import row_names

import frame_store
from tests.support.caches.tree import FIRST_MANIFEST
from tests.support.commands import SMALL, run

TINY = ("--rounds", "2", "--seconds", "0.02", "--batch-size", "8", "--cache-frames", "60", "--copies", "5")


@pytest.fixture(scope="module")
def cache(simple_folder, tmp_path_factory):
    """69 frames in shards of 20."""
    path = tmp_path_factory.mktemp("cache") / "small"
    assert (
        run("--videos", simple_folder.path, "--out", path, *SMALL, "--frames-per-shard", "20").exit_code == 0
    )
    return path


@pytest.fixture
def no_temp(tmp_path, monkeypatch):
    """The folder of temporary folders; it must be empty at the end."""
    # multiprocessing keeps one folder for its sockets until the process ends. It must not be this one.
    multiprocessing.util.get_temp_dir()
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(bench_run.tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def in_this_process(monkeypatch):
    """Prepare everything in this process, without a server."""
    monkeypatch.setattr(bench_cli, "start_server", lambda: None)
    monkeypatch.setattr(bench_run, "call_in_process", lambda function, *, seconds, temp_folder: function())


def bench(*arguments):
    return run(*map(str, arguments), command=main)


def fake_rates(monkeypatch, rate=lambda name: 100.0):
    """Give every source a fixed rate, without running it."""

    def measure(source, rule, *, seconds, temp_folder):
        images = rate(source)
        return Slice(images=images, seconds=2.0, seconds_to_first_batch=0.5, peak_anonymous_bytes=3_000_000)

    monkeypatch.setattr(bench_run, "measure_in_process", measure)


def test_a_run_from_videos_to_figures(simple_folder, tmp_path, no_temp):
    plot = tmp_path / "plot.png"
    rows = ("usual loader", "live, permutation*", "jpeg 444, permutation", "zarr raw, [pzd]*")
    only = [word for pattern in rows for word in ("--only", pattern)]
    usual = ("--usual-images", "4", "--usual-workers", "2", "--lookahead", "4")
    arguments = (*TINY, *only, *usual, "--videos", simple_folder.path, "--json", "--plot", plot)
    result = bench(*arguments)
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    rows = {row["name"]: row for row in values["rows"]}
    assert {row["failure"] for row in rows.values()} == {None}, rows
    groups = {row["group"] for row in rows.values()}
    assert groups == {"usual loader", "live", "cached", "other loaders", "limits"}
    for name, row in rows.items():
        assert (
            row["images_per_second_smallest"] <= row["images_per_second"] <= row["images_per_second_largest"]
        )
        assert row["peak_anonymous_bytes"] >= 0
        assert 1 <= len(row["rounds"]) <= 2
        for piece in row["rounds"]:
            assert piece["images_per_second"] == pytest.approx(piece["images"] / piece["seconds"])
        assert row["ratio_to_usual"] > 0
        assert (row["ratio_to_limit"] is None) == (row["group"] == "limits")
        assert row["limit"] is None or row["limit"] in rows, name
        if row["group"] in {"live", "cached", "other loaders"}:
            assert row["seconds_to_first_batch"] > 0
        if row["group"] == "usual loader":
            assert row["seconds_to_first_batch_expected"] == pytest.approx(2 * 8 / row["images_per_second"])
    others = {name.removeprefix("zarr raw, ") for name in rows if name.startswith("zarr raw, ")}
    assert others == {
        "permutation",
        "permutation + augmentation",
        "DataLoader, 2 workers",
        "zarr-python frames[ids]",
    }
    assert values["usual_row"].startswith("usual loader, ")
    assert rows[values["usual_row"]]["ratio_to_usual"] == 1
    assert {"usual loader, 1 video, 2 workers", "usual loader, 6 videos, 2 workers"} <= set(rows)
    assert values["videos"]["num_videos"] == 6
    assert values["videos"]["num_files"] == 3
    # The value of cache-bias for sampling 8 of 69 frames without replacement.
    assert rows["wds jpeg 444, permutation"]["effective_batch"] == pytest.approx(8 * 68 / 61, rel=0.02)
    assert [cache["name"] for cache in values["caches"]] == ["wds jpeg 444", "zarr raw"]
    raw = values["caches"][1]
    assert raw["num_frames"] == 69
    assert raw["bytes_per_frame"] == raw["num_bytes"] / 69 > 224 * 224 * 3
    assert raw["build_frames_per_second"] == pytest.approx(69 / raw["build_seconds"])
    even = {(row["cache"], row["other_row"]): row for row in values["break_even"]}
    assert {cache for cache, _ in even} == {"wds jpeg 444", "zarr raw"}
    assert {other for _, other in even} >= {"live, permutation", values["usual_row"]}
    assert all(row["num_frames"] == 138 for row in even.values())
    assert values["machine"]["cpus_usable"] >= 1
    assert "torch" in values["versions"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert not list(no_temp.glob("cache-bench*"))


def test_a_cache_is_measured_as_it_is_in_every_mode(cache, no_temp, in_this_process, monkeypatch):
    fake_rates(monkeypatch)
    result = bench(*TINY, "--cache", cache)
    assert result.exit_code == 0
    for mode in ("permutation", "stratified", "iid", "shards m=8", "block k=4", "sequential"):
        row = rf"^small: wds jpeg 444, {mode} +50 +50-50 +2 +1 +0\.5 +3 +\d+\.\d$"
        assert re.search(row, result.stdout, re.MULTILINE), result.stdout
    assert "neither the usual loader nor live rows: give --videos DIR" in result.stdout
    assert re.search(r"^small: wds jpeg 444 +69 ", result.stdout, re.MULTILINE)
    assert len(frame_store.open_store(cache)) == 69


def test_names_of_rows_are_known_before_there_is_a_cache(cache, tmp_path):
    """`--only` decides by these names which caches are built."""
    plan = BenchPlan(batch_size=8, lookahead=Lookahead(batches=2, max_bytes=1 << 20))
    rows = cache_cases([look_at_cache(cache, name="wds jpeg 444")], plan, flat=tmp_path / "flat.npy")
    names = {row.name for row in rows if row.group != "limits"}
    assert names == set(row_names("wds jpeg 444", has_gpu=False)) - {f"wds jpeg 444, {ZARR_PYTHON}"}


def test_a_row_that_cannot_be_measured_says_why(cache, no_temp, in_this_process, monkeypatch):
    def measure(source, rule, *, seconds, temp_folder):
        raise SourceFailedError("the usual loader needs torchvision")

    monkeypatch.setattr(bench_run, "measure_in_process", measure)
    result = bench(*TINY, "--cache", cache, "--only", "iid")
    assert result.exit_code == EXIT_NOTHING_MEASURED
    assert "error: nothing was measured; the report says why" in result.stderr
    assert re.search(r"iid +not measured: the usual loader needs torchvision$", result.stdout, re.MULTILINE)


def test_an_interruption_prints_what_there_is(cache, no_temp, in_this_process, monkeypatch):
    calls = []

    def measure(source, rule, *, seconds, temp_folder):
        calls.append(source)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return Slice(images=10, seconds=1.0, seconds_to_first_batch=None)

    monkeypatch.setattr(bench_run, "measure_in_process", measure)
    result = bench(*TINY, "--cache", cache)
    assert result.exit_code == EXIT_INTERRUPTED
    assert re.search(r"permutation +10 +10-10 +1 ", result.stdout)
    assert re.search(r"sequential +not measured$", result.stdout, re.MULTILINE)
    assert "interrupted: the figures above are of what was measured until then" in result.stdout
    calls.clear()
    calls += [None, None]
    result = bench(*TINY, "--cache", cache, "--json")
    assert result.exit_code == EXIT_INTERRUPTED
    assert result.stdout == ""
    assert "interrupted before anything was measured" in result.stderr
    assert not list(no_temp.glob("cache-bench*"))


@pytest.mark.parametrize("num_measured", [0, 2], ids=["before a figure", "after figures"])
def test_sigterm_ends_it_and_leaves_nothing(cache, no_temp, in_this_process, monkeypatch, num_measured):
    calls = []

    def measure(source, rule, *, seconds, temp_folder):
        calls.append(source)
        if len(calls) > num_measured:
            assert list(no_temp.glob("cache-bench*"))
            signal.raise_signal(signal.SIGTERM)
        return Slice(images=10, seconds=1.0, seconds_to_first_batch=None)

    monkeypatch.setattr(bench_run, "measure_in_process", measure)
    result = bench(*TINY, "--cache", cache)
    assert result.exit_code == EXIT_TERMINATED
    assert (result.stdout, result.stderr.splitlines()[-1]) == ("", "terminated")
    assert not list(no_temp.glob("cache-bench*"))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_kept_folder_is_used_again(simple_folder, tmp_path, in_this_process, monkeypatch):
    fake_rates(monkeypatch)
    work = tmp_path / "work"
    arguments = (
        *TINY,
        "--videos",
        simple_folder.path,
        "--work",
        work,
        "--only",
        "zarr raw, permutation",
        "--json",
    )
    first, second = (json.loads(bench(*arguments).stdout)["caches"] for _ in range(2))
    assert first == second
    assert first[0]["build_seconds"] > 0
    (cached,) = work.glob("cache_zarr_raw_????????")
    assert (cached / FIRST_MANIFEST).exists()
    assert not list(work.glob("*.npy"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--videos", "gone"], "no such folder"),
        (["--cache", "gone"], "no cache: no such folder"),
        (["--rounds", "0"], "--rounds must be 1 or more"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["--seconds-per-row", "0"], "--seconds-per-row must be above 0"),
        (["--budget", "29"], "--budget must be 30 s or more, found 29"),
        (["--budget", "nan"], "--budget must be 30 s or more, found nan"),
        (["--videos", __file__], "is read as a list of videos"),
        (["--videos", "~/no such folder"], "no such folder"),
        (["--plot", "gone/plot.png"], "gone/plot.png: no folder "),
        (["--work", f"{__file__}/below"], "is a file, expected a folder"),
        (["--batch-size", "0"], "--batch-size must be 1 or more"),
        (["--lookahead", "0"], "--lookahead must be 1 or more"),
        (["--usual-workers", "0"], "--usual-workers must be 1 or more"),
        (["--work", __file__], "is a file, expected a folder"),
        (
            ["--cache", "CACHE", "--only", "nonsense"],
            "--only nonsense names no row; rows are, for example: '",
        ),
        ([*TINY, "--cache", "CACHE", "--only", "iid", "--only", "nonsense"], "--only nonsense names no row"),
        (["videos"], "give a folder of videos as --videos DIR, a cache as --cache DIR (cache-bench --help"),
        (["--sampling", "iid"], "No such option"),
        (["--rounds", "many"], "is not a valid integer"),
    ],
)
def test_wrong_commands_get_exit_2(cache, no_temp, in_this_process, arguments, said):
    result = bench(*(cache if argument == "CACHE" else argument for argument in arguments))
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert said in result.stderr
    assert not list(no_temp.glob("cache-bench*"))


def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_measured(
    cache, tmp_path, in_this_process, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = bench("--cache", cache, "--plot", tmp_path / "plot.png")
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "pip install 'frame-cache[plots]'" in result.stderr


def test_a_failing_machine_has_an_exit_code_of_its_own(simple_folder, no_temp, in_this_process, monkeypatch):
    def is_full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/flat.npy")

    monkeypatch.setattr(bench_prepare, "prepare_videos", is_full)
    result = bench("--videos", simple_folder.path)
    assert result.exit_code == EXIT_MACHINE_FAILED
    said = result.stderr.splitlines()[-1]
    assert said == "error: a/flat.npy: No space left on device; give --work DIR on another disk"
    assert not list(no_temp.glob("cache-bench*"))
