"""Measurements in processes of their own: memory is seen from outside, and no failure goes unsaid."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
from frame_cache_tools.bench_process import SourceFailedError, anonymous_bytes, measure_in_process
from frame_cache_tools.bench_slices import Slice, SliceRule

RULE = SliceRule(seconds=0.0)


@dataclass(frozen=True, kw_only=True)
class Allocates:
    """Holds memory for a while, here or in a process below."""

    num_bytes: int
    below: bool = False

    def measure(self, rule):
        code = (
            f"import time; held = bytearray(b'x') * {self.num_bytes}; print(1, flush=True); time.sleep(0.3)"
        )
        if self.below:
            child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            child.communicate()
        else:
            held = np.ones(self.num_bytes, np.uint8)
            time.sleep(0.3)
            del held
        return Slice(images=3, seconds=1.5, seconds_to_first_batch=0.25)


@dataclass(frozen=True, kw_only=True)
class Fails:
    how: str

    def measure(self, rule):
        if self.how == "dies":
            os._exit(7)
        if self.how == "lacks":
            raise ModuleNotFoundError("it needs this: pip install that")
        raise ValueError("a wrong value")


@dataclass(frozen=True, kw_only=True)
class TellsParent:
    def measure(self, rule):
        return Slice(images=os.getpid(), seconds=1.0, seconds_to_first_batch=None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_is_that_over_the_interpreter_with_torch():
    measured = measure_in_process(Allocates(num_bytes=80_000_000), RULE)
    assert 79e6 <= measured.peak_anonymous_bytes < 110e6
    assert (measured.images, measured.seconds, measured.seconds_to_first_batch) == (3, 1.5, 0.25)
    # A process below starts from nothing, and what it holds less than the interpreter is no debt.
    below = measure_in_process(Allocates(num_bytes=600_000_000, below=True), RULE)
    assert 100e6 < below.peak_anonymous_bytes < 650e6
    assert measure_in_process(Allocates(num_bytes=1), RULE).peak_anonymous_bytes < 30e6
    assert anonymous_bytes(os.getpid()) > 10e6


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("dies", "its process ended with exit code 7"),
        ("lacks", "it needs this: pip install that"),
        ("raises", "ValueError: a wrong value"),
    ],
)
def test_a_failure_says_what_it_was(how, said):
    with pytest.raises(SourceFailedError) as raised:
        measure_in_process(Fails(how=how), RULE)
    assert str(raised.value) == said


def test_every_measurement_has_a_process_of_its_own_and_leaves_none():
    pids = {measure_in_process(TellsParent(), RULE).images for _ in range(2)}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert anonymous_bytes(pids.pop()) is None


def test_a_process_that_is_gone_has_no_memory():
    assert anonymous_bytes(2**22 + 1) is None
