"""Made-up coordinates, ordered in a process of their own."""

import time
import tracemalloc

import numpy as np

from frame_store.content_order import NUM_AXES, bisected


def order_points(num_points: int, kind: str) -> str:
    """Order made-up coordinates; a line with seconds of CPU and the memory of the process."""
    rng = np.random.default_rng(0)
    points = np.empty((num_points, NUM_AXES), np.int16)
    centres = rng.normal(0, 600, (4000, NUM_AXES))
    for first in range(0, num_points, 1 << 20):
        some = points[first : first + (1 << 20)]
        if kind == "random":
            values = rng.normal(0, 400, some.shape)
        else:
            values = centres[rng.integers(0, len(centres), len(some))] + rng.normal(0, 20, some.shape)
        some[:] = np.rint(values).clip(-2048, 2047)
    tracemalloc.start()
    started, cpu = time.monotonic(), time.process_time()
    order = bisected(points)
    seconds, of_cpu = time.monotonic() - started, time.process_time() - cpu
    _, peak = tracemalloc.get_traced_memory()
    assert (np.bincount(order, minlength=num_points) == 1).all()
    return (
        f"{num_points:,} {kind} points of {NUM_AXES} axes: ordered in {seconds:.1f} s ({of_cpu:.1f} s of CPU), "
        f"{points.nbytes / 1e6:.0f} MB of coordinates and {peak / 1e6:.0f} MB more"
    )
