"""Events on the GPU, from the trace that torch's profiler exports. Times are in microseconds.

A kernel is an event of the category `kernel`. The profiler does not see what the driver uploads for the video decoder
(packets).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_BUSY: Final = ("kernel", "gpu_memset")

Event = Mapping[str, Any]


def kernel_share(events: Iterable[Event]) -> float | None:
    """Share of the time from the first kernel to the last in which a kernel ran; None without kernels.

    >>> kernel_share([{"cat": "kernel", "ts": start, "dur": 4} for start in (0, 2, 8)])
    0.8333333333333334
    """
    spans = sorted(
        (float(event["ts"]), float(event["ts"]) + float(event.get("dur", 0)))
        for event in events
        if event.get("cat") in _BUSY
    )
    if not spans:
        return None
    busy, end = 0.0, spans[0][0]
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    whole = end - spans[0][0]
    return busy / whole if whole > 0 else None


def profile_gpu(action: Callable[[], object], trace: Path) -> Sequence[Event]:
    """Events on the GPU during `action` and the work that it queued. The file `trace` is written and removed."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    is_gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU]) as profiler:
        action()
        if is_gpu:
            torch.cuda.synchronize()
    profiler.export_chrome_trace(str(trace))
    try:
        # Names of kernels may contain characters that strict JSON does not allow.
        text = trace.read_text(encoding="utf-8", errors="replace")
        events: Sequence[Event] = json.loads(text, strict=False)["traceEvents"]
        return events
    finally:
        trace.unlink(missing_ok=True)
