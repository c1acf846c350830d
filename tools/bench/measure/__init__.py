"""How a speed is measured: processes, rounds, slices of time and the budget of a run."""

from frame_cache_tools.bench.measure.budget import Budget, Deadline, LeftOut
from frame_cache_tools.bench.measure.process import (
    ImageSource,
    SourceFailedError,
    TimeUpError,
    call_in_process,
    measure_in_process,
    start_server,
)
from frame_cache_tools.bench.measure.rounds import Rounds, Spread, rotated_order
from frame_cache_tools.bench.measure.schedule import run_rounds
from frame_cache_tools.bench.measure.slices import (
    Slice,
    SliceRule,
    Tell,
    closing_if_possible,
    count_images,
    measure_batches,
    measure_counters,
    wait_until,
)

__all__ = [
    "Budget",
    "Deadline",
    "ImageSource",
    "LeftOut",
    "Rounds",
    "Slice",
    "SliceRule",
    "SourceFailedError",
    "Spread",
    "Tell",
    "TimeUpError",
    "call_in_process",
    "closing_if_possible",
    "count_images",
    "measure_batches",
    "measure_counters",
    "measure_in_process",
    "rotated_order",
    "run_rounds",
    "start_server",
    "wait_until",
]
