"""One measurement in a process of its own: what ran before leaves no threads, no memory and no warm heap behind.

The processes are forked from a server that has imported torch and all else that is measured, so a start costs
milliseconds and no import counts into the time to the first batch. While one works, its memory is watched from
outside: RssAnon + RssShmem of it and of its descendants, each less what the process had when it started, which is
the interpreter with torch. Pages that a worker shares with its parent count in both.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

from frame_cache_tools.bench_slices import Slice, SliceRule

_PRELOADED = (
    "torch",
    "torch.utils.data",
    "av",
    "simplejpeg",
    "numcodecs.zstd",
    "zarr",
    "webdataset",
    "cache_builder.video.live_store",
    "loader.frame_loader",
    "loader.torch_dataset",
    "loader.webdataset_adapter",
    "loader.augment",  # a module that is not there is skipped
    "torchvision.transforms",
    "frame_cache_tools.bench_sources",
    "frame_cache_tools.bench_limits",
)
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_END = 10


class ImageSource(Protocol):
    """Something that makes images, from its opening on; pickles."""

    def measure(self, rule: SliceRule) -> Slice:
        """Open, warm up, measure, close."""
        ...


class SourceFailedError(Exception):
    """A measurement raised, or its process died; says what it said."""


def measure_in_process(source: ImageSource, rule: SliceRule) -> Slice:
    """Run `source.measure(rule)` in a fresh process and watch its memory.

    Raises:
        SourceFailedError: see there.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, source, rule))
    process.start()
    theirs.close()
    patience_seconds = 0.0  # none with what was interrupted
    try:
        measured = _watch(process, ours)
        patience_seconds = _SECONDS_TO_END
        return measured
    finally:
        ours.close()
        _end(process, patience_seconds=patience_seconds)


def _measure(parent: Connection, source: ImageSource, rule: SliceRule) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends this process
    try:
        parent.send("ready")
        parent.recv()  # what this process has now is known
    except (EOFError, OSError):  # nobody waits any more
        return
    answer: Slice | str
    try:
        answer = source.measure(rule)
    except Exception as error:  # noqa: BLE001 - told to the parent, who decides
        answer = (
            f"{type(error).__name__}: {error}" if not isinstance(error, ModuleNotFoundError) else str(error)
        )
    with suppress(OSError):
        parent.send(answer)


def _watch(process: ForkServerProcess, child: Connection) -> Slice:
    assert process.pid is not None  # it is started
    baseline: int | None = None
    peak: int | None = None
    while True:
        try:
            if child.poll(_SECONDS_BETWEEN_LOOKS):
                answer = child.recv()
                if answer != "ready":
                    break
                baseline = anonymous_bytes(process.pid)
                child.send("go")
        except (EOFError, OSError):
            process.join(_SECONDS_TO_END)
            raise SourceFailedError(f"its process ended with exit code {process.exitcode}") from None
        if baseline is not None:
            used = _tree_bytes(process.pid, baseline=baseline)
            peak = used if peak is None else max(peak, used)
    if isinstance(answer, str):
        raise SourceFailedError(answer)
    return Slice(
        images=answer.images,
        seconds=answer.seconds,
        seconds_to_first_batch=answer.seconds_to_first_batch,
        peak_anonymous_bytes=peak,
    )


def anonymous_bytes(pid: int) -> int | None:
    """RssAnon + RssShmem of a process, from /proc/PID/status; None where it is gone or the system has no such file."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    kilobytes = [
        int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon:", "RssShmem:"))
    ]
    return 1024 * sum(kilobytes) if kilobytes else None


def _tree_bytes(pid: int, *, baseline: int) -> int:
    sizes = (anonymous_bytes(each) for each in [pid, *_descendants(pid)])
    return sum(max(0, size - baseline) for size in sizes if size is not None)


def _descendants(pid: int) -> Iterator[int]:
    """Processes below one, as far as they can be seen."""
    with suppress(OSError):
        for task in os.scandir(f"/proc/{pid}/task"):
            with suppress(OSError):
                for child in Path(task.path, "children").read_text(encoding="ascii").split():
                    yield int(child)
                    yield from _descendants(int(child))


def _end(process: ForkServerProcess, *, patience_seconds: float) -> None:
    """Wait for a process that cleans up, then end it with its workers."""
    process.join(patience_seconds)
    if process.exitcode is None:
        assert process.pid is not None
        below = list(_descendants(process.pid))
        process.kill()
        for pid in below:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        process.join()
    process.close()
