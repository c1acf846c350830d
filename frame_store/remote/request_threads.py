"""Threads that wait for answers of an object store: many, made when they are needed, gone when they are idle."""

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from frame_store.errors import ObjectStoreError

Result = TypeVar("Result")

_IDLE_SECONDS: Final = 5.0
_EXIT_SECONDS: Final = 2.0


class Request(Protocol):
    """What the threads do."""

    def make(self) -> None:
        """Do it. Raises nothing."""
        ...

    def cancel(self) -> None:
        """It will not be done: whoever waits for it is told so."""
        ...


class Call(Generic[Result]):
    """A call by a thread, and what became of it. Implements `Request`."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call: Callable[[], Result] | None = call
        self._lock = threading.Lock()
        self._result: list[Result] = []
        self._error: BaseException | None = None
        self._done = threading.Event()

    def make(self) -> None:
        """Make the call, unless it was cancelled."""
        call = self._taken()
        if call is None:
            return
        try:
            self._result.append(call())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error
        finally:
            self._done.set()

    def cancel(self) -> None:
        """Have the call not made, where it was not begun; `result` then raises an error."""
        if self._taken() is not None:
            self._error = ObjectStoreError("not asked for: the process ends, or another request has failed")
            self._done.set()

    def result(self) -> Result:
        """What the call has given, or raised, once it has ended."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def wait(self) -> None:
        """Until it has ended."""
        self._done.wait()

    def _taken(self) -> Callable[[], Result] | None:
        with self._lock:
            call, self._call = self._call, None
        return call


class RequestThreads:
    """Makes requests, at most so many at once. What a reader waits for goes before what it announced.

    The threads are daemons: a request that hangs keeps no process alive. They end with this object.
    """

    def __init__(self, max_threads: int) -> None:
        """Starts no thread yet."""
        self._work = _Work(max_threads)
        self._finalizer = weakref.finalize(self, self._work.close, also_urgent=False)
        self._finalizer.atexit = False

    def submit(self, requests: Sequence[Request], *, urgent: bool) -> None:
        """Have these requests made, in this order."""
        self._work.submit(requests, urgent=urgent)

    def limit(self, max_threads: int) -> None:
        """Make at most so many at once from now on; those under way are not ended."""
        self._work.limit(max_threads)

    def close(self) -> None:
        """Cancel the requests that were announced and not begun, and end the threads after the others."""
        self._finalizer()


class _Work:
    """The requests and the threads that make them; these do not keep `RequestThreads` alive."""

    def __init__(self, max_threads: int) -> None:
        self._max_threads = max_threads
        self._lock = threading.Condition(threading.Lock())
        self._urgent: deque[Request] = deque()
        self._later: deque[Request] = deque()
        self.num_threads = 0
        self._num_idle = 0
        self._is_closed = False
        self._at_exit = partial(_end_before_exit, weakref.ref(self), os.getpid())
        atexit.register(self._at_exit)

    def submit(self, requests: Sequence[Request], *, urgent: bool) -> None:
        with self._lock:
            (self._urgent if urgent else self._later).extend(requests)
            num_new = self._add_threads()
            self._lock.notify(len(requests))
        self._start(num_new)

    def limit(self, max_threads: int) -> None:
        with self._lock:
            self._max_threads = max_threads
            num_new = self._add_threads()
            self._lock.notify_all()  # of those that are idle, too many end
        self._start(num_new)

    def _add_threads(self) -> int:
        """How many more threads are to be started for the requests that wait. They count from now on."""
        num_waiting = len(self._urgent) + len(self._later)
        num_new = max(0, min(num_waiting - self._num_idle, self._max_threads - self.num_threads))
        self.num_threads += num_new
        return num_new

    def _start(self, num_threads: int) -> None:
        for _ in range(num_threads):
            threading.Thread(target=self._run, name="ranges", daemon=True).start()

    def close(self, *, also_urgent: bool) -> None:
        with self._lock:
            self._is_closed = True
            queues = [self._later, *([self._urgent] if also_urgent else [])]
            cancelled = [request for queue in queues for request in queue]
            for queue in queues:
                queue.clear()
            self._lock.notify_all()
            is_ended = not self.num_threads
        for request in cancelled:
            request.cancel()
        if is_ended:
            atexit.unregister(self._at_exit)

    def _run(self) -> None:
        while (request := self._next()) is not None:
            request.make()
            del request  # it holds what was read
        if self._is_closed and not self.num_threads:
            atexit.unregister(self._at_exit)

    def _next(self) -> Request | None:
        with self._lock:
            while True:
                if self.num_threads > self._max_threads:
                    self.num_threads -= 1
                    return None
                if self._urgent:
                    return self._urgent.popleft()
                if self._later:
                    return self._later.popleft()
                if not self._is_closed:
                    self._num_idle += 1
                    is_called = self._lock.wait(_IDLE_SECONDS)
                    self._num_idle -= 1
                    if is_called or self._urgent or self._later:
                        continue
                self.num_threads -= 1
                return None


def make_all(
    threads: RequestThreads, calls: Iterable[Callable[[], None]], *, waits_after_error: bool = False
) -> None:
    """Make calls in threads. At the first error, or at Ctrl-C, those not begun are left.

    Those begun are waited for only with `waits_after_error`.
    """
    made = [Call(call) for call in calls]
    threads.submit(made, urgent=False)
    try:
        for each in made:
            each.result()
    except BaseException:
        for each in made:
            each.cancel()
        if waits_after_error:
            for each in made:
                each.wait()
        raise


def _end_before_exit(reference: "weakref.ref[_Work]", pid: int) -> None:
    """Let requests end before the interpreter does: a thread that comes back to one that is gone may abort it."""
    work = reference()
    if (
        work is None or pid != os.getpid()
    ):  # in a forked child the threads are not there, and the lock may be held
        return
    work.close(also_urgent=True)
    deadline = time.monotonic() + _EXIT_SECONDS
    while work.num_threads and time.monotonic() < deadline:
        time.sleep(0.01)
