"""Runs functions in processes that may hold few file descriptors, and fills a process up with open files."""

import errno
import multiprocessing
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

Result = TypeVar("Result")


def run_with_descriptors(limit: int, function: Callable[..., Result], *arguments: object) -> Result:
    """What `function(*arguments)` returns or raises in another process, which may hold `limit` descriptors."""
    return _process().submit(_run_limited, limit, function, arguments).result()


@cache
def _process() -> ProcessPoolExecutor:
    """One for all tests of a module: it takes a second to import what they need."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module", autouse=True)
def end_of_the_process() -> Iterator[None]:
    """For modules to import: the process ends with their last test."""
    yield
    _process().shutdown()
    _process.cache_clear()


def _run_limited(limit: int, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        return function(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


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
        if error.errno != errno.EMFILE:
            raise
    return opened


def _close(numbers: list[int]) -> None:
    for number in numbers:
        os.close(number)


def open_paths(folder: Path) -> list[str]:
    """Files below `folder` that this process holds open, one for each descriptor."""
    links = list(Path("/proc/self/fd").iterdir())
    targets = (os.path.realpath(link) for link in links)
    return [target for target in targets if target.startswith(f"{folder}/")]
