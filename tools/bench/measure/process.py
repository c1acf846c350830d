"""Run a measurement in a process of its own, without threads, memory or a warm heap of an earlier one.

The processes are forked from a server that has imported torch and everything that is measured. A start therefore costs
milliseconds, and no import counts into the time to the first batch. The memory of a measured process is read from
outside: RssAnon + RssShmem of the process and of its descendants, each less the memory of the process at its start,
which is the interpreter with torch. Pages that a worker shares with its parent count in both.

A process leads a process group of its own. When its time is up, the group is killed. The last result that the
measurement passed to `keep` is then its result.
"""

import math
import multiprocessing.forkserver
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Protocol, TypeVar

from frame_cache_tools.bench.measure.slices import ImageSource, KeepResult, Slice, SliceRule

_PRELOADED = (
    "torch",
    "torch.utils.data",
    "av",
    "simplejpeg",
    "zstandard",
    "zarr",
    "webdataset",
    "cache_builder.live.open",
    "cache_builder.live.store",
    "loader.frame_loader",
    "loader.torch_loader.dataset",
    "loader.webdataset",
    "loader.augment.augmentation",
    "torchvision.transforms",
    "frame_cache_tools.bench.cases.sources",
    "frame_cache_tools.bench.cases.datasets",
    "frame_cache_tools.bench.cases.limits",
    "frame_cache_tools.bench.gpu.model",
)
"""The server skips a module that it cannot import, without a word; a test checks that each of these exists."""
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_END = 10.0

Result = TypeVar("Result")


class SourceFailedError(Exception):
    """A measurement raised an exception, whose message this is, or its process died."""


