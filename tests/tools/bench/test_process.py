"""Measurements in processes of their own: memory is read from outside, and every failure is reported."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from frame_cache_tools.bench.measure.process import (
    _PRELOADED,
    SourceFailedError,
    TimeUpError,
    anonymous_bytes,
    call_in_process,
    measure_in_process,
)
from frame_cache_tools.bench.measure.slices import Slice, SliceRule

RULE = SliceRule(seconds=0.0)


@dataclass(frozen=True, kw_only=True)
class Allocates:
    """Holds memory for a while, in the measured process or in a child of it."""

    num_bytes: int
    below: bool = False

    def measure(self, rule, keep):
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

    def measure(self, rule, keep):
        if self.how == "dies":
            os._exit(7)
        if self.how == "lacks":
            raise ModuleNotFoundError("it needs this: pip install that")
        raise ValueError("a wrong value")


@dataclass(frozen=True, kw_only=True)
class TellsParent:
    def measure(self, rule, keep):
        return Slice(images=os.getpid(), seconds=1.0, seconds_to_first_batch=None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_is_that_over_the_interpreter_with_torch():
    measured = measure_in_process(Allocates(num_bytes=80_000_000), RULE)
    assert 79e6 <= measured.peak_anonymous_bytes < 110e6
    assert (measured.images, measured.seconds, measured.seconds_to_first_batch) == (3, 1.5, 0.25)
    # A child starts with little memory. If it holds less than the interpreter, the difference is not subtracted.
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


@pytest.mark.parametrize("name", _PRELOADED)
def test_every_preloaded_module_exists(name):
    """The server skips a module that it cannot import, so a wrong name would count imports as measured time."""
    if name.startswith("torchvision"):
        pytest.importorskip("torchvision")
    assert importlib.util.find_spec(name) is not None


def test_a_process_that_is_gone_has_no_memory():
    assert anonymous_bytes(2**22 + 1) is None


@dataclass(frozen=True, kw_only=True)
class Hangs:
    """Starts a child that never ends, writes its number, and never ends itself."""

    folder: Path
    tells: bool = True

    def measure(self, rule, keep):
        below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        (self.folder / "pids").write_text(f"{os.getpid()} {below.pid}")
        Path(tempfile.mkdtemp()).joinpath("left behind").write_text("")
        if self.tells:
            keep(Slice(images=1, seconds=1.0, seconds_to_first_batch=0.5, is_cut=True))
            keep(Slice(images=5, seconds=2.0, seconds_to_first_batch=0.5, is_cut=True))
        time.sleep(1000)


def is_gone(pid):
    """Whether a process has ended, even if its parent has not collected it yet."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in {"Z", "X"}:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("tells", [True, False])
def test_what_hangs_is_killed_with_all_below_it_and_gives_what_it_told_last(tmp_path, tells):
    temp = tmp_path / "temp"
    temp.mkdir()
    call_in_process(os.getpid)  # the server has made its imports
    started = time.monotonic()
    source = Hangs(folder=tmp_path, tells=tells)
    measured = None
    with suppress(TimeUpError):
        measured = measure_in_process(source, RULE, seconds=2.0 if tells else 1.0, temp_folder=temp)
    assert time.monotonic() - started < 60  # and not 1000
    if tells:
        assert (measured.images, measured.seconds, measured.is_cut) == (5, 2.0, True)
        assert measured.peak_anonymous_bytes is not None
    else:
        assert measured is None
    assert all(is_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())
    assert len(list(temp.glob("*/left behind"))) == 1  # and not in /tmp, where it would stay


def test_a_function_gives_its_result_or_what_it_raised():
    assert call_in_process(partial(divmod, 7, 4)) == (1, 3)
    with pytest.raises(ZeroDivisionError):
        call_in_process(partial(divmod, 7, 0))
    with pytest.raises(TimeUpError, match="cut off after 1 s"):
        call_in_process(partial(time.sleep, 1000), seconds=1.0)
    with pytest.raises(SourceFailedError, match="exit code 3"):
        call_in_process(partial(os._exit, 3))
