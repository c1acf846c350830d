"""What runs inside a process of a Ray cluster: it hands jobs to a worker pool of one, which keeps limits and blame.

A job never runs in Ray's own process. So a decoder that crashes or hangs is told exactly, as on one machine, and
whatever Ray itself reports is the cluster's fault.
"""

import os
import pickle
import platform
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from cache_builder.errors import MachineError
from cache_builder.executors.local_pool import WorkerPool
from cache_builder.executors.protocol import JobDied, JobDone, RunnableJob
from frame_store import __version__

_SECONDS_UNTIL_A_NODE_ENDS = 1.0
"""A node that is taken away kills the job's process and Ray's own within moments, in any order."""


class NodeCheck(RunnableJob, Protocol):
    """A job that finds out whether a node gives what this machine gives."""

    def run(self) -> Sequence[str]:
        """How the node differs, one clause each, such as `has av 17.0.0, this machine 18.1.0`; empty if it does not."""
        ...


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended on a node."""

    kind: str
    """`done`, `raised`, `died`, `lost`, or `refused`: the node is not like this machine."""
    node: str
    """The node's id."""
    value: Any
    """The result, the error, how it died or was lost, or how the node differs."""
    cause: str = ""
    """Of an error: its traceback on the node."""


def run_on_node(version: str, check: bytes, job: bytes | None) -> bytes:
    """Run a pickled job; returns a pickled `Answer`. Before its first job a process runs `check`.

    None as job asks for the check alone. `version` is what `version_text` gives on the driver.
    """
    import ray

    node = ray.get_runtime_context().get_node_id()
    answer = _KEPT.answer(node, version, check, job)
    try:
        return pickle.dumps(answer)
    except Exception as error:  # noqa: BLE001 - anything may be wrong with a foreign exception
        stand_in = RuntimeError(f"{type(error).__name__}: {error}")
        return pickle.dumps(Answer(kind="raised", node=node, value=stand_in))


def version_text() -> str:
    """The versions that must agree before anything is unpickled."""
    return f"frame-cache {__version__} under Python {platform.python_version()}"


class _Kept:
    """What a process of Ray keeps from job to job."""

    def __init__(self) -> None:
        self._pool: WorkerPool[Any, Any] | None = None
        self._devices: str | None = None
        self._checked: bytes | None = None

    def answer(self, node: str, version: str, check: bytes, job: bytes | None) -> Answer:
        if version != version_text():
            return Answer(kind="refused", node=node, value=[f"has {version_text()}, this machine {version}"])
        try:
            pool = self._pool_for_devices(os.environ.get("CUDA_VISIBLE_DEVICES"))
            if self._checked != check:
                differences = self._check(pool, check)
                if differences:
                    return Answer(kind="refused", node=node, value=differences)
                self._checked = check
            if job is None:
                return Answer(kind="done", node=node, value=None)
            return self._run(pool, node, pickle.loads(job))
        except MachineError:
            return Answer(kind="lost", node=node, value="no worker process can start on its node")
        except KeyboardInterrupt:  # Ray cancels the task
            self._end_pool()
            raise

    def _pool_for_devices(self, devices: str | None) -> WorkerPool[Any, Any]:
        """The pool. Its process sees the GPUs that Ray gave to this process when it started: others need another."""
        if self._pool is not None and devices != self._devices:
            self._end_pool()
        if self._pool is None:
            self._pool, self._devices = WorkerPool(num_workers=1), devices
        return self._pool

    def _end_pool(self) -> None:
        if self._pool is not None:
            self._pool.__exit__(None, None, None)
            self._pool = None

    def _check(self, pool: WorkerPool[Any, Any], check: bytes) -> Sequence[str]:
        pool.submit(pickle.loads(check))
        outcome = pool.next_outcome()
        if isinstance(outcome, JobDone):
            differences: Sequence[str] = outcome.result
            return differences
        how = (
            outcome.how
            if isinstance(outcome, JobDied)
            else f"{type(outcome.error).__name__}: {outcome.error}"
        )
        return [f"cannot end the check of this build: {how}"]

    def _run(self, pool: WorkerPool[Any, Any], node: str, job: RunnableJob) -> Answer:
        pool.submit(job)
        outcome = pool.next_outcome()
        if isinstance(outcome, JobDone):
            return Answer(kind="done", node=node, value=outcome.result)
        if isinstance(outcome, JobDied):
            time.sleep(_SECONDS_UNTIL_A_NODE_ENDS)
            return Answer(kind="died", node=node, value=outcome.how)
        return Answer(kind="raised", node=node, value=outcome.error, cause=str(outcome.error.__cause__))


_KEPT = _Kept()
