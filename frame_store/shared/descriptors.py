"""File descriptors: how many files a store keeps open, and errors that mean that no more can be opened.

A process may hold as many descriptors as its soft limit allows (RLIMIT_NOFILE, `ulimit -n`), and the program that uses
this library needs some of them. No counter is kept: the kernel gives each file the lowest number that is free, so the
process holds at least as many descriptors as the number of the newest file.
"""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
_UNLIMITED: Final = 1 << 20


def descriptor_limit() -> int:
    """Descriptors that this process may hold now."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit


def descriptor_share(*, at_most: int) -> int:
    """Descriptors that one store, or one pool of processes, may keep: a quarter of the limit, 1 or more."""
    return max(1, min(at_most, descriptor_limit() // 4))


@contextmanager
def further_descriptors(number: int) -> Iterator[None]:
    """Let this process hold so many descriptors more inside the context, as far as its hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        yield
        return
    wanted = soft + number if hard == resource.RLIM_INFINITY else min(soft + number, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def num_files_to_keep(num_open: int, *, newest_number: int | None, at_most: int) -> int:
    """How many of its `num_open` files a store may keep open, 1 or more.

    `newest_number` is the descriptor of the file that the store has just opened, None where it opened none. The numbers
    from half the limit on are left to the caller. If a store's new file gets one of these numbers, the store closes
    half of its files, and the next file that any store opens gets a lower number. So stores share the descriptors.
    """
    share = descriptor_share(at_most=at_most)
    is_crowded = newest_number is not None and newest_number >= descriptor_limit() // 2
    return max(1, min(share, num_open // 2)) if is_crowded else share


def is_out_of_files(error: BaseException) -> bool:
    """Whether an error means that the process (EMFILE) or the machine (ENFILE) can open no more files."""
    return isinstance(error, OSError) and error.errno in _OUT_OF_FILES


def raise_if_out_of_files(error: BaseException) -> None:
    """Raise `error`, or its cause, if it means that no more files can be opened.

    Such an error shows nothing about the file that was to be opened. So code that turns errors into findings about a
    file calls this first.

    Raises:
        OSError: EMFILE or ENFILE.
    """
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_files(cause):
            raise cause
        cause = cause.__cause__ or cause.__context__
