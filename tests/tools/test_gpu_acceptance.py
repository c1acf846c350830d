"""`gpu_acceptance` without a GPU: the runner, the table and the command line."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from frame_cache_tools import gpu_cli
from frame_cache_tools.gpu_cli import STEPS, chosen_steps, command, table_head
from frame_cache_tools.gpu_commands import CommandTimeoutError, run_command
from frame_cache_tools.gpu_findings import (
    Finding,
    Findings,
    Skip,
    StepContext,
    append_finding,
    markdown_table,
    read_findings,
)
from frame_cache_tools.gpu_runner import Places, Step, StepRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store.shared.cuda_driver import CUDA_LIBRARY
from tests.support.commands import run

ROOT = Path(__file__).parents[2]


# -- steps in processes of their own


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Runs steps whose modules are written into `tmp_path`, and remembers what it said."""

    class Runner:
        said: list[str] = []  # noqa: RUF012 - one a test
        results = tmp_path / "results.jsonl"

        def __init__(self):
            self.said = []
            paths = [str(tmp_path), *(path for path in sys.path if path)]
            self.steps = StepRunner(
                Places(results=self.results, log=tmp_path / "log.txt", work=tmp_path),
                device="cpu",
                quick=True,
                environment=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                say=self.said.append,
            )

        def run(self, name, code, *, limit_s=60.0, seconds_left=None):
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
            self.steps.run(
                Step(name=name, module=name, limit_s=limit_s, needs="nothing"), limit_s=seconds_left
            )
            return [finding for finding in read_findings(self.results) if finding.step == name]

    return Runner()


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_step_that_hangs_is_killed_with_all_below_it_and_what_it_found_stays(runner):
    started = time.monotonic()
    found = runner.run(
        "hangs",
        """
        import subprocess, sys, time
        def run(context, findings):
            below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            findings.measured("below", below.pid)
            print("still here", flush=True)
            time.sleep(600)
        """,
        limit_s=10.0,
    )
    assert time.monotonic() - started < 60
    assert [(finding.name, finding.status) for finding in found] == [
        ("below", "measured"),
        ("the whole step", "error"),
        ("took", "measured"),
    ]
    assert "over its limit of 10 s" in found[1].detail
    assert "still here" in found[1].detail
    for _ in range(200):
        if not is_running(found[0].value):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the process below is still there")
    # And the next step runs.
    after = runner.run("fine", "def run(context, findings): findings.measured('figure', 3, 'frames')")
    assert [finding.name for finding in after] == ["figure", "took"]
    assert runner.said[0].startswith("measured hangs: below")
    assert len(runner.said) == len(found) + len(after)


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "error", "exit code -11"),
        ("raise ValueError('too\\nlong')", "error", "ValueError: too"),
        ("raise gpu_findings.Skip('no such thing here')", "skipped", "no such thing here"),
        ("import no_such_module", "skipped", "no_such_module is not installed"),
        ("import loader.no_such_module", "error", "No module named 'loader.no_such_module'"),
    ],
)
def test_a_step_that_ends_early_says_how(runner, code, status, words):
    found = runner.run(
        "early",
        f"""
        from frame_cache_tools import gpu_findings
        def run(context, findings):
            findings.check("before", True, 1, target="1")
            {code}
        """,
    )
    assert [finding.status for finding in found] == ["ok", status, "measured"]
    assert words in found[1].detail


def test_a_step_is_told_where_it_is_and_until_when(runner, tmp_path):
    code = """
        def run(context, findings):
            findings.measured("it", [str(context.work), context.device, context.quick, context.seconds_left])
        """
    (found, _) = runner.run("told", code, limit_s=40.0)
    work, device, quick, seconds_left = found.value
    assert (work, device, quick) == (str(tmp_path), "cpu", True)
    assert 5 < seconds_left <= 35  # it ends by itself before it is killed
    # Of a run that has less time left than the step may take, it gets no more.
    *_, found, _ = runner.run("told", code, limit_s=4000.0, seconds_left=40.0)
    assert found.value[3] <= 35
    with pytest.raises(ValueError, match="limit_s must be above 0"):
        Step(name="a", module="a", limit_s=0, needs="nothing")


