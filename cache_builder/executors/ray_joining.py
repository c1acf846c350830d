"""Whether a Ray cluster can be joined. Another process tries it first, because Ray itself may try for hours."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Final

from cache_builder.errors import MachineError

AUTOMATIC: Final = "auto"
"""Ray's word for the cluster of `ray start` on this machine. For it alone Ray looks for a token unasked."""
_SECONDS_TO_JOIN: Final = 90.0
_JOINED: Final = "joined"
_CODE: Final = f"""
import logging, os, sys, ray
os.environ.pop("RAY_ADDRESS", None)
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except Exception as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
print({_JOINED!r}, flush=True)
"""
_OF_TOKENS: Final = ("Unauthenticated", "AuthenticationError", "InvalidAuthToken")
_ASKS_FOR_TOKEN: Final = (
    "it asks for a token, and this process has none or another one; set RAY_AUTH_MODE=token, and give the token in "
    "RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"
)
_MUST_AGREE: Final = (
    "Ray and Python must have the same versions on all machines, "
    "and this machine must be one of the cluster's"
)


def require_joinable(address: str, whence: str, *, seconds: float = _SECONDS_TO_JOIN) -> None:
    """Join the cluster at `host:port`, or at `AUTOMATIC`, in another process, which ends.

    `whence` says in messages where the address stands. What Ray prints is not told: it names hosts.

    Raises:
        MachineError: the cluster asks for a token, runs another version, or does not answer as Ray within `seconds`.
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAY_USAGE_STATS_ENABLED": "0"},
    ) as child:
        try:
            out, said = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            out, said = None, ""
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if out is not None and _JOINED in out.split():
        return
    raise MachineError(f"the Ray cluster {whence} cannot be joined: {_why_not(out, said, seconds)}")


def _why_not(out: str | None, said: str, seconds: float) -> str:
    if out is None:
        return f"what listens there does not answer as Ray within {seconds:.0f} s; give the address of a cluster's head"
    if any(word in said for word in _OF_TOKENS):
        return _ASKS_FOR_TOKEN
    last = said.strip().rpartition("\n")[2].partition(":")[0]
    name = f" ({last})" if last.isidentifier() else ""
    return f"Ray refuses{name}; {_MUST_AGREE}"
