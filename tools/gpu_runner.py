"""Runs the steps of `gpu_acceptance`, each in a process of its own, which is killed when its time is up.

A step writes its findings itself; what it cannot write any more (it crashed, it hung) is written here.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from frame_cache_tools.gpu_findings import Finding, Status, append_finding, read_findings

SECONDS_TO_FINISH: Final = 5.0
"""What is not begun so long before a step's limit, it leaves out."""
_SECONDS_BETWEEN_LOOKS: Final = 0.05
_LINES_OF_LOG: Final = 4

Need = Literal["nothing", "driver", "torch"]
"""What a step cannot do without: nothing; a driver with a GPU; a torch that uses it, too."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: what `run(context, findings)` of a module does."""

    name: str
    module: str
    limit_s: float
    needs: Need

    def __post_init__(self) -> None:
        """Check the limit.

        Raises:
            ValueError: it is not above 0.
        """
        if self.limit_s <= 0:
            raise ValueError(f"{self.name}: limit_s must be above 0, found {self.limit_s}")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a run of all steps reads and writes."""

    results: Path
    """Findings, a line of JSON each."""
    log: Path
    """What the steps print."""
    work: Path
    """Samples and caches; see `frame_cache_tools.gpu_samples`."""
    videos: Path | None = None
    """Videos of the user, to be checked beside the samples."""


class StepRunner:
    """Runs steps one after the other and says each finding once."""

    def __init__(
        self,
        places: Places,
        *,
        device: str,
        quick: bool,
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._places = places
        self._device = device
        self._quick = quick
        self._environment = dict(environment)
        self._say = say
        self._num_said = 0

    def run(self, step: Step, *, limit_s: float | None = None) -> None:
        """Run a step to its end, or to its limit (or the shorter one given).

        A process that outstays it is killed with its process group, and so is what a step leaves behind.
        """
        limit_s = min(step.limit_s, limit_s or step.limit_s)
        started = time.monotonic()
        request = {
            "step": step.name,
            "module": step.module,
            "results": str(self._places.results),
            "work": str(self._places.work),
            "videos": None if self._places.videos is None else str(self._places.videos),
            "device": self._device,
            "quick": self._quick,
            "deadline": started + max(0.5 * limit_s, limit_s - SECONDS_TO_FINISH),
        }
        with self._places.log.open("ab") as log:
            log.write(f"\n== {step.name}\n".encode())
            log.flush()
            start_of_log = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "frame_cache_tools.gpu_step", json.dumps(request)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        try:
            is_over = self._wait(process, deadline=started + limit_s)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._say_new()
        if is_over or process.returncode:
            what = f"over its limit of {limit_s:.0f} s" if is_over else f"exit code {process.returncode}"
            said = _last_lines(self._places.log, start_of_log)
            self.tell(step, "the whole step", "error", detail=f"{what}; it said last: {said}")
        self.tell(step, "took", "measured", round(time.monotonic() - started, 1), unit="s")

    def tell(self, step: Step, name: str, status: Status, value: object = None, **more: str) -> None:
        """Write a finding about a step."""
        append_finding(
            self._places.results, Finding(step=step.name, name=name, status=status, value=value, **more)
        )
        self._say_new()

    def _wait(self, process: subprocess.Popen[bytes], *, deadline: float) -> bool:
        """Whether the process is still there at the deadline."""
        while process.poll() is None:
            if time.monotonic() >= deadline:
                return True
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            self._say_new()
        return False

    def _say_new(self) -> None:
        found = read_findings(self._places.results)
        for finding in found[self._num_said :]:
            self._say(finding.text())
        self._num_said = len(found)


def _last_lines(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").split("\n")
    kept = [line.strip() for line in lines if line.strip()][-_LINES_OF_LOG:]
    return " / ".join(kept) or "nothing"
