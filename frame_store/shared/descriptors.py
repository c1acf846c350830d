"""File descriptors: how many files a store keeps open, and what an error says that is about descriptors alone.

A process may hold as many descriptors as its soft limit says (RLIMIT_NOFILE, `ulimit -n`), and shares them with
whoever uses this library. No counter is kept: the kernel gives every file the lowest number that is free, so the
number of a file that was just opened tells how many descriptors all of the process holds, at least.
"""

import errno
import resource
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


def num_files_to_keep(num_open: int, *, newest_number: int | None, at_most: int) -> int:
    """How many of its `num_open` files a store may keep open, 1 or more.

    `newest_number` is the descriptor of the one that it has just opened, None where it opened none. The numbers from
    half the limit on are left to the caller. A store that is given one of those closes half of its files, and the next
    store that opens one is given a number below. So stores that go on opening files share what there is.
    """
    share = descriptor_share(at_most=at_most)
    is_crowded = newest_number is not None and newest_number >= descriptor_limit() // 2
    return max(1, min(share, num_open // 2)) if is_crowded else share


def is_out_of_files(error: BaseException) -> bool:
    """Whether an error says that the process (EMFILE), or the machine (ENFILE), can open no more files."""
    return isinstance(error, OSError) and error.errno in _OUT_OF_FILES


def raise_if_out_of_files(error: BaseException) -> None:
    """Raise `error`, or what caused it, where it says that no more files can be opened.

    Such an error tells nothing of the file that was to be opened. Whoever takes errors for findings about a file calls
    this first.

    Raises:
        OSError: EMFILE or ENFILE.
    """
    cause: BaseException | None = error
    while cause is not None:
        if is_out_of_files(cause):
            raise cause
        cause = cause.__cause__ or cause.__context__
