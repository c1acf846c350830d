"""Python in a process that may execute no new code, as systemd's `MemoryDenyWriteExecute=` forbids it."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

_PR_SET_MDWE = 65
"""Of `prctl`, since Linux 6.3."""
_FORBIDDEN = f"""
import ctypes
ctypes.CDLL(None).prctl({_PR_SET_MDWE}, *map(ctypes.c_ulong, (1, 0, 0, 0)))
"""


def run_without_new_code(code: str, *arguments: Path) -> bytes:
    """What `code` prints. Skips the test where the system cannot forbid new code; fails it if the process does."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None or prctl(_PR_SET_MDWE + 1, *map(ctypes.c_ulong, (0, 0, 0, 0))) < 0:  # asks for the state
        pytest.skip("this system cannot forbid new code")
    done = subprocess.run(
        [sys.executable, "-c", _FORBIDDEN + code, *arguments], stdout=subprocess.PIPE, timeout=120
    )
    assert done.returncode == 0
    return done.stdout