def test_what_is_raised_in_a_part_is_a_finding_and_not_the_end(tmp_path):
    findings = Findings("step", tmp_path / "results")
    with findings.part("one"):
        raise KeyError("what is missing")
    with findings.part("two"):
        raise Skip("not here")
    with findings.part("three"), findings.part("inner"):
        StepContext(work=tmp_path, deadline=time.monotonic() + 5).check_time(60)
    with findings.part("four"):
        findings.check("holds not", False, 2.5, target="3")
    found = read_findings(tmp_path / "results")
    assert [(finding.name, finding.status) for finding in found] == [
        ("one", "error"),
        ("two", "skipped"),
        ("inner", "skipped"),
        ("holds not", "failed"),
    ]
    assert found[0].detail.startswith("KeyError: 'what is missing' at tests/tools/test_gpu_acceptance.py:")
    assert found[1].detail == "not here"
    assert "this takes 60" in found[2].detail
    with pytest.raises(KeyboardInterrupt), findings.part("five"):
        raise KeyboardInterrupt


def test_a_command_that_outstays_its_time_is_killed_though_its_child_holds_its_output(tmp_path):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(20)'])"
    started = time.monotonic()
    with pytest.raises(CommandTimeoutError, match=r"not done after 1 s; it said last: nothing"):
        run_command([sys.executable, "-c", code], tmp_path / "out", timeout_s=1.0)
    assert time.monotonic() - started < 15
    done = run_command(
        [sys.executable, "-c", "import sys; print('a', flush=True); sys.exit('b')"],
        tmp_path / "out",
        timeout_s=60.0,
    )
    assert (done.exit_code, done.lines, done.last_words) == (1, ("a", "b"), "a / b")


# -- findings and the table


@settings(max_examples=40)
@given(
    value=st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.floats(allow_nan=False))),
    detail=st.text(min_size=1),
    status=st.sampled_from(["measured", "ok", "failed", "skipped", "error"]),
)
def test_a_finding_comes_back_from_its_line(value, detail, status):
    finding = Finding(step="s", name="n", status=status, value=value, detail=detail, data={"rounds": [1.5]})
    line = finding.to_line()
    assert "\n" not in line
    assert Finding.from_line(line) == finding


def test_findings_are_valid_from_birth():
    with pytest.raises(ValueError, match="must say why"):
        Finding(step="a", name="b", status="skipped")
    with pytest.raises(ValueError, match="status must be one of"):
        Finding(step="a", name="b", status="good")
    with pytest.raises(ValueError, match="not a finding"):
        Finding.from_line('{"step": "a", "colour": 3}')


def test_a_line_cut_off_by_a_kill_costs_no_other(tmp_path):
    path = tmp_path / "results"
    first, second = (Finding(step="a", name=name, status="ok") for name in ("first", "second"))
    append_finding(path, first)
    with path.open("a") as file:
        file.write('{"step": "a", "na')
    append_finding(path, second)
    assert read_findings(path) == [first, second]
    assert read_findings(tmp_path / "none") == []


def test_the_table_has_every_finding_once_under_its_step():
    found = [
        Finding(step="machine", name="GPU", status="measured", value="H|100"),
        Finding(step="copies", name="raw", status="failed", value=150529.04, unit="bytes", target="less"),
        Finding(step="copies", name="live", status="skipped", detail="two\nlines " + "x" * 300),
    ]
    table = markdown_table(found, head=table_head(found, device="cuda"))
    assert table.count("## ") == 2
    assert "- GPU: H|100" in table
    assert "| GPU | H\\|100 |  | measured |  |" in table
    assert "| raw | 150529 bytes | less | failed |  |" in table
    (row,) = [line for line in table.splitlines() if line.startswith("| live")]
    assert "two lines xxx" in row and len(row) < 220
    assert table.endswith("0 ok, 1 failed, 0 errors, 1 skipped, 1 measured\n")
    assert "rehearsal" not in table
    assert "rehearsal" in markdown_table(found, head=table_head(found, device="cpu"))


# -- the command line


@pytest.fixture
def without_gpu():
    import torch

    from frame_store.shared.cuda_driver import load_library

    if load_library(CUDA_LIBRARY) is not None or torch.cuda.is_available():
        pytest.skip("there is a driver here: what is said without one cannot be shown")


@pytest.mark.usefixtures("without_gpu")
def test_in_a_bare_checkout_without_a_gpu_every_step_says_why_it_is_skipped(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, ROOT / "tools/gpu_acceptance.py", "--out", "out"],
        cwd=tmp_path,
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # what was temporary is gone
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.jsonl", "table.md", "log.txt"}
    found = read_findings(tmp_path / "out/results.jsonl")
    skipped = {finding.step for finding in found if finding.name == "the whole step"}
    assert skipped == {step.name for step in STEPS if step.needs != "nothing"}
    for finding in found:
        if finding.name == "the whole step":
            assert finding.status == "skipped"
            assert f"no NVIDIA driver: {CUDA_LIBRARY}" in finding.detail
    machine = {finding.name: finding for finding in found if finding.step == "machine"}
    assert machine["GPU"].value == "none"
    assert machine["codecs"].status == "skipped"
    assert not any(finding.status in ("failed", "error") for finding in found)
    assert "## machine" in done.stdout


