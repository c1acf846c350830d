"""Worker processes that the pools of a test run hand to one another: each takes a third of a second to start."""

import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from cache_builder.executors import WorkerPool

_MAX_IDLE = 4
_LIMITS = (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA, resource.RLIMIT_AS)

_hand_out = WorkerPool._hand_out
_exit = WorkerPool.__exit__
_idle = []
"""Processes of pools that have ended, the newest last."""


@contextmanager
def shared_workers() -> Iterator[None]:
    """While this lasts, a pool of this process takes over idle workers of pools that have ended.

    It takes those alone that would be the same if they were started now; a job cannot see the difference.
    """
    with mock.patch.multiple(WorkerPool, _hand_out=_take_over_and_hand_out, __exit__=_exit_and_leave_workers):
        yield
    _end_idle_but(0)


@contextmanager
def own_workers() -> Iterator[None]:
    """Within `shared_workers`: each pool starts its own."""
    with mock.patch.multiple(WorkerPool, _hand_out=_hand_out, __exit__=_exit):
        yield


def _take_over_and_hand_out(pool):
    surroundings = _surroundings()
    num_idle = sum(worker.job is None for worker in pool._workers)
    for worker in reversed(_idle.copy()):
        if num_idle >= len(pool._waiting) or len(pool._workers) >= pool._num_workers:
            break
        if worker.surroundings == surroundings and worker.process.poll() is None:
            _idle.remove(worker)
            pool._workers.append(worker)
            num_idle += 1
    _hand_out(pool)
    for worker in pool._workers:
        if not hasattr(worker, "surroundings"):
            worker.surroundings = surroundings


def _exit_and_leave_workers(pool, *error):
    # Workers die with the thread that started them.
    if threading.current_thread() is threading.main_thread():
        left = [worker for worker in pool._workers if worker.job is None and worker.process.poll() is None]
        pool._workers = [worker for worker in pool._workers if worker not in left]
        _idle.extend(left)
        _end_idle_but(_MAX_IDLE)
    _exit(pool, *error)


def _end_idle_but(num_kept):
    while len(_idle) > num_kept:
        _idle.pop(0).end()


def _surroundings():
    """What a worker has of the process that starts it, and which process that is."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    limits = [resource.getrlimit(limit) for limit in _LIMITS]
    return os.getpid(), Path.cwd(), os.geteuid(), limits, sys.path.copy(), environment
