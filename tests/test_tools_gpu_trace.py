"""What `gpu_acceptance` reads of the profiler's trace: bytes copied, and the share of kernels."""

import pytest
from frame_cache_tools.gpu_trace import count_copies, kernel_share
from hypothesis import given
from hypothesis import strategies as st


def copied(name, num_bytes):
    return {"ph": "X", "cat": "gpu_memcpy", "name": name, "ts": 1.0, "dur": 2.0, "args": {"bytes": num_bytes}}


def test_copies_of_a_trace_are_summed_by_direction():
    copies = count_copies(
        [
            copied("Memcpy HtoD (Pinned -> Device)", 100),
            copied("Memcpy HtoD (Pageable -> Device)", 20),
            copied("Memcpy DtoH (Device -> Pageable)", 3),
            copied("Memcpy DtoD (Device -> Device)", 7),
            copied("Memcpy PtoP", 9),
            {"ph": "X", "cat": "cuda_runtime", "name": "cudaMemcpyAsync", "args": {"bytes": 1000}},
            {"ph": "X", "cat": "kernel", "name": "Memcpy HtoD look-alike", "args": {"bytes": 1000}},
            {"ph": "M", "name": "process_name"},
        ]
    )
    assert copies.num_bytes == {"HtoD": 120, "DtoH": 3, "DtoD": 7, "PtoP": 9}
    assert copies.num_copies == {"HtoD": 2, "DtoH": 1, "DtoD": 1, "PtoP": 1}
    assert copies.pageable_bytes == 23
    assert copies.per_image("HtoD", 10) == 12.0
    assert copies.per_image("HtoA", 10) == 0.0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), min_size=1, max_size=12))
def test_the_share_of_kernels_is_that_of_the_microseconds_in_which_one_runs(spans):
    events = [{"cat": "kernel", "ts": start, "dur": length} for start, length in spans]
    events.append({"cat": "gpu_memcpy", "ts": 0, "dur": 1000})
    ticks = {tick for start, length in spans for tick in range(start, start + length)}
    whole = max(ticks) + 1 - min(ticks)
    assert kernel_share(events) == pytest.approx(len(ticks) / whole)
    assert kernel_share([events[-1]]) is None
