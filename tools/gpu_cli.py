"""The command line of `gpu_acceptance`, which says what it is for."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from frame_cache_tools.gpu_findings import BAD, Finding, counts_text, markdown_table, read_findings
from frame_cache_tools.gpu_runner import Places, Step, StepRunner

from cache_builder.cli import PathName

STEPS: Final = (
    Step(name="samples", module="frame_cache_tools.gpu_samples", limit_s=120, needs="driver"),
    Step(name="machine", module="frame_cache_tools.gpu_machine", limit_s=30, needs="nothing"),
    Step(name="correctness", module="frame_cache_tools.gpu_correctness", limit_s=90, needs="torch"),
    Step(name="fork", module="frame_cache_tools.gpu_fork", limit_s=90, needs="driver"),
    Step(name="copies", module="frame_cache_tools.gpu_copies", limit_s=60, needs="torch"),
    Step(name="throughput", module="frame_cache_tools.gpu_throughput", limit_s=150, needs="driver"),
    Step(name="model", module="frame_cache_tools.gpu_model", limit_s=90, needs="torch"),
    Step(name="tests", module="frame_cache_tools.gpu_tests", limit_s=120, needs="driver"),
)
"""In the order in which they run: what matters most first."""

DEFAULT_LIMIT_S: Final = 540.0
_LEAST_SECONDS: Final = 5.0
"""With less left of the whole, a step is not begun."""
_SECONDS_TO_PROBE: Final = 60
RESULTS, TABLE, LOG = "results.jsonl", "table.md", "log.txt"
_HEAD: Final = ("GPU", "driver", "torch.cuda", "CPU", "versions")
"""Findings of the step `machine` that stand over the table."""


@click.command()
@click.option(
    "--videos",
    type=PathName(exists=True, file_okay=False, path_type=Path),
    help="Folder of videos to check beside the samples.",
)
@click.option(
    "--out",
    type=PathName(file_okay=False, path_type=Path),
    default=Path("gpu-acceptance"),
    show_default=True,
    help="Where results, table and log go.",
)
@click.option(
    "--work",
    type=PathName(file_okay=False, path_type=Path),
    help="Scratch folder of samples and caches, kept and used again.  [default: a temporary one]",
)
@click.option("--quick", is_flag=True, help="Small samples and short slices: to see that all of it runs.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([step.name for step in STEPS]),
    help="These steps (and `samples`); may be repeated.",
)
@click.option(
    "--limit-s",
    type=click.FloatRange(1),
    default=DEFAULT_LIMIT_S,
    show_default=True,
    help="Most seconds for everything.",
)
@click.option(
    "--device",
    type=click.Choice(["cuda", "cpu"]),
    default="cuda",
    show_default=True,
    help="cpu rehearses on the CPU what can be rehearsed; its figures mean nothing.",
)
def command(  # noqa: PLR0917 - called by click, by name
    videos: Path | None,
    out: Path,
    work: Path | None,
    quick: bool,
    only: Sequence[str],
    limit_s: float,
    device: str,
) -> None:
    """Check everything that needs a GPU, and write what is found."""
    if (out / RESULTS).exists():
        raise click.UsageError(f"{out} holds the results of an earlier run: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with _scratch(work) as scratch:
        runner = StepRunner(
            Places(
                results=out / RESULTS,
                log=out / LOG,
                work=scratch,
                videos=None if videos is None else videos.absolute(),
            ),
            device=device,
            quick=quick,
            environment=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
            say=click.echo,
        )
        lacks = {} if device == "cpu" else probe()
        for step in chosen_steps(only):
            seconds_left = limit_s - (time.monotonic() - started)
            reason = lacks.get(step.needs)
            if reason is not None:
                runner.tell(step, "the whole step", "skipped", detail=reason)
            elif seconds_left < _LEAST_SECONDS:
                runner.tell(
                    step,
                    "the whole step",
                    "skipped",
                    detail=f"the limit of {limit_s:.0f} s for everything is up",
                )
            else:
                runner.run(step, limit_s=seconds_left)
    found = read_findings(out / RESULTS)
    table = markdown_table(found, head=table_head(found, device=device))
    (out / TABLE).write_text(table, encoding="utf-8")
    click.echo(f"\n{table}\n{counts_text(found)} in {time.monotonic() - started:.0f} s: {out / TABLE}")
    if any(finding.status in BAD for finding in found):
        sys.exit(1)


def chosen_steps(only: Sequence[str]) -> list[Step]:
    """All, or those named; with the samples where one of them reads some.

    >>> [step.name for step in chosen_steps(["copies"])]
    ['samples', 'copies']
    >>> [step.name for step in chosen_steps(["machine"])]
    ['machine']
    """
    without_samples = {"machine", "tests"}
    wanted = set(only) or {step.name for step in STEPS}
    if wanted - without_samples:
        wanted.add("samples")
    return [step for step in STEPS if step.name in wanted]


def probe() -> Mapping[str, str]:
    """What this machine lacks, by what a step needs, and why; see `frame_cache_tools.gpu_probe`."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "frame_cache_tools.gpu_probe"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_PROBE,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        reason = f"asking for the GPU took more than {_SECONDS_TO_PROBE} s"
        return {"driver": reason, "torch": reason}
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        reason = f"asking for the GPU ended with exit code {done.returncode}: {last[0]}"
        return {"driver": reason, "torch": reason}
    return {name: reason for name, reason in answer.items() if reason is not None}


def table_head(found: Sequence[Finding], *, device: str) -> list[str]:
    """Title, date and machine."""
    lines = [f"# GPU acceptance, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", ""]
    if device == "cpu":
        lines += ["**A rehearsal on the CPU: no figure of it means anything.**", ""]
    facts = {finding.name: finding.value for finding in found if finding.step == "machine"}
    return lines + [f"- {name}: {facts[name]}" for name in _HEAD if facts.get(name) is not None]


@contextmanager
def _scratch(work: Path | None) -> Iterator[Path]:
    if work is None:
        with tempfile.TemporaryDirectory(prefix="gpu-acceptance-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    else:
        work.mkdir(parents=True, exist_ok=True)
        yield work.absolute()
