"""What runs the jobs of a build: jobs, their limits, how they end, and the protocol of what runs them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

import msgspec

from cache_builder.errors import MachineError
from frame_store.shared import counted

MAX_LOSSES: Final = 20
"""A job that was lost so often is not submitted again: a cluster that loses the same job 20 times does not recover."""


class JobLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a job; None means no limit."""

    seconds: float | None = None
    """Wall-clock time: a process that has not answered by then is killed, which gives `JobDied`."""
    memory_bytes: int | None = None
    """The process's data (Linux: RLIMIT_DATA). Allocating more fails, mostly with a MemoryError."""
    num_gpus: int = 0
    """GPUs that the job has for itself in a cluster: 0 or 1. One machine's own processes share its GPU."""


class RunnableJob(Protocol):
    """A job for an executor. Jobs and their results must be picklable."""

    @property
    def limits(self) -> JobLimits:
        """Time and memory that the job may take."""
        ...

    def run(self) -> object:
        """Do the work, in the worker process."""
        ...


@runtime_checkable
class PreparedJob(Protocol):
    """A job that may need something at hand before it runs, such as a download. Its limits do not count that."""

    @property
    def needs_preparing(self) -> bool:
        """Whether `prepare` is to be called."""
        ...

    def prepare(self) -> AbstractContextManager[RunnableJob]:
        """The job to run, which has what it needs for the time of the context. Called in the worker process."""
        ...


def needs_preparing(job: RunnableJob) -> bool:
    """Whether the limits of a job begin only when it is prepared."""
    return isinstance(job, PreparedJob) and job.needs_preparing


def prepared(job: RunnableJob) -> AbstractContextManager[RunnableJob]:
    """The job to run: another one where it needs preparing."""
    return job.prepare() if isinstance(job, PreparedJob) and job.needs_preparing else nullcontext(job)


Job = TypeVar("Job", bound=RunnableJob)
Result = TypeVar("Result")


class JobDone(msgspec.Struct, Generic[Job, Result], frozen=True, kw_only=True):
    """The job returned."""

    job: Job
    result: Result


class JobRaised(msgspec.Struct, Generic[Job], frozen=True, kw_only=True):
    """The job raised `error`, whose cause is the traceback in the worker process, as text."""

    job: Job
    error: Exception


class JobDied(msgspec.Struct, Generic[Job], frozen=True, kw_only=True):
    """The worker process ended while it ran the job, or was killed because the job took too long: the job's fault."""

    job: Job
    how: str
    """For example `was killed by SIGSEGV`, or `took longer than 60.0 s`."""


class JobLost(msgspec.Struct, Generic[Job], frozen=True, kw_only=True):
    """What ran the worker process lost it, such as a node of a cluster that ended: not the job's fault."""

    job: Job
    how: str
    """For example `its node ended`."""


Outcome: TypeAlias = JobDone[Job, Result] | JobRaised[Job] | JobDied[Job]
"""How a job ended. A job that was lost has not ended: it is submitted again."""


class Executor(Protocol[Job, Result]):
    """Runs `job.run()` in worker processes, each job within its `limits`. As a context manager it ends them.

    A class that inherits from this one has `outcomes` and the context manager's entry already.
    """

    def submit(self, job: Job) -> None:
        """Queue a job."""
        ...

    @property
    def num_unfinished(self) -> int:
        """Jobs queued or running."""
        ...

    def next_outcome(self) -> Outcome[Job, Result] | JobLost[Job]:
        """Block until some job has ended or was lost. Call it only while `num_unfinished` is positive.

        Raises:
            MachineError: no worker process can start.
        """
        ...

    def outcomes(self, *, retry_deaths: bool = False) -> Iterator[Outcome[Job, Result]]:
        """Yield outcomes until no job is left, jobs included that the caller submits between two of them.

        With `retry_deaths`, a job whose process died runs a second time, alone, after all others: the cause may have
        been memory that other jobs took, or a busy machine. Only its second death is yielded. A job that was lost is
        submitted again, and its losses are no deaths.

        Raises:
            MachineError: no worker process can start, or one job was lost `MAX_LOSSES` times.
        """
        dead: list[Job] = []
        retried: Job | None = None
        losses: Counter[int] = Counter()  # by identity, which a job that is submitted again keeps
        while self.num_unfinished or dead:
            if not self.num_unfinished:
                retried = dead.pop()
                self.submit(retried)
            outcome = self.next_outcome()
            if isinstance(outcome, JobLost):
                losses[id(outcome.job)] += 1
                if losses[id(outcome.job)] == MAX_LOSSES:
                    raise MachineError(
                        f"a job was lost {counted(MAX_LOSSES, 'time')}, the last time because {outcome.how}; look "
                        "after the cluster, then the same command resumes"
                    )
                self.submit(outcome.job)
                continue
            losses.pop(id(outcome.job), None)
            if retry_deaths and isinstance(outcome, JobDied) and outcome.job is not retried:
                dead.append(outcome.job)
            else:
                yield outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
