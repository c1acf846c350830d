"""Check and measure everything that needs a GPU, in one command of at most 13 minutes.

    python -m frame_cache_tools.gpu_acceptance          where the package is installed
    python3 tools/gpu_acceptance.py                     in a bare checkout

The command needs no network and no build step. It describes the machine, runs the tests that are marked `gpu`, and
measures the GPU rows of `cache-bench`. After each of these steps it writes one JSON file, so a later failure loses
nothing. Each step runs in a process of its own, which is interrupted when its time is up, and then killed.

Exit code 0: everything held; 1: a test or a target failed, or a step was not finished; 2: a wrong command; 3: there is
no GPU, and nothing was checked.

A machine that has torch and nothing else needs the other packages as wheels for its Python, downloaded elsewhere:

    pip download --only-binary :all: --python-version 3.12 --no-deps --dest wheels \
        av==18.1.0 msgspec numcodecs zstandard simplejpeg zarr webdataset crc32c donfig braceexpand torchcodec \
        pytest pytest-timeout pluggy iniconfig hypothesis sortedcontainers psutil
    python3 -m pip install --no-index --no-deps --target site wheels/*.whl         # on that machine
    PYTHONPATH=$PWD/site python3 tools/gpu_acceptance.py

The list assumes that numpy, click, tqdm, pyyaml, packaging, typing-extensions and torchvision are installed.
torchcodec 0.17 needs torch 2.11 or newer; without torchcodec, torchvision decodes JPEG on the GPU.
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
from dataclasses import dataclass
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
"""Time for an interrupted process to write its results."""

# Names in the report of cache-bench. A test compares them with those of frame_cache_tools.bench.gpu, which this
# process does not import: where that fails, the failure belongs into the results.
RAW, PINNED, LIVE_IN_ORDER = "wds raw, to the GPU", "pinned copy to the GPU", "GPU: live NVDEC in order, "
TRAINED, IDLE = "GPU: ResNet-18, wds ", "GPU idle between steps %"

_OUTCOME: Final = re.compile(r"^(\S+::.+?) (PASSED|FAILED|SKIPPED|ERROR)\b", re.MULTILINE)
_MARKED: Final = re.compile(r"^(@|pytestmark = .*)pytest\.mark\.gpu\b", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a process ended."""

    exit_code: int | None
    """None: its time was up."""
    seconds: float
    stdout: str
    last_lines: list[str]
    """Of standard error, or of standard output where standard error is empty."""

    def summary(self) -> dict[str, Any]:
        """For the results file."""
        return {"exit_code": self.exit_code, "seconds": self.seconds, "last_lines": self.last_lines}


def _take_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_limited(command: Sequence[str | Path], *, limit_s: float) -> Done:
    """Run Python with these arguments in the checkout. Kill it after `limit_s`, with all processes that it started."""
    started = time.monotonic()
    # Files, not pipes: a process that outlives its parent would keep a pipe open.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=ROOT,
            start_new_session=True,
            # A shell ignores SIGINT for what it starts in the background, and a child would inherit that.
            preexec_fn=_take_sigint,  # noqa: PLW1509 - this process has one thread
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
    seconds = round(time.monotonic() - started, 1)
    return Done(exit_code=exit_code, seconds=seconds, stdout=texts[0], last_lines=lines[-12:])


def describe(*, limit_s: float) -> dict[str, Any]:
    """The machine; `why_no_gpu` is None where it has a GPU."""
    done = run_limited(["-m", "frame_cache_tools.bench.machine"], limit_s=limit_s)
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        return {"why_no_gpu": "the machine could not be described", **done.summary()}


def gpu_test_files() -> list[Path]:
    """Files with tests that are marked `gpu`. Collecting all tests would take longer than running these."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in files if _MARKED.search(path.read_text(encoding="utf-8"))]


def run_tests(files: Sequence[Path], *, limit_s: float) -> dict[str, Any]:
    """`pytest -m gpu` over some files: outcome, seconds, reason and recorded properties of each test."""
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder, "junit.xml")
        options = ["-m", "gpu", "-v", "-p", "no:xdist", f"--junit-xml={xml}"]
        done = run_limited(["-m", "pytest", *options, *files], limit_s=limit_s)
        if xml.exists():
            outcomes = [_outcome(case) for case in ElementTree.parse(xml).iter("testcase")]
        else:  # pytest was killed: its output is left
            found = _OUTCOME.findall(done.stdout)
            outcomes = [{"name": name, "outcome": word.lower()} for name, word in found]
    counts = dict(Counter(each["outcome"] for each in outcomes))
    return {**done.summary(), "counts": counts, "outcomes": outcomes}


def _outcome(case: ElementTree.Element) -> dict[str, Any]:
    """One test of pytest's JUnit file."""
    values: dict[str, Any] = {
        "name": f"{case.get('classname')}::{case.get('name')}",
        "outcome": "passed",
        "seconds": float(case.get("time", 0)),
    }
    for tag, word in (("skipped", "skipped"), ("failure", "failed"), ("error", "error")):
        found = case.find(tag)
        if found is not None:
            values |= {"outcome": word, "reason": found.get("message", "")}
    recorded = {each.get("name"): each.get("value") for each in case.iter("property")}
    return values | ({"recorded": recorded} if recorded else {})


