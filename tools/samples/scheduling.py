"""Keeps an encoder from changing how the system schedules the process that calls it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Give the calling thread its scheduling policy back at the end.

    SVT-AV1 gives the thread that opens it the real-time policy SCHED_FIFO where the process may do so, as root may, and
    leaves it there. Later threads and processes inherit it. A real-time thread that waits in a loop, as those of
    OpenBLAS and torch do, then takes the CPU from the thread that it waits for, and neither goes on.
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux alone has it
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)
