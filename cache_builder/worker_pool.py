"""A pool of worker processes that survives the death of any of them.

`concurrent.futures` gives up all its work when one process is killed; here a death costs one job, and the
caller decides what to do with it.
"""

import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from cache_builder.errors import MachineError

Job = TypeVar("Job")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1


class JobDone(msgspec.Struct, Generic[Job, Result], frozen=True, kw_only=True):
    """The job returned."""

    job: Job
    result: Result


class JobRaised(msgspec.Struct, Generic[Job], frozen=True, kw_only=True):
    """The job raised; `error` is its exception."""

    job: Job
    error: Exception
    trace: str


class JobDied(msgspec.Struct, Generic[Job], frozen=True, kw_only=True):
    """The worker process ended while it held the job."""

    job: Job
    how: str
    """For example `was killed by SIGSEGV`."""


class WorkerPool(Generic[Job, Result]):
    """Runs `perform(job)` in processes of its own. Jobs, results and `perform` must pickle.

    The processes are fresh interpreters that import no `__main__`: a fork would inherit the output's lock and
    the decoder libraries' threads, and `multiprocessing`'s spawn would run the caller's script again.
    """

    def __init__(self, perform: Callable[[Job], Result], *, num_workers: int) -> None:
        self._perform = perform
        self._num_workers = num_workers
        self._waiting: deque[Job] = deque()
        self._workers: list[_Worker[Job]] = []

    def submit(self, job: Job) -> None:
        """Queue a job; it starts when a worker is free and the caller is in `next_outcome`."""
        self._waiting.append(job)

    @property
    def num_unfinished(self) -> int:
        """Jobs queued or running."""
        return len(self._waiting) + sum(worker.job is not None for worker in self._workers)

    def next_outcome(self) -> "JobDone[Job, Result] | JobRaised[Job] | JobDied[Job]":
        """Block until some job has ended. Call it only while `num_unfinished` is positive.

        Raises:
            MachineError: a worker process cannot start.
        """
        while True:
            self._hand_out()
            ready = wait([worker.connection for worker in self._workers if worker.job is not None])
            for worker in list(self._workers):
                if worker.connection in ready:
                    outcome = self._collect(worker)
                    self._hand_out()
                    return outcome

    def _hand_out(self) -> None:
        idle = [worker for worker in self._workers if worker.job is None]
        num_missing = min(self._num_workers - len(self._workers), len(self._waiting) - len(idle))
        starting = [_Worker[Job]() for _ in range(num_missing)]  # all at once: they take a moment to import
        self._workers += starting
        for worker in starting:
            worker.greet(self._perform)
        for worker in (idle + starting)[: len(self._waiting)]:
            worker.job = self._waiting.popleft()
            with suppress(BrokenPipeError, ConnectionResetError):  # it died while idle; `wait` tells so next
                worker.connection.send(worker.job)

    def _collect(self, worker: "_Worker[Job]") -> "JobDone[Job, Result] | JobRaised[Job] | JobDied[Job]":
        job = worker.job
        assert job is not None
        worker.job = None
        try:
            answer = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._workers.remove(worker)
            return JobDied(job=job, how=worker.end())
        if answer[0] == "done":
            return JobDone(job=job, result=answer[1])
        return JobRaised(job=job, error=answer[1], trace=answer[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.job is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()


class _Worker(Generic[Job]):
    def __init__(self) -> None:
        own_end, workers_end = socket.socketpair()
        self.job: Job | None = None
        with workers_end:
            number = workers_end.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import serve; serve({number}, {os.getpid()})"],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
                process_group=0,  # else Ctrl-C would hit workers that do not ignore it yet
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.connection = Connection(own_end.detach())

    def greet(self, perform: Callable[[Job], Any]) -> None:
        """Tell the process what to do with jobs and wait until it is ready for them."""
        try:
            self.connection.send(perform)
            self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise MachineError(
                f"a worker process cannot start: it {self.end()}; the same command resumes"
            ) from error

    def end(self) -> str:
        """Hang up, wait for the process and say how it ended."""
        self.connection.close()
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"


def serve(descriptor: int, parent_pid: int) -> None:
    """What a worker process runs: receive `perform`, then jobs, until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _die_with_parent(parent_pid)
    connection: Connection = Connection(descriptor)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has hung up
        perform: Callable[[Any], Any] = connection.recv()
        connection.send("ready")
        while True:
            job = connection.recv()
            try:
                answer: tuple[Any, ...] = ("done", perform(job))
            except Exception as error:  # noqa: BLE001 - handed to the parent, which knows what to do
                answer = ("raised", _picklable(error), traceback.format_exc())
            connection.send(answer)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - anything may be wrong with a foreign exception
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with_parent(parent_pid: int) -> None:
    """Linux: end with the parent even if that is killed, so that no orphan writes into a resumed build."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
