"""`gpu_acceptance` without a GPU: its processes and their time limits, their results, targets, and exit codes."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from frame_cache_tools import gpu_acceptance
from frame_cache_tools.bench.gpu import cases as bench_cases
from frame_cache_tools.bench.gpu import model as bench_model
from frame_cache_tools.gpu_acceptance import (
    EXIT_NO_GPU,
    EXIT_NOT_HELD,
    ROOT,
    Done,
    command,
    gpu_test_files,
    judge,
    run_limited,
    run_tests,
)

from tests.support.commands import run

FAST = "import sys; print('a'); print('b', file=sys.stderr); sys.exit(4)"


def python(code):
    return ["-c", textwrap.dedent(code)]


# -- processes


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(gpu_acceptance, "_SECONDS_TO_END", 3.0)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_says_how_it_ended():
    done = run_limited(python(FAST), limit_s=60)
    assert (done.exit_code, done.stdout, done.last_lines) == (4, "a\n", ["b"])


def test_a_process_that_hangs_is_killed_with_all_below_it_and_what_it_printed_stays(impatient):
    code = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(below.pid, flush=True)
        time.sleep(600)
    """
    started = time.monotonic()
    done = run_limited(python(code), limit_s=9)
    assert done.exit_code is None
    assert time.monotonic() - started < 60
    deadline = time.monotonic() + 20
    while is_running(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(done.stdout))


def test_an_interrupted_process_may_write_down_what_it_has(impatient):
    code = """
        import time
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            print("what I have")
    """
    done = run_limited(python(code), limit_s=6)
    assert (done.exit_code, done.stdout) == (None, "what I have\n")


# -- tests


def write_tests(folder, body):
    path = folder / "test_some.py"
    path.write_text(f"import pytest, time\npytestmark = pytest.mark.gpu\n{textwrap.dedent(body)}")
    return path


def test_outcomes_of_tests_come_with_reasons_and_with_what_they_recorded(tmp_path):
    path = write_tests(
        tmp_path,
        """
        def test_good(record_property):
            record_property("mean", 0.25)
        def test_bad():
            assert 1 == 2
        def test_skipped():
            pytest.skip("one GPU")
        @pytest.fixture
        def broken():
            raise ValueError("no video")
        def test_error(broken):
            pass
        """,
    )
    found = run_tests([path], limit_s=120)
    assert found["exit_code"] == 1
    assert found["counts"] == {"passed": 1, "failed": 1, "skipped": 1, "error": 1}
    outcomes = {each["name"].rpartition("::")[2]: each for each in found["outcomes"]}
    assert outcomes["test_good"]["recorded"] == {"mean": "0.25"}
    assert "assert 1 == 2" in outcomes["test_bad"]["reason"]
    assert outcomes["test_skipped"]["reason"] == "one GPU"
    assert "no video" in outcomes["test_error"]["reason"]


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_outcomes_until_an_interruption_or_a_crash_are_kept(tmp_path, how):
    path = write_tests(
        tmp_path,
        f"""
        import os, signal
        def test_good():
            pass
        def test_ends():
            os.kill(os.getpid(), signal.{how})
            time.sleep(600)
        """,
    )
    found = run_tests([path], limit_s=120)
    assert found["exit_code"] == {"SIGINT": 2, "SIGKILL": -9}[how]
    assert found["outcomes"][0]["name"].endswith("test_good")
    assert found["outcomes"][0]["outcome"] == "passed"


def test_the_tests_on_a_gpu_are_found_wherever_they_are():
    files = gpu_test_files()
    assert {"test_correctness.py", "test_builds.py", "test_copies.py", "test_fork.py"} <= {
        path.name for path in files
    }
    assert any(path.parent.name != "gpu" for path in files)
    assert Path(__file__) not in files


@pytest.mark.usefixtures("no_real_driver")
def test_they_skip_with_a_reason_without_a_gpu():
    found = run_tests([ROOT / "tests" / "gpu" / "test_builds.py"], limit_s=300)
    assert found["exit_code"] == 0 and found["counts"] == {"skipped": 3}
    assert {each["reason"] for each in found["outcomes"]} == {
        "no NVIDIA GPU here (torch.cuda.is_available() is false)"
    }


