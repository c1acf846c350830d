"""Which failures of an object store are tried again, how often, and what is said of the others."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from frame_store.errors import (
    ObjectAccessError,
    ObjectChangedError,
    ObjectMissingError,
    ObjectStoreError,
)
from frame_store.shared import counted

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long a request is tried. The waits double, and each is drawn between half of it and all of it (jitter)."""

    max_seconds: float = 90.0
    """From the first attempt; no attempt begins after it."""
    first_wait_seconds: float = 0.1
    longest_wait_seconds: float = 5.0
    connect_seconds: float = 5.0
    """Of each attempt: to connect."""
    stall_seconds: float = 15.0
    """Of each attempt: without any byte."""
    attempt_seconds: float = 60.0
    """Of each attempt: in all."""

    def wait_seconds(self, attempt: int) -> float:
        """How long to wait after attempt number `attempt`, from 1 on."""
        longest = min(self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** min(attempt - 1, 30))
        return longest * random.uniform(0.5, 1.0)


class TruncatedError(Exception):
    """Fewer bytes came than were asked for."""


_STATUS: Final = re.compile(r"(?:status(?: code)?:? |HTTP )\(?(\d{3})\b")


def with_retries(call: Callable[[], Result], *, what: str, policy: RetryPolicy) -> Result:
    """Call until it succeeds, fails for good, or the time is over. `what` names object and range for the error.

    Raises:
        ObjectMissingError: the store has no such object, or none at this range (404, 416).
        ObjectAccessError: the store refuses the credentials (401, 403), or there are none.
        ObjectChangedError: the object is another one than the one asked for (412).
        FileExistsError: the object was to be created, and is there.
        ObjectStoreError: the store cannot be reached, or keeps failing.
    """
    began, attempt = time.monotonic(), 0
    while True:
        attempt += 1
        try:
            return call()
        except Exception as error:
            failure = classified(error, what=what)
            if failure is None:
                raise
        if not isinstance(failure, str):
            raise failure from None  # the text of obstore's error has hosts, and may have signed URLs
        wait = policy.wait_seconds(attempt)
        if time.monotonic() - began + wait > policy.max_seconds:
            seconds = time.monotonic() - began
            raise ObjectStoreError(
                f"{what}: {failure}; gave up after {counted(attempt, 'attempt')} in {seconds:.0f} s; "
                "the same command goes on where it stopped"
            ) from None
        time.sleep(wait)


def classified(error: Exception, *, what: str) -> "str | Exception | None":  # noqa: PLR0911
    """A text for a failure that may pass; an error of ours for one that does not; None for no failure of a store."""
    if isinstance(error, TruncatedError):
        return str(error)
    from obstore import exceptions as of_obstore

    if isinstance(error, of_obstore.NotFoundError | FileNotFoundError):
        return ObjectMissingError(f"{what}: is not there (404)")
    if isinstance(error, of_obstore.AlreadyExistsError):
        return FileExistsError(f"{what}: is there already")
    if isinstance(error, of_obstore.PreconditionError):
        return ObjectChangedError(f"{what}: is another object than it was (412); it was replaced meanwhile")
    if isinstance(
        error, of_obstore.PermissionDeniedError | of_obstore.UnauthenticatedError | PermissionError
    ):
        return _access_error(what, error)
    if not isinstance(error, of_obstore.BaseError | OSError):
        return None
    return _by_status(str(error), what)


def _by_status(text: str, what: str) -> "str | Exception":  # noqa: PLR0911
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    if status == 404:
        return ObjectMissingError(f"{what}: is not there (404)")
    if status == 416:
        return ObjectMissingError(
            f"{what}: the object ends before this range (416); it was replaced by a shorter one"
        )
    if status in {401, 403}:
        return _access_error(what, Exception(text))
    if status is not None and 400 <= status < 500 and status not in {408, 409, 425, 429}:
        if "Expired" in text:
            return _access_error(what, Exception(text))
        return ObjectStoreError(f"{what}: the store refuses the request (HTTP {status})")
    if status is not None:
        return f"the store answers HTTP {status}{' (slow down)' if status in {429, 503} else ''}"
    lowered = text.lower()
    for sign, meaning in (
        ("connection refused", "connection refused"),
        ("dns error", "the name of the store is not known to this machine"),
        ("timed out", "timed out"),
        ("timeout", "timed out"),
        ("missing", "credentials or region are missing"),
        ("credential", "no credentials could be had"),
    ):
        if sign in lowered:
            return meaning
    return "the connection broke"


def _access_error(what: str, error: Exception) -> ObjectAccessError:
    expired = (
        "the credentials have expired" if "xpired" in str(error) else "the store refuses the credentials"
    )
    return ObjectAccessError(
        f"{what}: {expired} (HTTP 401 or 403); give those that may do this, as the environment has them "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or a profile)"
    )
