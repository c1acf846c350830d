"""Runs jobs in a Ray cluster. Each job is a task of Ray, which runs it in a worker pool of one; see `ray_worker`."""

import pickle
import time
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from cache_builder.errors import MachineError
from cache_builder.executors.choice import RayChoice
from cache_builder.executors.protocol import (
    Executor,
    Job,
    JobDied,
    JobDone,
    JobLost,
    JobRaised,
    Outcome,
    Result,
)
from cache_builder.executors.ray_cluster import RayCluster
from cache_builder.executors.ray_worker import Answer, NodeCheck, run_on_node, version_text
from frame_store.shared import counted, listed

_TASKS_A_CPU: Final = 2
"""One runs and one waits beside it, so that no CPU waits for this process."""
_SECONDS_BETWEEN_LOOKS: Final = 5.0
"""Nodes come and go; tasks for new ones are handed out after this time at the latest."""
_SECONDS_TO_CHECK: Final = 300.0
_CHECKS_OF_A_NODE: Final = 3
"""A worker process may be lost while it checks, as while it runs a job."""
_SECONDS_TO_CANCEL: Final = 15.0
_HOW_LOST: Final = {
    "WorkerCrashedError": "its worker process in the cluster ended",
    "NodeDiedError": "its node ended",
    "OutOfMemoryError": "its node ran out of memory",
    "ObjectLostError": "its result was lost with a node",
    "OwnerDiedError": "its result was lost with a node",
    "LocalRayletDiedError": "its node ended",
}


