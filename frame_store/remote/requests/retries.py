"""How often, and for how long, a request to an object store is tried again."""

import math
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Final, TypeVar

from frame_store.errors import ObjectSettingsError
from frame_store.remote.requests.failures import Passing, classified, forget_context
from frame_store.shared import counted

Result = TypeVar("Result")
RETRY_SECONDS_VARIABLE: Final = "FRAME_CACHE_RETRY_SECONDS"
_SLOW_DOWN_STEPS: Final = 2


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a request is tried. The waits double, and each is drawn between half of it and all of it (jitter).

    Raises:
        ValueError: a number of seconds is negative or not finite.
    """

    max_seconds: float = 90.0
    """From the first failure on; no attempt begins after it. 0: no request is tried again."""
    first_wait_seconds: float = 0.1
    longest_wait_seconds: float = 5.0
    connect_seconds: float = 5.0
    """Of each attempt: to connect."""
    stall_seconds: float = 15.0
    """Of each attempt to read: without any byte."""
    attempt_seconds: float = 60.0
    """Of each attempt: in all, for up to 4 MiB; twice as long for each doubling of that."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{each.name} must be a number of seconds from 0 on, not {value!r}")

    @classmethod
    def of_environment(cls) -> "RetryPolicy":
        """The policy of this process: FRAME_CACHE_RETRY_SECONDS is its `max_seconds`.

        Raises:
            ObjectSettingsError: the variable has no number of seconds.
        """
        text = os.environ.get(RETRY_SECONDS_VARIABLE, "").strip()
        if not text:
            return cls()
        with suppress(ValueError):
            return cls(max_seconds=float(text))
        raise ObjectSettingsError(
            f"{RETRY_SECONDS_VARIABLE} must be a number of seconds from 0 on, not {text!r}"
        )

    def wait_seconds(self, attempt: int, *, is_slow_down: bool = False) -> float:
        """How long to wait after attempt number `attempt`, from 1 on. A store that asks for it is given more time."""
        doublings = min(attempt - 1 + (_SLOW_DOWN_STEPS if is_slow_down else 0), 30)
        longest = min(self.longest_wait_seconds, self.first_wait_seconds * 2.0**doublings)
        return longest * random.uniform(0.5, 1.0)


def with_retries(
    call: Callable[[], Result],
    *,
    what: Callable[[], str],
    policy: RetryPolicy,
    on_break: Callable[[], None] = lambda: None,
) -> Result:
    """Call until it succeeds, fails for good, or the time is over.

    `what` names object and range for the error. `on_break` is called when connections made before are of no use.

    Raises:
        ObjectMissingError: the store has no such object, or none at this range (404, 416).
        ObjectAccessError: the store refuses the credentials (401, 403), or there are none.
        ObjectChangedError: the object is another one than the one asked for (412).
        FileExistsError: the object was to be created, and is there.
        ObjectStoreError: the store cannot be reached, or keeps failing.
    """
    began, attempt, in_a_row = time.monotonic(), 0, 0
    first_failed: float | None = None
    last = ""
    while True:
        attempt += 1
        try:
            try:
                return call()
            except BaseException as error:
                failure = classified(error, what=what())
                if failure is None:
                    raise
        except BaseException as raised:
            forget_context(raised)  # Ctrl-C is told once a request is over, and may come upon its error
            raise
        # Outside of `except`, so that the error has no context: the text of obstore's has hosts and signed URLs.
        if not isinstance(failure, Passing):
            raise failure
        now = time.monotonic()
        first_failed = now if first_failed is None else first_failed
        in_a_row = in_a_row + 1 if failure.text == last else 1
        last = failure.text
        wait = policy.wait_seconds(attempt, is_slow_down=failure.is_slow_down)
        is_final = failure.max_attempts is not None and in_a_row >= failure.max_attempts
        if is_final or now - first_failed + wait > policy.max_seconds:
            raise failure.final(
                f"{what()}: {failure.text}; gave up after {counted(attempt, 'attempt')} in "
                f"{now - began:.0f} s"
            )
        if failure.is_break:
            on_break()
        time.sleep(wait)
