import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest
import torch

from loader.batches.threads import ReaderThreads


def test_results_and_errors_reach_whoever_waits():
    threads = ReaderThreads(2)
    readings = [threads.submit(lambda number=number: 6 // number) for number in (1, 0, 2)]
    assert readings[0].result() == 6 and readings[2].result() == 3
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            readings[1].result()
    threads.close()


def test_closing_cancels_what_has_not_begun_and_waits_for_what_has():
    gate, begun, ended = threading.Event(), threading.Event(), []

    def read():
        begun.set()
        gate.wait(60)
        ended.append(1)

    threads = ReaderThreads(1)
    running, waiting = threads.submit(read), threads.submit(read)
    begun.wait(60)
    closing = threading.Thread(target=threads.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result()
    assert not ended
    gate.set()
    closing.join()
    running.result()
    assert ended == [1]
    threads.close()  # again: nothing left to do


def test_torch_computes_alone_in_the_threads_and_as_before_elsewhere():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads = ReaderThreads(2)
        barrier = threading.Barrier(2, timeout=60)
        readings = [threads.submit(lambda: (barrier.wait(), torch.get_num_threads())[1]) for _ in range(2)]
        assert [reading.result() for reading in readings] == [1, 1]
        assert torch.get_num_threads() == 3
        found = []
        fresh = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert found == [3]
        threads.close()
    finally:
        torch.set_num_threads(num_threads)


def test_a_forgotten_iteration_does_not_keep_the_interpreter_from_ending():
    code = (
        "from loader import FrameLoader; from tests.support.caches.array_store import ArrayStore;"
        "batches = iter(FrameLoader(ArrayStore([400]), batch_size=2)); next(batches); print('last')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert (ended.stdout, ended.stderr) == ("last\n", "")


def test_threads_that_begin_at_once_leave_the_number_of_threads_of_others_alone():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    found = []
    try:
        for _ in range(30):
            ReaderThreads(4).close()
            fresh = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
            fresh.start()
            fresh.join()
        assert {*found, torch.get_num_threads()} == {3}
    finally:
        torch.set_num_threads(num_threads)


def test_a_reader_may_be_the_one_that_closes_its_threads():
    threads = ReaderThreads(2)
    threads.submit(threads.close).result()
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("frame-loader")]
    for thread in readers:
        thread.join(60)
        assert not thread.is_alive()
