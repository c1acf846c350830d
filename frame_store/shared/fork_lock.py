"""Locks that no forked child finds taken."""

import os
import threading


def lock_free_after_fork() -> threading.Lock:
    """A lock that a fork waits for. Otherwise a child could get a copy of it that a thread of the parent holds.

    Make one when a module is imported: it is kept until the process ends.
    """
    lock = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock
