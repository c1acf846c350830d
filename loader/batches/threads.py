"""Threads that read batches. Each computes with one torch thread: more would compete with the other readers."""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar, cast

import torch

from frame_store.shared import lock_free_after_fork

Result = TypeVar("Result")

# torch.set_num_threads(1) also sets the default for new threads. Without the lock, a thread that starts before that
# default is restored would take 1 for the original value.
_NUMBER_IS_BEING_SET: Final = lock_free_after_fork()


class Reading(Generic[Result]):
    """A result that a thread reads. `concurrent.futures.Future` does more, which costs a tenth of a raw batch."""

    __slots__ = ("_done", "_error", "_read", "_result")

    def __init__(self, read: Callable[[], Result]) -> None:
        self._read: Callable[[], Result] | None = read
        self._done = threading.Lock()  # held until the result is there
        self._done.acquire()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Read, in the thread that calls."""
        try:
            if self._read is not None:
                self._result = self._read()
        except BaseException as error:  # noqa: BLE001 - raised again in `result`
            self._error = error
        self._read = None
        self._done.release()

    def cancel(self) -> None:
        """Give up a result that no thread has begun to read."""
        self._read, self._error = None, CancelledError()
        self._done.release()

    def result(self) -> Result:
        """Wait for the result.

        Raises:
            BaseException: the error of `read`; `CancelledError` if the threads were closed before it began.
        """
        with self._done:
            if self._error is not None:
                raise self._error
            return self._result


class ReaderThreads:
    """A few threads. In each, torch computes with one thread; other threads of the process keep their number."""

    def __init__(self, num_threads: int) -> None:
        self._readings: SimpleQueue[Reading[object] | None] = SimpleQueue()
        # Daemon threads, stopped by a finalizer. Other threads would keep the interpreter from ending if an iteration
        # is left in the middle and never closed.
        threads = [
            threading.Thread(target=_work, args=(self._readings,), name=f"frame-loader-{number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in threads:
            thread.start()
        self._stop = weakref.finalize(self, _stop, self._readings, threads)

    def submit(self, read: Callable[[], Result]) -> Reading[Result]:
        """Call `read` in the next free thread; calls begin in the order in which they were submitted."""
        reading = Reading(read)
        self._readings.put(cast("Reading[object]", reading))
        return reading

    def close(self) -> None:
        """Cancel reads that have not begun, wait for the others, and end the threads."""
        self._stop()


def read_in_order(
    reads: Iterator[Callable[[], Result]], *, num_batches: int, num_threads: int, read_ahead: int
) -> Generator[Result]:
    """The results of the first `num_batches` of `reads`, in their order, `read_ahead` of them early."""
    pending: deque[Reading[Result]] = deque()
    with closing(ReaderThreads(min(num_threads, num_batches))) as threads:
        for _ in range(num_batches):
            for read in islice(reads, read_ahead + 1 - len(pending)):
                pending.append(threads.submit(read))
            yield pending.popleft().result()


Iteration = TypeVar("Iteration", bound=Generator[object, None, None])


def closed_at_exit(iteration: Iteration) -> Iteration:
    """`iteration`, which is closed when the interpreter ends.

    Otherwise the iteration would be closed after the interpreter has cleared the modules that the iteration needs.
    """
    weakref.finalize(iteration, _close_if_there, weakref.ref(iteration))
    return iteration


@contextmanager
def closed_at_end(iteration: Iteration) -> Iterator[Iteration]:
    """`contextlib.closing` for an iteration that a thread of ours may be executing.

    The garbage collector can end an iteration in that thread. Then the thread itself closes the iteration later.
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
    with suppress(ValueError):  # a thread is executing the iteration, and closes it later
        iteration.close()


def _work(readings: SimpleQueue[Reading[object] | None]) -> None:
    _compute_with_one_thread()
    while (reading := readings.get()) is not None:
        reading.run()
        del reading  # only the caller holds the result


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
        # The garbage collector may run in one of these threads, and end an iteration that was left there.
        if thread is not threading.current_thread():
            thread.join()


def _compute_with_one_thread() -> None:
    with _NUMBER_IS_BEING_SET:
        num_threads = torch.get_num_threads()
        # This sets the number of this thread and the default of new threads. Another thread restores the default.
        torch.set_num_threads(1)
        restorer = threading.Thread(
            target=torch.set_num_threads, args=(num_threads,), name="frame-loader-restorer"
        )
        restorer.start()
        restorer.join()