class TimeUpError(Exception):
    """A process used up its seconds and was killed before it gave a result."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"cut off after {seconds:.0f} s")

    def __reduce__(self) -> tuple[type["TimeUpError"], tuple[float]]:
        return (TimeUpError, (self.seconds,))


class Call(Protocol):
    """Runs a function in a process of its own, as `call_in_process` does."""

    def __call__(self, function: Callable[[], Result], *, seconds: float) -> Result:
        """Give its result. Raise `TimeUpError` where it takes longer than `seconds`."""
        ...


def start_server() -> None:
    """Let the server begin its imports in the background; otherwise it begins with the first process."""
    get_context("forkserver").set_forkserver_preload(list(_PRELOADED))
    multiprocessing.forkserver.ensure_running()


def call_in_process(
    function: Callable[[], Result], *, seconds: float = math.inf, temp_folder: Path | None = None
) -> Result:
    """Run `function`, which pickles, in a fresh process.

    Raises:
        TimeUpError: it took longer than `seconds`.
        SourceFailedError: its process died, or it raised an exception that does not pickle.
        Exception: `function` raised it.
    """
    with _Child(partial(_call, function), seconds=seconds, temp_folder=temp_folder) as child:
        result: Result = child.answer(watch_memory=False)
        return result


def measure_in_process(
    source: ImageSource, rule: SliceRule, *, seconds: float = math.inf, temp_folder: Path | None = None
) -> Slice:
    """Run `source.measure(rule, keep)` in a fresh process and watch its memory.

    After `seconds` the last result that it passed to `keep` is the answer.

    Raises:
        SourceFailedError: the measurement raised an exception, or its process died.
        TimeUpError: it had passed on no result.
    """
    with _Child(partial(source.measure, rule), seconds=seconds, temp_folder=temp_folder) as child:
        try:
            measured: Slice = child.answer(watch_memory=True)
        except TimeUpError:
            if child.partial is None:
                raise
            measured = child.partial
        except SourceFailedError:
            raise
        except ModuleNotFoundError as error:
            raise SourceFailedError(str(error)) from error
        except Exception as error:
            raise SourceFailedError(f"{type(error).__name__}: {error}") from error
        return replace(measured, peak_anonymous_bytes=child.peak_bytes)


def _call(function: Callable[[], Result], _: KeepResult) -> Result:
    return function()


class _Child:
    """A process that runs one function. It ends, with all processes that it started, when the block is left."""

    def __init__(
        self, work: Callable[[KeepResult], object], *, seconds: float, temp_folder: Path | None
    ) -> None:
        self.partial: Slice | None = None
        """The last result that a measurement passed to `keep`."""
        self.peak_bytes: int | None = None
        self._baseline: int | None = None
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._patience_seconds = 0.0  # a process that is interrupted or cut off is killed at once
        context = get_context("forkserver")
        context.set_forkserver_preload(list(_PRELOADED))
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_run_child, args=(theirs, work, None if temp_folder is None else str(temp_folder))
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        _end(self._process, patience_seconds=self._patience_seconds)

    def answer(self, *, watch_memory: bool) -> Any:  # noqa: ANN401 - the result of any function
        """Wait for the result of its function, or raise the exception of the function."""
        while True:
            try:
                if self._connection.poll(min(_SECONDS_BETWEEN_LOOKS, max(0.0, self._left()))):
                    word, value = self._connection.recv()
                    if word in {"done", "raised"}:
                        break
                    self._heed(word, value)
            except (EOFError, OSError):
                self._process.join(_SECONDS_TO_END)
                raise SourceFailedError(
                    f"its process ended with exit code {self._process.exitcode}"
                ) from None
            if watch_memory and self._baseline is not None:
                self._look_at_memory(self._baseline)
            if self._left() <= 0:
                raise TimeUpError(self._seconds)
        self._patience_seconds = min(_SECONDS_TO_END, max(0.0, self._left()))
        if word == "raised":
            raise value
        return value

    def _heed(self, word: str, value: Slice | None) -> None:
        if word == "ready":
            assert self._process.pid is not None  # it is started
            self._baseline = anonymous_bytes(self._process.pid)
            self._connection.send("go")
        else:
            self.partial = value

    def _left(self) -> float:
        return self._ends_at - time.monotonic()

    def _look_at_memory(self, baseline: int) -> None:
        assert self._process.pid is not None  # it is started
        used = _tree_bytes(self._process.pid, baseline=baseline)
        self.peak_bytes = used if self.peak_bytes is None else max(self.peak_bytes, used)


def _run_child(parent: Connection, work: Callable[[KeepResult], object], temp_folder: str | None) -> None:
    os.setpgid(0, 0)  # so that the parent can kill all of it; Ctrl-C reaches the parent alone
    if temp_folder is not None:  # the folder is removed with the files of killed processes
        tempfile.tempdir = os.environ["TMPDIR"] = temp_folder
    try:
        parent.send(("ready", None))
        parent.recv()  # the parent has read the memory of this process
    except (EOFError, OSError):  # the parent has gone
        return
    sending = threading.Lock()

    def keep(piece: Slice) -> None:
        with sending, suppress(OSError):
            parent.send(("partial", piece))

    answer: tuple[str, object]
    try:
        answer = ("done", work(keep))
    except Exception as error:  # noqa: BLE001 - raised by the parent
        answer = ("raised", _picklable(error))
    with sending, suppress(OSError):
        parent.send(answer)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - anything may be wrong with a foreign exception
        return SourceFailedError(f"{type(error).__name__}: {error}")
    return error


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
    """The visible descendants of a process."""
    with suppress(OSError):
        for task in os.scandir(f"/proc/{pid}/task"):
            with suppress(OSError):
                for child in Path(task.path, "children").read_text(encoding="ascii").split():
                    yield int(child)
                    yield from _descendants(int(child))


def _end(process: ForkServerProcess, *, patience_seconds: float) -> None:
    """Give a process time to clean up, then kill it with its group."""
    process.join(patience_seconds)
    if process.exitcode is None:
        assert process.pid is not None
        with suppress(OSError):  # it may not lead a group yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
    process.close()
