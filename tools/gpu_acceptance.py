"""Everything that only a machine with a GPU can show, in one command of at most 13 minutes.

    python -m frame_cache_tools.gpu_acceptance          where the package is installed
    python3 tools/gpu_acceptance.py                     in a bare checkout

It needs no network and no build step. It describes the machine, runs the tests that are marked `gpu`, measures the GPU
rows of `cache-bench`, and writes one JSON file after each of these: what is known stays, whatever comes later. Each of
them runs in a process of its own. When its time is up, the process is interrupted, and killed if it does not end.

Exit code 0: all held; 1: a test or a target failed, or something was not finished; 2: a wrong command; 3: there is no
GPU here, and nothing was checked.

On a machine that has torch and nothing else, bring what is missing as wheels of its Python, downloaded elsewhere:

    pip download --only-binary :all: --python-version 3.12 --no-deps --dest wheels \
        av==18.1.0 msgspec numcodecs simplejpeg zarr webdataset google-crc32c donfig braceexpand torchcodec \
        pytest pytest-timeout pluggy iniconfig hypothesis sortedcontainers psutil
    python3 -m pip install --no-index --no-deps --target site wheels/*.whl         # there
    PYTHONPATH=$PWD/site python3 tools/gpu_acceptance.py

(numpy, click, tqdm, pyyaml, packaging, typing-extensions and torchvision are taken to be there. torchcodec 0.17 wants
torch 2.11 or newer; without it torchvision decodes JPEG on the GPU.)
"""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import click

TOOLS: Final = Path(__file__).resolve().parent
ROOT: Final = TOOLS.parent
LIMIT_S: Final = 780.0
EXIT_NOT_HELD, EXIT_NO_GPU = 1, 3
_SHARE_OF_TESTS: Final = 0.45
_SECONDS_FOR_MACHINE: Final = 90.0
_SECONDS_TO_END: Final = 15.0
"""How long an interrupted process may take to write down what it has."""
_TRAINED: Final = "GPU: ResNet-18, wds "
_IDLE: Final = "GPU idle between steps %"
_MOST_IDLE: Final = 5.0
_OUTCOME: Final = re.compile(r"^(\S+::.+?) (PASSED|FAILED|SKIPPED|ERROR)\b", re.MULTILINE)

_MARKED: Final = re.compile(r"^(@|pytestmark = .*)pytest\.mark\.gpu\b", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a process left."""

    exit_code: int | None
    """None: its time was up."""
    seconds: float
    stdout: str
    last_lines: list[str]
    """Of standard error, or of standard output where that is empty."""

    def summary(self) -> dict[str, Any]:
        """For the results file."""
        return {name: value for name, value in asdict(self).items() if name != "stdout"}


def run_limited(command: Sequence[str | Path], *, limit_s: float) -> Done:
    """Run a command in the checkout for at most so many seconds, all that it starts included."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=ROOT,
            start_new_session=True,
        )
        exit_code: int | None = None
        try:
            exit_code = process.wait(max(1.0, limit_s - _SECONDS_TO_END))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_END)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    lines = [line for line in (texts[1].strip() or texts[0].strip()).splitlines() if line.strip()]
    return Done(
        exit_code=exit_code,
        seconds=round(time.monotonic() - started, 1),
        stdout=texts[0],
        last_lines=lines[-12:],
    )


def describe(*, limit_s: float) -> dict[str, Any]:
    """The machine, as `gpu_machine` prints it; with `why_no_gpu`, None where there is one."""
    done = run_limited([sys.executable, "-m", "frame_cache_tools.bench.machine"], limit_s=limit_s)
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        return {"why_no_gpu": "the machine could not be described", **done.summary()}


def run_tests(files: Sequence[Path], *, limit_s: float) -> dict[str, Any]:
    """`pytest -m gpu` over some files: each test's outcome, its seconds, its reason and what it recorded."""
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder, "junit.xml")
        options = ["-m", "gpu", "-v", "-p", "no:xdist", f"--junit-xml={xml}"]
        done = run_limited([sys.executable, "-m", "pytest", *options, *files], limit_s=limit_s)
        outcomes = (
            read_junit(xml.read_text(encoding="utf-8"))
            if xml.exists()
            else [  # it was killed: what it printed is left
                {"name": name, "outcome": word.lower()} for name, word in _OUTCOME.findall(done.stdout)
            ]
        )
    counts = dict(Counter(each["outcome"] for each in outcomes))
    return {**done.summary(), "counts": counts, "outcomes": outcomes}


def read_junit(text: str) -> list[dict[str, Any]]:
    """Outcomes from pytest's JUnit file."""
    outcomes = []
    for case in ElementTree.fromstring(text).iter("testcase"):
        outcome, reason = "passed", ""
        for tag, word in (("skipped", "skipped"), ("failure", "failed"), ("error", "error")):
            found = case.find(tag)
            if found is not None:
                outcome, reason = word, found.get("message", "")
        values: dict[str, Any] = {
            "name": f"{case.get('classname')}::{case.get('name')}",
            "outcome": outcome,
            "seconds": float(case.get("time", 0)),
        }
        properties = {each.get("name"): each.get("value") for each in case.iter("property")}
        outcomes.append(values | {key: v for key, v in (("reason", reason), ("recorded", properties)) if v})
    return outcomes


