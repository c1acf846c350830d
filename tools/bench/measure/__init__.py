"""How a speed is measured: processes, rounds, slices of time and the budget of a run."""

from frame_cache_tools.bench.measure.budget import Budget, Deadline, LeftOut
from frame_cache_tools.bench.measure.case import LESS, MORE, MOST, BenchCase
from frame_cache_tools.bench.measure.process import (
    Call,
    SourceFailedError,
    TimeUpError,
    call_in_process,
    measure_in_process,
    start_server,
)
from frame_cache_tools.bench.measure.rounds import Rounds, Spread
from frame_cache_tools.bench.measure.schedule import run_rounds
from frame_cache_tools.bench.measure.slices import (
    ImageSource,
    KeepResult,
    Slice,
    SliceRule,
    closing_if_possible,
    count_images,
    measure_batches,
    measure_counters,
    wait_until,
)

__all__ = [
    "LESS",
    "MORE",
    "MOST",
    "BenchCase",
    "Budget",
    "Call",
    "Deadline",
    "ImageSource",
    "KeepResult",
    "LeftOut",
    "Rounds",
    "Slice",
    "SliceRule",
    "SourceFailedError",
    "Spread",
    "TimeUpError",
    "call_in_process",
    "closing_if_possible",
    "count_images",
    "measure_batches",
    "measure_counters",
    "measure_in_process",
    "run_rounds",
    "start_server",
    "wait_until",
]
