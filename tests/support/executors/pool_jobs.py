"""Jobs for a worker pool that do one thing each, and what real ones are guarded against."""

import gc
import os
import resource
import signal
import time
from pathlib import Path

import msgspec
import numpy as np
from frame_cache_tools.report.folder.peek import PeekJob

from cache_builder.executors import JobLimits
from cache_builder.folder_scan.scan_job import CountJob, ScanJob
from cache_builder.jobs.unit_job import UnitJob


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """Returns `value`."""

    value: int
    limits: JobLimits = JobLimits()

    def run(self):
        return self.value


class Hang(msgspec.Struct, frozen=True, kw_only=True):
    """Never ends."""

    limits: JobLimits

    def run(self):
        while True:
            time.sleep(1)


class TakeMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for memory and returns how much it got."""

    num_bytes: int
    limits: JobLimits

    def run(self):
        return np.empty(self.num_bytes, np.uint8).nbytes


class MemoryLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Returns the process's limit."""

    limits: JobLimits = JobLimits()

    def run(self):
        return resource.getrlimit(resource.RLIMIT_DATA)[0]


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """Returns whether the garbage collector works, and how many objects it leaves alone."""

    limits: JobLimits = JobLimits()

    def run(self):
        return gc.isenabled(), gc.get_freeze_count()


class KillItself(msgspec.Struct, frozen=True, kw_only=True):
    """Ends its process."""

    limits: JobLimits = JobLimits()

    def run(self):
        os.kill(os.getpid(), signal.SIGKILL)


class KillItselfOnce(msgspec.Struct, frozen=True, kw_only=True):
    """Ends its process, unless it has left its mark before."""

    mark: Path
    limits: JobLimits = JobLimits()

    def run(self):
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"


class Unpicklable(msgspec.Struct, frozen=True, kw_only=True):
    """Cannot be unpickled in the worker."""

    limits: JobLimits = JobLimits()

    def run(self):
        return None

    def __reduce__(self):
        return (_refuse, ())


def _refuse():
    raise ImportError("no such module there")


SLOW_VIDEO = "slow"
"""In the name of videos that the jobs below never get done with."""


class _HangsAtSlowVideos:
    @property
    def limits(self):
        return JobLimits(seconds=0.3) if self._is_slow else super().limits

    def run(self):
        while self._is_slow:
            time.sleep(1)
        return super().run()

    @property
    def _is_slow(self):
        return SLOW_VIDEO in self.path.name


class HangingScanJob(_HangsAtSlowVideos, ScanJob, frozen=True, kw_only=True):
    """Hangs at videos that are named slow."""


class HangingCountJob(_HangsAtSlowVideos, CountJob, frozen=True, kw_only=True, eq=False):
    """Hangs at videos that are named slow."""


class HangingUnitJob(_HangsAtSlowVideos, UnitJob, frozen=True, kw_only=True, eq=False):
    """Hangs at videos that are named slow."""


class CrashOrHang(PeekJob, frozen=True, kw_only=True, eq=False):
    """Looks into a video, and crashes or hangs where it is the video `only`."""

    how: str
    only: str

    @property
    def limits(self):
        return JobLimits(seconds=2.0 if self.name == self.only else 60.0)

    def run(self):
        if self.name == self.only and self.how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while self.name == self.only:
            time.sleep(1)
        return super().run()
