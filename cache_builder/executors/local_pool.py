"""A pool of worker processes that survives the death of any of them.

`concurrent.futures` gives up all its work when one process is killed. In this pool a death ends one job, and the caller
decides what to do about it.
"""

import ctypes
import gc
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final, Generic

from cache_builder.errors import MachineError
from cache_builder.executors.protocol import (
    Executor,
    Job,
    JobDied,
    JobDone,
    JobRaised,
    Outcome,
    Result,
    RunnableJob,
    needs_preparing,
    prepared,
)
from frame_store.shared import descriptor_share

_PR_SET_PDEATHSIG: Final = 1
_WORKER: Final = f"""
import gc, os
gc.disable()
from {__name__} import serve
serve({{number}}, {{parent_pid}})
os._exit(0)
"""
"""The garbage collector does not look at what is imported (`serve` enables it), and the process ends at once: a worker
holds nothing that is still to be written, and to free all its objects would take a tenth of a second."""


class WorkerPool(Executor[Job, Result]):
    """Runs `job.run()` in worker processes, each job within its `limits`.

    The processes are new interpreters that do not import `__main__`. A fork would inherit the output's lock and the
    threads of the decoder libraries, and `multiprocessing`'s spawn would run the caller's script again. They start with
    the first jobs and stay, so one pool serves all stages of a build. Each needs a file descriptor of this process, so
    there are fewer of them if the limit of descriptors is low.
    """

    def __init__(self, *, num_workers: int) -> None:
        self._num_workers = descriptor_share(at_most=num_workers)
        self._waiting: deque[Job] = deque()
        self._workers: list[_Worker[Job]] = []

    def submit(self, job: Job) -> None:
        """Queue a job; it starts when a worker is free and the caller is in `next_outcome`."""
        self._waiting.append(job)

    @property
    def num_unfinished(self) -> int:
        """Jobs queued or running."""
        return len(self._waiting) + sum(worker.job is not None for worker in self._workers)

    def next_outcome(self) -> Outcome[Job, Result]:
        """Block until some job has ended. Call it only while `num_unfinished` is positive.

        Raises:
            MachineError: a worker process cannot start.
        """
        while True:
            self._hand_out()
            busy = [worker for worker in self._workers if worker.job is not None]
            deadlines = [worker.deadline for worker in busy if worker.deadline is not None]
            timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            ready = wait([worker.connection for worker in busy], timeout)
            for worker in busy:
                if worker.connection in ready and (outcome := self._collect(worker)) is not None:
                    self._hand_out()
                    return outcome
            for worker in busy:
                if worker.deadline is not None and worker.deadline <= time.monotonic():
                    return self._stop(worker)

    def _hand_out(self) -> None:
        idle = [worker for worker in self._workers if worker.job is None]
        num_missing = min(self._num_workers - len(self._workers), len(self._waiting) - len(idle))
        starting = []
        for _ in range(num_missing):  # all at once, as each takes a moment to import
            starting.append(_Worker[Job]())
            self._workers.append(
                starting[-1]
            )  # at once, so that `__exit__` ends it if the next one cannot start
        for worker in starting:
            worker.greet(type(self._waiting[0]))
        for worker in starting:
            worker.wait_until_ready()
        for worker in (idle + starting)[: len(self._waiting)]:
            worker.hand(self._waiting.popleft())

    def _collect(self, worker: "_Worker[Job]") -> Outcome[Job, Result] | None:
        """How the job of a worker ended; None where it is prepared, and begins now."""
        job = worker.job
        assert job is not None
        try:
            answer = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            worker.job = None
            self._workers.remove(worker)
            return JobDied(job=job, how=worker.end())
        if answer[0] == "begins":
            worker.limit_time()
            return None
        worker.job = None
        if answer[0] == "done":
            return JobDone(job=job, result=answer[1])
        answer[1].__cause__ = RuntimeError(answer[2])
        return JobRaised(job=job, error=answer[1])

    def _stop(self, worker: "_Worker[Job]") -> JobDied[Job]:
        job = worker.job
        assert job is not None
        self._workers.remove(worker)
        worker.process.kill()
        worker.end()
        return JobDied(job=job, how=f"took longer than {job.limits.seconds:.1f} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.job is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.connection.close()  # all at once, as each takes a moment to end
        for worker in self._workers:
            worker.end()
        self._workers.clear()


class _Worker(Generic[Job]):
    def __init__(self) -> None:
        own_end, workers_end = socket.socketpair()
        self.job: Job | None = None
        self.deadline: float | None = None
        """When the job is to have ended, by `time.monotonic`."""
        with workers_end:
            number = workers_end.fileno()
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _WORKER.format(number=number, parent_pid=os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
                process_group=0,  # so that Ctrl-C does not reach workers that do not ignore it yet
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.connection = Connection(own_end.detach())

    def greet(self, kind: type[Job]) -> None:
        """Make the process import the modules of this kind of job."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended; `wait_until_ready` reports that
            self.connection.send(kind)

    def wait_until_ready(self) -> None:
        """Wait until a process that was greeted has imported all."""
        try:
            self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise MachineError(
                f"a worker process cannot start: it {self.end()}; the same command resumes"
            ) from error

    def hand(self, job: Job) -> None:
        """Let the idle process do `job`."""
        self.job, self.deadline = job, None
        if not needs_preparing(job):
            self.limit_time()
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it died while idle; the next `wait` reports that
            self.connection.send(job)

    def limit_time(self) -> None:
        """Let the time that the job may take begin."""
        assert self.job is not None
        seconds = self.job.limits.seconds
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def end(self) -> str:
        """Close the connection, wait for the process and return how it ended."""
        self.connection.close()
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"


def serve(descriptor: int, parent_pid: int) -> None:
    """The main function of a worker: receive a kind of job, then jobs of any kind, until the connection is closed."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # sent to a whole group or batch job: the parent ends its workers
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent(parent_pid)
    usual = resource.getrlimit(resource.RLIMIT_DATA)
    connection: Connection = Connection(descriptor)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed the connection
        connection.recv()
        gc.freeze()
        gc.enable()
        connection.send("ready")
        while True:
            request = connection.recv_bytes()
            try:
                job: RunnableJob = pickle.loads(request)
                with prepared(job) as ready:
                    if ready is not job:
                        connection.send(("begins",))
                    _limit_memory(ready.limits.memory_bytes, usual)
                    answer: tuple[Any, ...] = ("done", ready.run())
            except Exception as error:  # noqa: BLE001 - sent to the parent, which handles it
                answer = ("raised", _picklable(error), traceback.format_exc())
            _limit_memory(None, usual)
            connection.send(answer)


def _limit_memory(num_bytes: int | None, usual: tuple[int, int]) -> None:
    """Limit this process's private writable memory. Address space has no limit: CUDA reserves more than exists."""
    soft, hard = usual
    if num_bytes is not None:
        soft = num_bytes if soft == resource.RLIM_INFINITY else min(num_bytes, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - anything may be wrong with a foreign exception
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with_parent(parent_pid: int) -> None:
    """Linux: end together with the parent, even if it is killed, so that no orphan writes into a resumed build."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
