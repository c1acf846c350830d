"""Work in a process of its own: what ran before leaves no threads, no memory and no warm heap behind.

The processes are forked from a server that has imported torch and all else that is measured, so a start costs
milliseconds and no import counts into the time to the first batch. While one is measured, its memory is watched from
outside: RssAnon + RssShmem of it and of its descendants, each less what the process had when it started, which is
the interpreter with torch. Pages that a worker shares with its parent count in both.

A process leads a group of its own. When its time is up it is killed with all that it has started; what a measurement
has told until then is what it gave.
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

from frame_cache_tools.bench.measure.slices import ImageSource, Slice, SliceRule, Tell

_PRELOADED = (
    "torch",
    "torch.utils.data",
    "av",
    "simplejpeg",
    "numcodecs.zstd",
    "zarr",
    "webdataset",
    "cache_builder.live.open",
    "cache_builder.live.store",
    "loader.frame_loader",
    "loader.torch_loader.dataset",
    "loader.webdataset",
    "loader.augment.augmentation",  # a module that is not there is skipped
    "torchvision.transforms",
    "frame_cache_tools.bench.cases.sources",
    "frame_cache_tools.bench.cases.datasets",
    "frame_cache_tools.bench.cases.limits",
    "frame_cache_tools.bench.gpu.model",
)
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_END = 10.0

Result = TypeVar("Result")


class SourceFailedError(Exception):
    """A measurement raised, or its process died; says what it said."""


class TimeUpError(Exception):
    """A process had used up its seconds and was killed, before it gave anything."""

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
    """Let the server begin its imports, and go on; without this it begins with the first process."""
    get_context("forkserver").set_forkserver_preload(list(_PRELOADED))
    multiprocessing.forkserver.ensure_running()


def call_in_process(
    function: Callable[[], Result], *, seconds: float = math.inf, temp_folder: Path | None = None
) -> Result:
    """Run `function`, which pickles, in a fresh process.

    Raises:
        TimeUpError: it took longer than `seconds`.
        SourceFailedError: its process died, or it raised what does not pickle.
        Exception: what it raised.
    """
    with _Child(partial(_call, function), seconds=seconds, temp_folder=temp_folder) as child:
        result: Result = child.answer(watch_memory=False)
        return result


def measure_in_process(
    source: ImageSource, rule: SliceRule, *, seconds: float = math.inf, temp_folder: Path | None = None
) -> Slice:
    """Run `source.measure(rule, tell)` in a fresh process and watch its memory.

    After `seconds` what it has told last is the answer.

    Raises:
        SourceFailedError: see there.
        TimeUpError: it had told nothing.
    """
    with _Child(partial(source.measure, rule), seconds=seconds, temp_folder=temp_folder) as child:
        try:
            measured: Slice = child.answer(watch_memory=True)
        except TimeUpError:
            if child.told is None:
                raise
            measured = child.told
        except SourceFailedError:
            raise
        except ModuleNotFoundError as error:
            raise SourceFailedError(str(error)) from error
        except Exception as error:
            raise SourceFailedError(f"{type(error).__name__}: {error}") from error
        return replace(measured, peak_anonymous_bytes=child.peak_bytes)


def _call(function: Callable[[], Result], _: Tell) -> Result:
    return function()


class _Child:
    """A process that does one thing; ended, with what it has started, when the block is left."""

    def __init__(self, work: Callable[[Tell], object], *, seconds: float, temp_folder: Path | None) -> None:
        self.told: Slice | None = None
        """What a measurement has told last."""
        self.peak_bytes: int | None = None
        self._baseline: int | None = None
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._patience_seconds = 0.0  # none with what was interrupted or cut off
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

    def answer(self, *, watch_memory: bool) -> Any:  # noqa: ANN401 - whatever it was given to do
        """What it gives.

        Raises:
            TimeUpError: not in time.
            SourceFailedError: it died.
            Exception: what it raised.
        """
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
            self.told = value

    def _left(self) -> float:
        return self._ends_at - time.monotonic()

    def _look_at_memory(self, baseline: int) -> None:
        assert self._process.pid is not None  # it is started
        used = _tree_bytes(self._process.pid, baseline=baseline)
        self.peak_bytes = used if self.peak_bytes is None else max(self.peak_bytes, used)


def _run_child(parent: Connection, work: Callable[[Tell], object], temp_folder: str | None) -> None:
    os.setpgid(0, 0)  # ends with all that it starts; Ctrl-C is the parent's, which then ends this group
    if temp_folder is not None:  # what a killed process leaves there goes with the folder
        tempfile.tempdir = os.environ["TMPDIR"] = temp_folder
    try:
        parent.send(("ready", None))
        parent.recv()  # what this process has now is known
    except (EOFError, OSError):  # nobody waits any more
        return
    sending = threading.Lock()

    def tell(piece: Slice) -> None:
        with sending, suppress(OSError):
            parent.send(("told", piece))

    answer: tuple[str, object]
    try:
        answer = ("done", work(tell))
    except Exception as error:  # noqa: BLE001 - told to the parent, who decides
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
    """Processes below one, as far as they can be seen."""
    with suppress(OSError):
        for task in os.scandir(f"/proc/{pid}/task"):
            with suppress(OSError):
                for child in Path(task.path, "children").read_text(encoding="ascii").split():
                    yield int(child)
                    yield from _descendants(int(child))


def _end(process: ForkServerProcess, *, patience_seconds: float) -> None:
    """Wait for a process that cleans up, then kill it with its group."""
    process.join(patience_seconds)
    if process.exitcode is None:
        assert process.pid is not None
        with suppress(OSError):  # it may not lead a group yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
    process.close()
