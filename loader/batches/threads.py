"""Threads that read batches, each working alone: torch's own threads would only get in their way."""

import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar, cast

import torch

Result = TypeVar("Result")

# A thread that began between another one's 1 and its way back would take the 1 for everybody's number, and leave it.
_NUMBER_IS_BEING_SET: Final = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_NUMBER_IS_BEING_SET.acquire,
        after_in_parent=_NUMBER_IS_BEING_SET.release,
        after_in_child=_NUMBER_IS_BEING_SET.release,
    )


class Reading(Generic[Result]):
    """Something that a thread reads: `concurrent.futures.Future` without what costs a tenth of a raw batch."""

    __slots__ = ("_done", "_error", "_read", "_result")

    def __init__(self, read: Callable[[], Result]) -> None:
        self._read: Callable[[], Result] | None = read
        self._done = threading.Lock()  # held until it has been read
        self._done.acquire()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Read, in the thread that calls."""
        try:
            if self._read is not None:
                self._result = self._read()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            self._error = error
        self._read = None
        self._done.release()

    def cancel(self) -> None:
        """Give up what no thread has begun."""
        self._read, self._error = None, CancelledError()
        self._done.release()

    def result(self) -> Result:
        """Wait for what was read.

        Raises:
            BaseException: what reading raised; `CancelledError` where the threads were closed before.
        """
        with self._done:
            if self._error is not None:
                raise self._error
            return self._result


class ReaderThreads:
    """A few threads in which torch computes with one thread; what it does in others stays as it was."""

    def __init__(self, num_threads: int) -> None:
        self._readings: SimpleQueue[Reading[object] | None] = SimpleQueue()
        # Daemons, and stopped by a finalizer: others would keep the interpreter from ending where an iteration is
        # left in the middle and never closed.
        threads = [
            threading.Thread(target=_work, args=(self._readings,), name=f"frame-loader-{number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in threads:
            thread.start()
        self._stop = weakref.finalize(self, _stop, self._readings, threads)

    def submit(self, read: Callable[[], Result]) -> Reading[Result]:
        """Have `read` called as soon as a thread is free, in the order of the calls."""
        reading = Reading(read)
        self._readings.put(cast("Reading[object]", reading))
        return reading

    def close(self) -> None:
        """Cancel what has not begun, wait for what has, and end the threads."""
        self._stop()


Iteration = TypeVar("Iteration", bound=Generator[object, None, None])


def closed_at_exit(iteration: Iteration) -> Iteration:
    """`iteration`, to be closed where it is still under way when the interpreter ends.

    Else it would be closed when it is dropped, which is after the modules that it needs have been emptied.
    """
    weakref.finalize(iteration, _close_if_there, weakref.ref(iteration))
    return iteration


@contextmanager
def closed_at_end(iteration: Iteration) -> Iterator[Iteration]:
    """`contextlib.closing` for an iteration of which a thread of ours may be in the middle: it is closed behind that.

    That is so where the garbage collector ends an iteration in that very thread.
    """
    try:
        yield iteration
    finally:
        _close(iteration)


def _close_if_there(reference: "weakref.ref[Generator[object, None, None]]") -> None:
    iteration = reference()
    if iteration is not None:
        _close(iteration)


def _close(iteration: Generator[object, None, None]) -> None:
    with suppress(ValueError):  # a thread is in the middle of it, and drops it, or ends with the interpreter
        iteration.close()


def _work(readings: SimpleQueue[Reading[object] | None]) -> None:
    _compute_with_one_thread()
    while (reading := readings.get()) is not None:
        reading.run()
        del reading  # what it read is the caller's alone


def _stop(readings: SimpleQueue[Reading[object] | None], threads: Sequence[threading.Thread]) -> None:
    try:
        while True:
            if (reading := readings.get_nowait()) is not None:
                reading.cancel()
    except Empty:
        pass
    for _ in threads:
        readings.put(None)
    for thread in threads:
        # The garbage collector may find an iteration that was left while it runs in one of these threads.
        if thread is not threading.current_thread():
            thread.join()


def _compute_with_one_thread() -> None:
    with _NUMBER_IS_BEING_SET:
        num_threads = torch.get_num_threads()
        # Sets this thread's number, and what threads yet to come begin with; another thread sets the latter back.
        torch.set_num_threads(1)
        restorer = threading.Thread(
            target=torch.set_num_threads, args=(num_threads,), name="frame-loader-restorer"
        )
        restorer.start()
        restorer.join()
