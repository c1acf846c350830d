"""A whole run of `cache-bench` within its budget, with a clock that fake work advances. Rows left out are named."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from frame_cache_tools.bench import prepare as bench_prepare
from frame_cache_tools.bench import run as bench_run
from frame_cache_tools.bench.inputs import BenchCache, prepare_videos
from frame_cache_tools.bench.measure.budget import Budget
from frame_cache_tools.bench.measure.process import SourceFailedError, TimeUpError
from frame_cache_tools.bench.measure.slices import Slice
from frame_cache_tools.bench.prepare import Preparation
from frame_cache_tools.bench.report.table import report_text
from frame_cache_tools.bench.run import run_bench
from frame_cache_tools.bench.settings import QUICK, BenchSettings

from cache_builder.errors import MachineError
from tests.support.videos.tiny_videos import tiny_video

GOLDEN = {
    "wds jpeg 444": "wds-jpeg",
    "wds raw": "wds-raw",
    "wds jpeg 420": "wds-jpeg",
    "zarr raw": "zarr-raw",
    "zarr zstd": "zarr-zstd",
}


class SlowMachine:
    """Takes the place of the processes. Work is done at once, and the clock advances by its given cost."""

    def __init__(self, costs):
        self.costs = costs
        """Seconds, by the function that prepares or the class that is measured."""
        self.now = 1000.0

    def spend(self, name, usual_cost, seconds):
        cost = self.costs.get(name, usual_cost)
        self.now += min(cost, seconds)
        if cost > seconds:
            raise TimeUpError(seconds)

    def call(self, function, *, seconds, temp_folder):
        self.spend(function.func.__name__, 0.1, seconds)
        return function()

    def measure(self, source, rule, *, seconds, temp_folder):
        self.spend(type(source).__name__, 1.0, seconds)
        return Slice(images=100, seconds=1.0, seconds_to_first_batch=0.5)


@pytest.fixture
def bench(simple_folder, golden_caches, tmp_path, monkeypatch):
    """Runs `--quick` on a slow machine with prepared caches, and gives the report."""
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setattr(bench_run.tempfile, "tempdir", str(temp))

    def build(folder, out, name, kind):
        return BenchCache(
            name=name,
            path=golden_caches / GOLDEN[name],
            is_raw="raw" in name,
            num_frames=10,
            num_bytes=1000,
            build_seconds=1.0,
        )

    monkeypatch.setattr(bench_prepare, "build_bench_cache", build)

    def bench(costs, **settings):
        machine = SlowMachine(costs)
        monkeypatch.setattr(bench_run, "call_in_process", machine.call)
        monkeypatch.setattr(bench_run, "measure_in_process", machine.measure)
        report = run_bench(
            BenchSettings(**{**QUICK, "videos": simple_folder.path, "batch_size": 8, **settings}),
            command=(),
            say=lambda line: None,
            started_at=1000.0,
            clock=lambda: machine.now,
        )
        assert not list(temp.iterdir())
        assert report.time.seconds == machine.now - 1000
        assert report.time.seconds <= report.time.budget_seconds
        for row in report.rows:
            assert bool(row.rounds) != bool(row.no_time), row.case.name
        return report

    return bench


def left_out(report):
    return {each.name: each.reason for each in report.left_out}


def rows_of(report):
    return {row.case.name: row for row in report.rows}


def groups(report):
    return {row.case.group for row in report.rows}


def test_where_all_fits_nothing_is_left_out(bench):
    report = bench({}, budget_seconds=500)
    assert report.left_out == ()
    assert {row.no_time for row in report.rows} == {None}
    assert {len(row.rounds) for row in report.rows} == {3}
    assert "time: " in report_text(report)


def test_quick_ends_in_time_on_a_machine_on_which_everything_is_slow(bench):
    costs = {"build": 15.0, "prepare_videos": 8.0, "LoaderSource": 6.0, "UsualLoaderSource": 25.0}
    report = bench(costs)
    measured = {row.case.name for row in report.rows if row.rounds}
    assert {"live, permutation", "wds jpeg 444, permutation", "bare simplejpeg 444, all CPUs"} <= measured
    reason = "building it would take about 15 s, 10 s were left"
    assert left_out(report) == dict.fromkeys(
        ("cache wds jpeg 420", "cache zarr raw", "cache zarr zstd"), reason
    )
    text = report_text(report)
    assert f"left out: cache zarr raw: {reason}" in text
    assert " no time: it would take about " in text
    assert "time: 105 s of 120 s; 38 s to prepare, 67 s to measure" in text
    assert "rows of fewer rounds than 3" in text


def test_a_build_that_hangs_is_cut_off_and_the_rest_is_measured(bench):
    report = bench({"build": 1e9})
    assert left_out(report)["cache wds jpeg 444"].startswith("building it was cut off after 6")
    assert groups(report) == {"usual loader", "live", "limits"}
    assert report.has_figures


def test_a_scan_that_hangs_is_cut_off_and_leaves_nothing_to_measure(bench):
    report = bench({"prepare_videos": 1e9})
    assert not report.has_figures
    assert left_out(report)["usual loader, live rows and caches"].endswith("was cut off after 66 s")


def test_a_look_at_the_caches_that_takes_too_long_costs_the_effective_batch_alone(bench):
    report = bench({"cache_cases": 1e9}, only=("wds raw, permutation",))
    row = rows_of(report)["wds raw, permutation"]
    assert row.rounds
    assert row.case.effective_batch is None


def test_a_limit_whose_frames_cannot_be_written_in_time_is_named(bench):
    report = bench({"write_flat": 1e9}, only=("wds raw, permutation",))
    assert list(left_out(report)) == ["np.take, 1 thread"]
    row = rows_of(report)["wds raw, permutation"]
    assert row.rounds
    assert row.ratio_to_limit is None


def test_without_torchvision_the_usual_loader_is_left_out_in_one_line(bench, monkeypatch):
    monkeypatch.setattr(bench_run, "why_not_installed", lambda: "it needs X: pip install X")
    report = bench({})
    assert left_out(report) == {"usual loader": "it needs X: pip install X"}
    assert report.usual_row is None
    assert "usual loader" not in groups(report)
    assert "left out: usual loader: it needs X: pip install X" in report_text(report).splitlines()
    bench({}, only=("usual loader, 1 video", "live, permutation"))  # not an error


def test_a_pattern_of_what_was_left_out_is_no_mistake(bench):
    report = bench({"build": 1e9}, only=("zstd", "live, perm"))
    assert list(left_out(report)) == ["cache zarr zstd"]
    assert report.has_figures


def test_a_process_that_dies_while_it_prepares_is_the_machines_failure(tmp_path):
    def call(function, *, seconds):
        raise SourceFailedError("its process ended with exit code -9")

    preparation = Preparation(
        settings=BenchSettings(),
        work=tmp_path,
        flat=tmp_path / "flat.npy",
        budget=Budget(seconds=math.inf, started_at=0.0, clock=lambda: 0.0),
        call=call,
        say=lambda line: None,
    )
    with pytest.raises(MachineError, match="preparing: its process ended with exit code -9"):
        preparation.videos()


def test_quick_looks_at_the_first_videos_alone_and_says_how_many_more_there_are(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(3):
        tiny_video(videos, path=Path(f"{number}.mp4"), num_frames=10 + 20 * number)
    sizes = [path.stat().st_size for path in sorted(videos.iterdir())]

    def prepared(most_bytes, at_least=1):
        return prepare_videos(
            videos, tmp_path / "work", at_least=at_least, most_bytes=most_bytes, clock=lambda: 0.0
        )

    two = prepared(sizes[0] + sizes[1])
    assert (len(two.paths), two.num_files, two.num_passed_over) == (2, 2, 1)
    assert len(prepared(sizes[0], at_least=4).paths) == 4
    assert prepared(1).frames_of_path == (10,)  # the smallest, where no video is small enough
    everything = prepared(None)
    assert (everything.folder, everything.num_passed_over) == (videos, 0)


def test_a_kept_folder_never_mixes_the_videos_of_two_runs(tmp_path):
    work = tmp_path / "work"
    counts = []
    for number in range(2):
        videos = tmp_path / f"videos_{number}"
        videos.mkdir()
        tiny_video(videos, num_frames=10 + number)
        found = prepare_videos(videos, work, at_least=3, most_bytes=None, clock=lambda: 0.0)
        counts.append(found.frames_of_path)
        assert {path.resolve().parent for path in found.paths} == {videos}
    assert counts == [(10, 10, 10), (11, 11, 11)]


def test_quick_promises_two_minutes():
    assert BenchSettings(**QUICK).budget_seconds == 120
    assert BenchSettings().budget_seconds == float("inf")


def test_who_plans_and_reports_does_not_import_torch():
    code = (
        "import sys, frame_cache_tools.bench.run\n"
        "import frame_cache_tools.bench.report.table, frame_cache_tools.bench.report.plot\n"
        "print([name for name in ('torch', 'torchvision', 'webdataset', 'zarr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