# -- targets


def row(name, *rates, **figures):
    rounds = [{"round": number, "images_per_second": rate} for number, rate in enumerate(rates)]
    median = sorted(rates)[len(rates) // 2] if rates else None
    return {
        "name": name,
        "images_per_second": median,
        "rounds": rounds,
        "figures": {name.replace("_", " "): value for name, value in figures.items()},
        "failure": None,
        "no_time": None,
    }


IDLE = {"GPU idle between steps %": 4.0}


def report_of(*rows):
    return {"rows": list(rows)}


def good_report():
    trained = row("GPU: ResNet-18, wds raw", 1.0)
    trained["figures"] = IDLE
    return report_of(
        row("wds raw, to the GPU", 800, 8000, 1600),
        row("pinned copy to the GPU", 1000, 10000, 2000),
        row("GPU: live NVDEC in order, 1 threads", 50, 500, 100),
        row("GPU: live NVDEC in order, 7 threads", 160, 1600, 320),
        trained,
    )


def test_ratios_are_taken_within_a_round_against_the_fastest():
    copy, live, idle = judge(good_report())
    assert (copy["found"], copy["holds"]) == (0.8, True)
    assert (live["found"], live["holds"]) == (5.0, True)
    assert idle["name"] == "GPU: ResNet-18, wds raw: GPU idle between steps %"
    assert (idle["found"], idle["holds"]) == (4.0, True)


def test_what_misses_a_target_or_was_not_measured_does_not_hold():
    report = good_report()
    report["rows"][0] = row("wds raw, to the GPU", 700, 7000, 1400)
    report["rows"][4]["figures"] = {"GPU idle between steps %": 5.0}
    assert [target["holds"] for target in judge(report)] == [False, False, False]
    assert [(target["found"], target["holds"]) for target in judge(report_of())] == [(None, False)] * 3


def test_targets_name_the_rows_and_figures_of_cache_bench():
    assert f"wds raw, {bench_cases.TO_GPU}" == gpu_acceptance.RAW
    assert gpu_acceptance.PINNED == bench_cases.PINNED
    assert all(
        bench_cases.LIVE_IN_ORDER.format(number).startswith(gpu_acceptance.LIVE_IN_ORDER)
        for number in bench_cases.NUM_THREADS
    )
    assert f"{bench_cases.TRAINING}wds " == gpu_acceptance.TRAINED
    assert gpu_acceptance.IDLE == bench_model.IDLE


# -- the command


@pytest.fixture
def pretend(monkeypatch):
    """A machine with a GPU, whose steps give these results."""

    def pretend(**steps):
        answers = {
            "describe": {"why_no_gpu": None, "driver": "a GPU"},
            "run_tests": {"exit_code": 0, "seconds": 1.0, "counts": {"passed": 1}, "outcomes": []},
            "run_rows": {"exit_code": 0, "seconds": 1.0, "report": good_report()},
        } | steps
        for name, answer in answers.items():
            monkeypatch.setattr(gpu_acceptance, name, lambda *args, answer=answer, **options: answer)

    return pretend


def results_of(tmp_path, *options):
    result = run("--out", tmp_path / "results.json", *options, command=command)
    return result, json.loads((tmp_path / "results.json").read_text())


def test_a_machine_on_which_all_holds(pretend, tmp_path):
    pretend()
    result, results = results_of(tmp_path)
    assert result.exit_code == 0, result.output
    assert results["holds"] is True
    assert results["machine"]["driver"] == "a GPU"
    assert [target["holds"] for target in results["targets"]] == [True, True, True]
    assert {"date", "commit", "seconds", "tests", "rows"} <= results.keys()
    assert "all held" in result.output


FAILED = {
    "exit_code": 1,
    "seconds": 1.0,
    "counts": {"failed": 1},
    "outcomes": [{"name": "a::b", "outcome": "failed", "reason": "assert 1 == 2"}],
}


@pytest.mark.parametrize(
    "steps",
    [
        {"run_tests": FAILED},
        {"run_tests": FAILED | {"exit_code": None}},
        {"run_rows": {"exit_code": None, "seconds": 1.0, "report": None}},
        {"run_rows": {"exit_code": 0, "seconds": 1.0, "report": None}},
        {"run_rows": {"exit_code": 0, "seconds": 1.0, "report": report_of()}},
        {"run_rows": {"exit_code": 0, "seconds": 1.0, "report": report_of(row("a") | {"failure": "died"})}},
    ],
)
def test_what_fails_or_is_not_finished_is_told_and_the_rest_is_kept(pretend, tmp_path, steps):
    pretend(**steps)
    result, results = results_of(tmp_path)
    assert (result.exit_code, results["holds"]) == (EXIT_NOT_HELD, False)
    assert "rows" in results and "tests" in results
    assert ("failed: a::b: assert 1 == 2" in result.output) == ("run_tests" in steps)


def test_a_quick_run_judges_no_targets(pretend, tmp_path):
    pretend(run_rows={"exit_code": 0, "seconds": 1.0, "report": report_of()})
    result, results = results_of(tmp_path, "--quick")
    assert (result.exit_code, results["targets"]) == (0, [])


def test_results_are_kept_when_a_later_step_breaks(pretend, tmp_path, monkeypatch):
    pretend()
    monkeypatch.setattr(gpu_acceptance, "run_rows", lambda **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.main(["--out", str(tmp_path / "results.json")], standalone_mode=False)
    assert json.loads((tmp_path / "results.json").read_text())["tests"]["exit_code"] == 0


def test_rows_are_those_of_cache_bench_within_the_limit(monkeypatch):
    asked = []

    def run_limited(arguments, *, limit_s):
        asked.append((arguments, limit_s))
        return Done(exit_code=0, seconds=1.0, stdout="not JSON", last_lines=["noise"])

    monkeypatch.setattr(gpu_acceptance, "run_limited", run_limited)
    assert gpu_acceptance.run_rows(is_quick=False, limit_s=400)["report"] is None
    ((arguments, limit_s),) = asked
    assert limit_s == 400
    assert arguments[arguments.index("--only") + 1] == "gpu"
    assert float(arguments[arguments.index("--budget") + 1]) < 400


@pytest.mark.usefixtures("no_real_driver")
@pytest.mark.parametrize("is_bare", [False, True])
def test_a_machine_without_a_gpu(tmp_path, is_bare):
    """Installed, and in a bare checkout, where the folder of the tools has another name than the package."""
    start = ["-m", "frame_cache_tools.gpu_acceptance"]
    if is_bare:
        for name in ("frame_store", "cache_builder", "loader", "tools", "configs"):
            shutil.copytree(
                ROOT / name, tmp_path / "bare" / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        start = [str(tmp_path / "bare" / "tools" / "gpu_acceptance.py")]
    done = subprocess.run(
        [sys.executable, *start, "--out", str(tmp_path / "results.json")],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == EXIT_NO_GPU, done.stderr
    assert "nothing was checked: no NVIDIA driver" in done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["holds"] is False and "tests" not in results
    assert results["machine"]["machine"]["cpus_usable"] >= 1
    assert results["machine"]["nvidia-smi"].startswith("not known")


def test_a_machine_is_described_on_its_driver(stub_driver):
    done = stub_driver.run("-m", "frame_cache_tools.bench.machine", unsupported=("vp9",))
    described = json.loads(done.stdout.splitlines()[-1])
    assert described["codecs"]["h264 8 bits 420"] == "yes, 7 engines, 16x16 to 8192x8192"
    assert described["codecs"]["vp9 8 bits 420"] == "no"
    assert str(stub_driver.folder) in described["libraries"]["libcuda.so.1"]
    assert "driver for CUDA" in described["driver"]
    assert "finds no GPU that it can use" in described["why_no_gpu"]  # torch knows that this is a stub
