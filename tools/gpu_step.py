"""Runs one step of `gpu_acceptance` in this process: what `gpu_runner` starts."""

import json
import sys
from importlib import import_module
from pathlib import Path

from frame_cache_tools.gpu_findings import Findings, StepContext


def main(request_json: str) -> None:
    """Import the step's module and run it. What it raises becomes a finding, so that the exit code is a crash's."""
    request = json.loads(request_json)
    findings = Findings(request["step"], Path(request["results"]))
    context = StepContext(
        work=Path(request["work"]),
        videos=None if request["videos"] is None else Path(request["videos"]),
        device=request["device"],
        quick=request["quick"],
        deadline=request["deadline"],
    )
    with findings.part("the rest"):
        import_module(request["module"]).run(context, findings)


if __name__ == "__main__":
    main(sys.argv[1])