class RayExecutor(Executor[Job, Result]):
    """Jobs in a cluster that it joins or starts with the first job.

    Before any job, every node runs `check`; a node that differs from this machine is refused. A node that joins later
    runs it before its first job. On exit all tasks are cancelled, and a cluster that was started here ends.
    """

    def __init__(
        self,
        choice: RayChoice,
        *,
        check: Callable[[], NodeCheck],
        at_most: int | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`check` is made when the cluster is there, `tell` gets notes, `at_most` bounds the jobs that run at once."""
        self._choice = choice
        self._make_check = check
        self._at_most = at_most
        self._tell = tell
        self._waiting: deque[Job] = deque()
        self._running: dict[Any, Job] = {}
        self._ended: deque[Any] = deque()
        """Tasks that have ended and are in `_running` yet."""
        self._cluster: RayCluster | None = None
        self._ray: Any = None
        self._task: Any = None
        self._check = b""

    def submit(self, job: Job) -> None:
        """See `Executor`. It starts when the caller is in `next_outcome`."""
        self._waiting.append(job)

    @property
    def num_unfinished(self) -> int:
        """See `Executor`."""
        return len(self._waiting) + len(self._running)

    def start(self) -> None:
        """Join or start the cluster and check its nodes, unless that was done. The first `next_outcome` does it, too.

        Raises:
            ConfigError: Ray is not installed, or this process has joined another cluster.
            MachineError: no cluster, or a node of it differs from this machine.
        """
        if self._cluster is not None:
            return
        started = time.monotonic()
        self._cluster = RayCluster.join(self._choice.address, num_cpus=self._at_most, tell=self._tell)
        import ray

        self._ray = ray
        self._task = ray.remote(max_retries=0, num_cpus=1)(run_on_node)
        self._check = pickle.dumps(self._make_check())
        self._check_nodes()
        self._tell(f"{self._cluster.summary()}, ready after {time.monotonic() - started:.0f} s")

    def next_outcome(self) -> Outcome[Job, Result] | JobLost[Job]:
        """See `Executor`.

        Raises:
            ConfigError: Ray is not installed, or this process has joined another cluster.
            MachineError: no cluster, one that is gone, or a node of it that differs from this machine.
        """
        self.start()
        while not self._ended:
            self._hand_out()
            tasks = [*self._running]
            try:
                ready, _ = self._ray.wait(tasks, num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
                if ready:
                    ready, _ = self._ray.wait(tasks, num_returns=len(tasks), timeout=0)
            except self._ray.exceptions.RayError as error:
                raise _is_gone(error) from None
            self._ended.extend(ready)
        task = self._ended.popleft()
        outcome = self._outcome(self._running.pop(task), task)
        self._hand_out()
        return outcome

    def _hand_out(self) -> None:
        while self._waiting and len(self._running) < self._num_in_flight(self._waiting[0].limits.num_gpus):
            job = self._waiting.popleft()
            task = self._task.options(num_gpus=job.limits.num_gpus) if job.limits.num_gpus else self._task
            self._running[task.remote(version_text(), self._check, pickle.dumps(job))] = job

    def _num_in_flight(self, gpus_of_job: int) -> int:
        cluster = self._cluster
        assert cluster is not None
        if gpus_of_job and not cluster.amount("GPU"):
            raise MachineError("no node of the Ray cluster has a GPU; {--device cpu} needs none")
        num_slots = max(1, cluster.amount("GPU" if gpus_of_job else "CPU"))
        if self._at_most is not None and self._at_most < num_slots:
            return self._at_most
        return _TASKS_A_CPU * num_slots

    def _outcome(self, job: Job, task: Any) -> Outcome[Job, Result] | JobLost[Job]:  # noqa: ANN401 - of Ray
        try:
            answer = self._answer(task)
        except self._ray.exceptions.RayTaskError as error:
            raise _cannot_run("a node of the Ray cluster", error) from None
        except self._ray.exceptions.RayError as error:
            return JobLost(job=job, how=_how_lost(error))
        if answer.kind == "done":
            return JobDone(job=job, result=answer.value)
        if answer.kind == "died":
            return JobDied(job=job, how=answer.value)
        if answer.kind == "lost":
            return JobLost(job=job, how=answer.value)
        if answer.kind == "refused":
            raise _refusal([_difference(answer.node, text) for text in answer.value])
        answer.value.__cause__ = RuntimeError(answer.cause)
        return JobRaised(job=job, error=answer.value)

    def _answer(self, task: Any) -> Answer:  # noqa: ANN401 - of Ray
        answer: Answer = pickle.loads(self._ray.get(task))
        return answer

    def _check_nodes(self) -> None:
        """Refuse nodes that differ from this machine.

        Raises:
            MachineError: there are some; the message names each and how it differs.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        assert self._cluster is not None

        def check_of(node: str) -> Any:  # noqa: ANN401 - of Ray
            there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
            task = self._task.options(num_cpus=0, scheduling_strategy=there)
            return task.remote(version_text(), self._check, None)

        cluster, ends = self._cluster, time.monotonic() + _SECONDS_TO_CHECK
        waiting = deque((node, check_of(node)) for node in cluster.nodes())
        losses: Counter[str] = Counter()
        differences = []
        while waiting:
            node, task = waiting.popleft()
            try:
                ready, _ = self._ray.wait([task], timeout=max(0.0, ends - time.monotonic()))
                if not ready:
                    differences.append(_difference(node, f"does not answer within {_SECONDS_TO_CHECK:.0f} s"))
                    continue
                answer = self._answer(task)
            except self._ray.exceptions.RayTaskError as error:
                raise _cannot_run(f"node {node[:8]}", error) from None
            except self._ray.exceptions.RayError as error:
                losses[node] += 1
                if node not in cluster.nodes():
                    continue  # one that has left needs no check
                if losses[node] < _CHECKS_OF_A_NODE:
                    waiting.append((node, check_of(node)))
                else:
                    differences.append(_difference(node, f"cannot be checked, because {_how_lost(error)}"))
                continue
            if answer.kind == "refused":
                differences += [_difference(node, text) for text in answer.value]
            elif answer.kind != "done":
                differences.append(_difference(node, f"cannot be checked: {answer.value}"))
        if differences:
            raise _refusal(differences)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs. Leaving a cluster ends this process's tasks there, with the processes that run them.

        `ray.cancel(force=True)` is not used: where a task ends at that moment, Ray 2.60 aborts this process.
        """
        if self._cluster is None:
            return
        cluster, self._cluster = self._cluster, None
        tasks = [*self._running]
        self._running.clear()
        self._ended.clear()
        try:
            if tasks and not cluster.leaves and self._ray.is_initialized():
                for task in tasks:
                    self._ray.cancel(task, force=False)
                self._ray.wait(tasks, num_returns=len(tasks), timeout=_SECONDS_TO_CANCEL)
        except self._ray.exceptions.RayError:
            pass  # the cluster is gone, and its tasks with it
        finally:
            cluster.leave()


def _how_lost(error: Exception) -> str:
    """Why Ray lost a job, in words: its own text names hosts."""
    return next(
        (_HOW_LOST[each.__name__] for each in type(error).__mro__ if each.__name__ in _HOW_LOST),
        f"Ray reported {type(error).__name__}",
    )


def _is_gone(error: Exception) -> MachineError:
    return MachineError(f"the Ray cluster is gone ({type(error).__name__}); the same command resumes")


def _cannot_run(what: str, error: Any) -> MachineError:  # noqa: ANN401 - a RayTaskError
    cause = getattr(error, "cause", None)
    return MachineError(
        f"{what} cannot run jobs of {version_text()} ({type(cause or error).__name__}): install this version there, "
        "with the same libraries"
    )


def _difference(node: str, text: str) -> str:
    return f"node {node[:8]} {text}"


def _refusal(differences: list[str]) -> MachineError:
    return MachineError(
        listed(
            f"{counted(len(differences), 'difference')} between this machine and the Ray cluster",
            differences,
            "make the nodes alike, or leave those out; the same command resumes",
        )
    )
