"""Step `fork` of `gpu_acceptance`: the error of worker processes forked under CUDA, on the machine's own driver.

Each row runs in a process of its own, all at once, with torch's DataLoader where there are workers:

1. forked workers of a parent that ran `torch.zeros(1).cuda()`, PyAV as it comes: `cu->cuInit(0) failed`
2. the same over a store that decodes on CUDA: `CudaForkError`, which says cause and cure
3. the same as 1 with `worker_init_fn=torch.cuda.init`: fails, too
4. forked workers of a parent that did nothing but ask for `pin_memory=True`, PyAV as it comes
5. spawned workers: frames
6. threads of the parent: frames
"""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from frame_cache_tools.gpu_commands import CommandTimeoutError, Done, run_command
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext
from frame_cache_tools.gpu_samples import Samples

EXERCISE_ERROR: Final = "av.error.ExternalError"
EXERCISE_WORDS: Final = ("cu->cuInit(0) failed", "CUDA_ERROR_NOT_INITIALIZED")
CURE_WORDS: Final = ("fork", "threads", "spawn")
_SECONDS_A_ROW: Final = 75


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to do it, and what must come of it."""

    name: str
    function: str
    """Of `gpu_fork_rows`: takes a folder of one video, returns an answer that JSON takes."""
    target: str
    holds: Callable[[dict[str, Any]], bool]
    needs_torch: bool = False
    """Whether torch itself must be able to use the GPU."""


def is_exercise_error(answer: dict[str, Any]) -> bool:
    """The error that the exercise shows, with its log."""
    said = f"{answer.get('text', '')} {answer.get('log', '')}"
    return answer.get("error") == EXERCISE_ERROR and all(word in said for word in EXERCISE_WORDS)


def is_fork_error(answer: dict[str, Any]) -> bool:
    """Ours, with cause and cure."""
    return str(answer.get("error")).endswith("CudaForkError") and all(
        word in str(answer.get("text")) for word in CURE_WORDS
    )


def is_any_error(answer: dict[str, Any]) -> bool:
    """Any failure."""
    return bool(answer.get("error"))


def are_frames(answer: dict[str, Any]) -> bool:
    """Frames came, those that the parent decodes."""
    return not answer.get("error") and answer.get("result") == "cuda"


ROWS: Final = (
    Row(
        name="1 forked worker, PyAV as it comes",
        function="forked_raw",
        target="the exercise's error",
        holds=is_exercise_error,
    ),
    Row(
        name="2 forked worker, a store on CUDA",
        function="forked_store",
        target="CudaForkError with the cure",
        holds=is_fork_error,
    ),
    Row(
        name="3 forked worker, worker_init_fn=torch.cuda.init",
        function="forked_with_init",
        target="still an error",
        holds=is_any_error,
        needs_torch=True,
    ),
    Row(
        name="4 forked worker, parent only asked for pin_memory=True",
        function="forked_under_pinning",
        target="the exercise's error",
        holds=is_exercise_error,
        needs_torch=True,
    ),
    Row(name="5 spawned worker, PyAV as it comes", function="spawned_raw", target="cuda", holds=are_frames),
    Row(
        name="5 spawned worker, a store on CUDA",
        function="spawned_store",
        target="cuda",
        holds=are_frames,
        needs_torch=True,
    ),
    Row(name="6 threads, PyAV as it comes", function="threads_raw", target="cuda", holds=are_frames),
    Row(
        name="6 threads, a store on CUDA",
        function="threads_store",
        target="cuda",
        holds=are_frames,
        needs_torch=True,
    ),
)


def run(context: StepContext, findings: Findings) -> None:
    """Run all rows at once."""
    if context.device == "cpu":
        raise Skip("a rehearsal on the CPU: the rows need a driver")
    from frame_cache_tools.gpu_probe import why_no_torch

    folder = context.work / "fork"
    folder.mkdir(exist_ok=True)
    video = Samples(work=context.work).fast_paths()[0]
    if not (folder / video.name).is_symlink():
        (folder / video.name).symlink_to(video.resolve())
    no_torch = why_no_torch()
    rows = [row for row in ROWS if no_torch is None or not row.needs_torch]
    limit_s = max(5.0, min(_SECONDS_A_ROW, context.seconds_left))
    with ThreadPoolExecutor(max(1, min(len(rows), (os.cpu_count() or 1) // 2))) as threads:
        answers = threads.map(lambda row: answer_of(row.function, folder, limit_s=limit_s), rows)
        for row, answer in zip(rows, answers, strict=True):
            findings.check(
                row.name,
                row.holds(answer),
                answer.get("error") or answer.get("result"),
                target=row.target,
                detail=last_words(answer),
                data=answer,
            )
    for row in ROWS:
        if row not in rows:
            findings.skipped(row.name, str(no_torch))


def last_words(answer: dict[str, Any]) -> str:
    r"""What an error says, without the trace that DataLoader puts before it; then FFmpeg's log.

    >>> last_words({"text": "Caught it in worker.\n  trace\nValueError: no", "log": "a\n"})
    'ValueError: no a'
    """
    last = str(answer.get("text", "")).strip().splitlines()[-1:]
    return " ".join([*last, *str(answer.get("log", "")).split()])


def answer_of(function: str, folder: Path, *, limit_s: float) -> dict[str, Any]:
    """What a function of `gpu_fork_rows` answers in a process of its own."""
    try:
        done = run_command(
            [sys.executable, "-m", "frame_cache_tools.gpu_fork_rows", function, folder],
            folder / f"{function}.log",
            timeout_s=limit_s,
        )
    except CommandTimeoutError as error:
        return {"error": "no answer", "text": str(error)}
    return answer_in(done)


def answer_in(done: Done) -> dict[str, Any]:
    """The answer among what a row printed.

    >>> answer_in(Done(exit_code=0, lines=("noise", '{"result": "cuda"}', "a warning at exit")))
    {'result': 'cuda'}
    >>> answer_in(Done(exit_code=-11, lines=("Segmentation fault",)))["text"]
    'exit code -11: Segmentation fault'
    """
    for line in reversed(done.lines):
        if line.startswith("{"):
            with suppress(ValueError):
                return dict(json.loads(line))
    return {"error": "crashed", "text": f"exit code {done.exit_code}: {done.last_words}"}