def run_rows(*, is_quick: bool, limit_s: float) -> dict[str, Any]:
    """The GPU rows of `cache-bench`, as it prints them in JSON."""
    code = "from frame_cache_tools.commands import cache_bench; cache_bench()"
    budget = max(30.0, limit_s - 2 * _SECONDS_TO_END)
    options = ["--only", "gpu", "--json", "--budget", f"{budget:.0f}"]
    options += ["--quick"] if is_quick else ["--batch-size", "256", "--cache-frames", "4800"]
    done = run_limited([sys.executable, "-c", code, *options], limit_s=limit_s)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
    return {**done.summary(), "report": report}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure must be."""

    name: str
    found: float | None
    """None where it was not measured."""
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is."""
        if self.found is None:
            return False
        return (self.least is None or self.found >= self.least) and (
            self.most is None or self.found < self.most
        )


def judge(report: dict[str, Any]) -> list[Target]:
    """The targets of the rows: ratios are taken within a round, against the fastest of the others."""
    rows = {row["name"]: row for row in report["rows"]}

    def ratio(ours: str, others: str) -> float | None:
        measured = {
            name: row["images_per_second"]
            for name, row in rows.items()
            if name.startswith(others) and row["images_per_second"] is not None
        }
        if not measured or ours not in rows:
            return None
        our, their = (
            {piece["round"]: piece["images_per_second"] for piece in rows[name]["rounds"]}
            for name in (ours, max(measured, key=measured.__getitem__))
        )
        ratios = [our[number] / their[number] for number in our if number in their]
        return statistics.median(ratios) if ratios else None

    trained = {name: row["figures"].get(_IDLE) for name, row in rows.items() if name.startswith(_TRAINED)}
    raw = "wds raw, to the GPU"
    return [
        Target(name=f"{raw}, over a pinned copy", found=ratio(raw, "pinned copy"), least=0.75),
        Target(
            name=f"{raw}, over live NVDEC in order", found=ratio(raw, "GPU: live NVDEC in order"), least=5.0
        ),
        *(
            Target(name=f"{name}: {_IDLE}", found=idle, most=_MOST_IDLE)
            for name, idle in (trained or {_TRAINED: None}).items()
        ),
    ]


def gpu_test_files() -> list[Path]:
    """Files with tests that are marked `gpu`: collecting all tests takes longer than these do."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in files if _MARKED.search(path.read_text(encoding="utf-8"))]


@click.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The results file.  [default: below tools/results]",
)
@click.option(
    "--videos", type=click.Path(exists=True, file_okay=False), help="Videos to check beside the samples."
)
@click.option(
    "--limit-s", type=click.FloatRange(60), default=LIMIT_S, show_default=True, help="Most seconds."
)
@click.option("--quick", is_flag=True, help="Short slices, and no targets: to see that all of it runs.")
def command(out: Path | None, videos: str | None, limit_s: float, quick: bool) -> None:
    """Check and measure everything that needs a GPU, and write what is found."""
    started = time.monotonic()
    now = datetime.now(UTC)
    out = out or TOOLS / "results" / f"{now:%Y-%m-%d-%H%M}-gpu-acceptance.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    if videos is not None:
        os.environ["FRAME_CACHE_GPU_VIDEOS"] = str(Path(videos).absolute())
    results: dict[str, Any] = {"date": now.isoformat(timespec="seconds"), "commit": _commit(), "holds": False}

    def keep(**more: Any) -> None:  # noqa: ANN401 - JSON
        results.update(more, seconds=round(time.monotonic() - started, 1))
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    def left() -> float:
        return limit_s - (time.monotonic() - started)

    keep(machine=(machine := describe(limit_s=min(_SECONDS_FOR_MACHINE, left()))))
    if machine["why_no_gpu"] is not None:
        click.echo(f"nothing was checked: {machine['why_no_gpu']}\n{out}")
        sys.exit(EXIT_NO_GPU)
    files = gpu_test_files()
    keep(tests=(tests := run_tests(files, limit_s=min(left(), _SHARE_OF_TESTS * limit_s))))
    click.echo(f"tests: {tests['counts']} in {tests['seconds']} s, exit code {tests['exit_code']}")
    for each in tests["outcomes"]:
        if each["outcome"] != "passed":
            click.echo(f"  {each['outcome']}: {each['name']}: {each.get('reason', '')[:200]}")
    keep(rows=(rows := run_rows(is_quick=quick, limit_s=left())))
    click.echo(f"rows: {rows['seconds']} s, exit code {rows['exit_code']}")
    for row in rows["report"]["rows"] if rows["report"] else ():
        click.echo(
            f"  {row['name']}: {row['images_per_second'] or row['failure'] or row['no_time']} {row['figures'] or ''}"
        )
    targets = judge(rows["report"]) if rows["report"] and not quick else []
    for target in targets:
        click.echo(f"  {'holds' if target.holds else 'FAILS'}: {target}")
    holds = (
        tests["exit_code"] == 0
        and rows["exit_code"] == 0
        and all(row["failure"] is None for row in rows["report"]["rows"])
        and all(target.holds for target in targets)
    )
    keep(targets=[asdict(target) | {"holds": target.holds} for target in targets], holds=holds)
    click.echo(f"{'all held' if holds else 'not all held'}: {out}")
    sys.exit(0 if holds else EXIT_NOT_HELD)


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return "not known"
    return done.stdout.strip()


def main() -> None:
    """Run the command; in a bare checkout, too, where the folder of the tools has another name than the package."""
    with tempfile.TemporaryDirectory(prefix="frame-cache-tools-") as folder:
        paths = [path for path in sys.path if path]
        if not __package__:
            Path(folder, "frame_cache_tools").symlink_to(TOOLS)
            paths = [folder, str(ROOT), *(path for path in paths if Path(path) != TOOLS)]
        # The processes below look for modules where this one does.
        os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths)
        os.environ["PYTHONUNBUFFERED"] = "1"
        command.main(prog_name="gpu_acceptance")


if __name__ == "__main__":
    main()