def run_rows(*, is_quick: bool, limit_s: float) -> dict[str, Any]:
    """The GPU rows of `cache-bench`, as its JSON."""
    code = "from frame_cache_tools.commands import cache_bench; cache_bench()"
    budget = max(30.0, limit_s - 2 * _SECONDS_TO_END)
    options = ["--only", "gpu", "--json", "--budget", f"{budget:.0f}"]
    options += ["--quick"] if is_quick else ["--batch-size", "256", "--cache-frames", "4800"]
    done = run_limited(["-c", code, *options], limit_s=limit_s)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
    return {**done.summary(), "report": report}


def judge(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One dict for each target: its name, its bound, the measured figure (None if not measured), and if it holds."""
    rows = {row["name"]: row for row in report["rows"]}

    def ratio(ours: str, others: str) -> float | None:
        """Median over the rounds of the ratio to the fastest row whose name begins with `others`."""
        rates = {
            name: row["images_per_second"]
            for name, row in rows.items()
            if name.startswith(others) and row["images_per_second"] is not None
        }
        if not rates or ours not in rows:
            return None
        our, their = (
            {piece["round"]: piece["images_per_second"] for piece in rows[name]["rounds"]}
            for name in (ours, max(rates, key=rates.__getitem__))
        )
        ratios = [our[number] / their[number] for number in our if number in their]
        return statistics.median(ratios) if ratios else None

    targets: list[dict[str, Any]] = [
        {"name": f"{RAW}, over a {PINNED}", "found": ratio(RAW, PINNED), "least": 0.75},
        {"name": f"{RAW}, over live NVDEC in order", "found": ratio(RAW, LIVE_IN_ORDER), "least": 5.0},
    ]
    trained = {name: row["figures"].get(IDLE) for name, row in rows.items() if name.startswith(TRAINED)}
    for name, idle in (trained or {TRAINED: None}).items():
        targets.append({"name": f"{name}: {IDLE}", "found": idle, "below": 5.0})
    for target in targets:
        found = target["found"]
        target["holds"] = found is not None and target.get("least", 0.0) <= found < target.get(
            "below", float("inf")
        )
    return targets


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
    """Check and measure everything that needs a GPU, and write the results."""
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
    keep(tests=(tests := run_tests(gpu_test_files(), limit_s=min(left(), _SHARE_OF_TESTS * limit_s))))
    click.echo(f"tests: {tests['counts']} in {tests['seconds']} s, exit code {tests['exit_code']}")
    for each in tests["outcomes"]:
        if each["outcome"] != "passed":
            click.echo(f"  {each['outcome']}: {each['name']}: {each.get('reason', '')[:200]}")
    keep(rows=(run := run_rows(is_quick=quick, limit_s=left())))
    click.echo(f"rows: {run['seconds']} s, exit code {run['exit_code']}")
    rows = run["report"]["rows"] if run["report"] else []
    for row in rows:
        figure = row["images_per_second"] or row["failure"] or row["no_time"]
        click.echo(f"  {row['name']}: {figure} {row['figures'] or ''}")
    targets = judge(run["report"]) if run["report"] and not quick else []
    for target in targets:
        click.echo(f"  {'holds' if target['holds'] else 'FAILS'}: {target}")
    holds = (
        tests["exit_code"] == 0
        and run["exit_code"] == 0
        and run["report"] is not None
        and all(row["failure"] is None for row in rows)
        and all(target["holds"] for target in targets)
    )
    keep(targets=targets, holds=holds)
    click.echo(f"{'all held' if holds else 'not all held'}: {out}")
    sys.exit(0 if holds else EXIT_NOT_HELD)


def _commit() -> str:
    try:
        return subprocess.check_output(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "not known"


def main() -> None:
    """Run the command. In a bare checkout, give the folder of the tools the name of the package."""
    with tempfile.TemporaryDirectory(prefix="frame-cache-tools-") as folder:
        paths = [path for path in sys.path if path]
        if not __package__:
            Path(folder, "frame_cache_tools").symlink_to(TOOLS)
            paths = [folder, str(ROOT), *(path for path in paths if Path(path) != TOOLS)]
        # The processes of the steps look for modules where this one does.
        os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in paths)
        os.environ["PYTHONUNBUFFERED"] = "1"
        command.main(prog_name="gpu_acceptance")


if __name__ == "__main__":
    main()