@pytest.fixture
def fake_steps(tmp_path, monkeypatch):
    """Steps of modules in `tmp_path`, on a machine that lacks what a test says."""

    def install(*codes, lacks=None):
        steps = []
        for number, code in enumerate(codes):
            (tmp_path / f"fake_{number}.py").write_text(f"def run(context, findings): {code}\n")
            steps.append(Step(name=f"fake{number}", module=f"fake_{number}", limit_s=60, needs="torch"))
        monkeypatch.setattr(gpu_cli, "STEPS", tuple(steps))
        monkeypatch.setattr(gpu_cli, "probe", lambda: lacks or {})
        paths = [str(tmp_path), *(path for path in sys.path if path)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    return install


@pytest.mark.parametrize(("holds", "expected"), [(True, 0), (False, 1)])
def test_the_exit_code_tells_whether_a_check_failed(tmp_path, fake_steps, holds, expected):
    fake_steps(f"findings.check('it', {holds}, target='yes')", "findings.measured('figure', 7.5, 's')")
    done = run("--out", tmp_path / "out", "--work", tmp_path / "work", command=command)
    assert done.exit_code == expected
    assert "| figure | 7.5 s |" in (tmp_path / "out/table.md").read_text()
    assert (tmp_path / "work").is_dir()
    # Results are not mixed with those of another run.
    again = run("--out", tmp_path / "out", command=command)
    assert again.exit_code == 2
    assert "holds the results of an earlier run" in again.stderr


def test_what_lacks_is_said_and_the_limit_of_all_is_kept(tmp_path, fake_steps):
    fake_steps("1 / 0", lacks={"torch": "no such torch"})
    assert run("--out", tmp_path / "lacks", command=command).exit_code == 0
    (found,) = read_findings(tmp_path / "lacks/results.jsonl")
    assert (found.status, found.detail) == ("skipped", "no such torch")
    fake_steps("1 / 0")
    assert run("--out", tmp_path / "late", "--limit-s", "1", command=command).exit_code == 0
    (found,) = read_findings(tmp_path / "late/results.jsonl")
    assert (found.status, found.detail) == ("skipped", "the limit of 1 s for everything is up")
    # A rehearsal lacks nothing.
    fake_steps("findings.measured('device', context.device)", lacks={"torch": "no such torch"})
    assert run("--out", tmp_path / "cpu", "--device", "cpu", command=command).exit_code == 0
    assert read_findings(tmp_path / "cpu/results.jsonl")[0].value == "cpu"
    assert "rehearsal" in (tmp_path / "cpu/table.md").read_text()


@pytest.mark.parametrize(
    ("output", "exit_code", "expected"),
    [
        ('noise\n{"driver": null, "torch": "too old"}\n', 0, {"torch": "too old"}),
        ('{"driver": null, "torch": null}\n', 0, {}),
        ("", -signal.SIGSEGV, dict.fromkeys(("driver", "torch"), "ended with exit code -11: it broke")),
    ],
)
def test_the_probes_answer(monkeypatch, output, exit_code, expected):
    monkeypatch.setattr(
        gpu_cli.subprocess,
        "run",
        lambda *_, **__: subprocess.CompletedProcess([], exit_code, output, "first\nit broke\n"),
    )
    lacks = gpu_cli.probe()
    assert set(lacks) == set(expected)
    assert all(expected[name] in lacks[name] for name in lacks)


def test_steps_have_modules_with_a_run_and_fit_the_time():
    from importlib.util import find_spec

    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert chosen_steps([]) == list(STEPS)
    for step in STEPS:
        source = Path(find_spec(step.module).origin).read_text()
        assert "\ndef run(context: StepContext, findings: Findings) -> None:" in source, step.name


def test_results_are_lines_of_json_for_others(tmp_path):
    Findings("copies", tmp_path / "results").measured("raw", 150528, "bytes", data={"rounds": (1, 2)})
    (line,) = (tmp_path / "results").read_text().splitlines()
    assert json.loads(line) == {
        "step": "copies",
        "name": "raw",
        "status": "measured",
        "value": 150528,
        "unit": "bytes",
        "target": "",
        "detail": "",
        "data": {"rounds": [1, 2]},
    }
