"""Runs functions in processes that may hold few file descriptors, and fills a process up with open files."""

import errno
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def run_with_descriptors(limit: int, function: Callable[..., Result], *arguments: object) -> Result:
    """What `function(*arguments)` returns or raises in a fresh interpreter that may hold `limit` descriptors."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), set_limit, (limit,)) as pool:
        return pool.submit(function, *arguments).result()


def set_limit(limit: int) -> None:
    """Let this process hold `limit` descriptors, and let it ask for no more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def num_descriptors_left() -> int:
    """How many files this process can open."""
    opened = _open_all()
    _close(opened)
    return len(opened)


@contextmanager
def descriptors_left(num_left: int) -> Iterator[None]:
    """Open files until this process can open `num_left` more."""
    opened = _open_all()
    _close(opened[len(opened) - num_left :])
    try:
        yield
    finally:
        _close(opened[: len(opened) - num_left])


def _open_all() -> list[int]:
    opened: list[int] = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        assert error.errno == errno.EMFILE
    return opened


def _close(numbers: list[int]) -> None:
    for number in numbers:
        os.close(number)


def open_paths(folder: Path) -> list[str]:
    """Files below `folder` that this process holds open, one for each descriptor."""
    links = list(Path("/proc/self/fd").iterdir())
    targets = (os.path.realpath(link) for link in links)
    return [target for target in targets if target.startswith(f"{folder}/")]
