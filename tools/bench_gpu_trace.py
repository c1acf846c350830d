"""What torch's profiler saw on the GPU: bytes that were copied each way, and how long kernels ran.

Read from the trace that it exports: copies are events of the category `gpu_memcpy`, named such as
`Memcpy HtoD (Pinned -> Device)`, with their `bytes`; kernels are of the category `kernel`. Times are in microseconds.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

_COPY: Final = re.compile(r"Memcpy (\w+)(?: \((\w+) -> (\w+)\))?")
_BUSY: Final = ("kernel", "gpu_memset")

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Bytes and number of copies each way."""

    num_bytes: dict[str, int] = field(default_factory=dict)
    """By direction: `HtoD`, `DtoH`, `DtoD`."""
    num_copies: dict[str, int] = field(default_factory=dict)
    pageable_bytes: int = 0
    """Of those, from or to pageable memory of the host."""

    def per_image(self, direction: str, num_images: int) -> float:
        """Bytes an image."""
        return self.num_bytes.get(direction, 0) / num_images


def count_copies(events: Iterable[Event]) -> Copies:
    """All copies of a trace.

    >>> count_copies([{"cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "args": {"bytes": 8}}]).num_bytes
    {'HtoD': 8}
    """
    num_bytes: dict[str, int] = defaultdict(int)
    num_copies: dict[str, int] = defaultdict(int)
    pageable = 0
    for event in events:
        found = _COPY.match(str(event.get("name"))) if event.get("cat") == "gpu_memcpy" else None
        if found is None:
            continue
        size = int(event.get("args", {}).get("bytes", 0))
        num_bytes[found[1]] += size
        num_copies[found[1]] += 1
        pageable += size if "Pageable" in (found[2], found[3]) else 0
    return Copies(num_bytes=dict(num_bytes), num_copies=dict(num_copies), pageable_bytes=pageable)


def kernel_share(events: Iterable[Event]) -> float | None:
    """Share of the time from the first kernel to the last in which at least one ran; None without kernels.

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


def read_trace(path: Path) -> Sequence[Event]:
    """Events of an exported trace."""
    # Names of kernels may hold what strict JSON does not allow.
    text = path.read_text(encoding="utf-8", errors="replace")
    events: Sequence[Event] = json.loads(text, strict=False)["traceEvents"]
    return events


def profile_gpu(action: Callable[[], None], trace: Path) -> Sequence[Event]:
    """What happened on the GPU while `action` ran, all that it queued included; `trace` is written and removed."""
    is_gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU]) as profiler:
        action()
        if is_gpu:
            torch.cuda.synchronize()
    profiler.export_chrome_trace(str(trace))
    try:
        return read_trace(trace)
    finally:
        trace.unlink(missing_ok=True)
