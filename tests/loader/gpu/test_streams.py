"""The order of waits and copies of `CudaStreams`, on a fake torch.cuda that only records its calls."""

import threading
from contextlib import contextmanager

import pytest
import torch

from loader.gpu.streams import NUM_STREAMS, CudaStreams

DEVICE = torch.device("cuda:1")


@pytest.fixture
def log(monkeypatch):
    """The calls of the fake streams, events and tensors."""
    log, present, made = [], threading.local(), []

    class Stream:
        def __init__(self, device):
            assert device == DEVICE
            made.append(self)
            self.name = f"own {len(made)}"

        def wait_event(self, event):
            log.append(f"{self.name} waits for {event.name}")

    class Event:
        def __init__(self, *, blocking=False):
            self.name = f"event {'(blocking) ' if blocking else ''}"

        def record(self, stream):
            self.name += f"on {stream.name}"
            log.append(f"record {self.name}")

        def synchronize(self):
            log.append(f"host waits for {self.name}")

    callers = Stream(DEVICE)
    callers.name = "the caller's"

    @contextmanager
    def stream(new):
        old, present.stream = getattr(present, "stream", callers), new
        try:
            yield
        finally:
            present.stream = old

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: getattr(present, "stream", callers))
    made.clear()
    return log


class Tensor:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def record_stream(self, stream):
        self.log.append(f"{self.name} is kept for {stream.name}")


def test_the_stream_that_takes_over_waits_and_its_memory_is_kept(log):
    streams = CudaStreams(DEVICE)
    with streams.own_stream():
        take_over = streams.ready(Tensor(name, log) for name in ("frames", "ids"))
    assert log == ["record event on own 1"]
    log.clear()
    take_over()
    assert log == [
        "the caller's waits for event on own 1",
        "frames is kept for the caller's",
        "ids is kept for the caller's",
    ]


def test_draining_waits_for_the_own_stream_alone(log):
    streams = CudaStreams(DEVICE)
    with streams.own_stream():
        streams.drain()
    assert log == [
        "record event (blocking) on own 1",
        "host waits for event (blocking) on own 1",
    ]


def own_stream_name(streams):
    with streams.own_stream():
        return torch.cuda.current_stream(DEVICE).name


def test_streams_take_turns_and_come_back_after_an_error(log):
    streams = CudaStreams(DEVICE)
    with pytest.raises(RuntimeError), streams.own_stream():
        raise RuntimeError
    names = [own_stream_name(streams) for _ in range(2 * NUM_STREAMS)]
    assert names == [f"own {1 + number % NUM_STREAMS}" for number in range(1, 2 * NUM_STREAMS + 1)]
    assert torch.cuda.current_stream(DEVICE).name == "the caller's"


def test_no_two_threads_share_a_stream_and_none_waits_for_one(log):
    streams, num_threads = CudaStreams(DEVICE), NUM_STREAMS + 3
    barrier, names = threading.Barrier(num_threads, timeout=20), []

    def hold():
        with streams.own_stream():
            names.append(torch.cuda.current_stream(DEVICE).name)
            barrier.wait()  # raises where one of them does not come here

    for _ in range(2):
        threads = [threading.Thread(target=hold) for _ in range(num_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expected = [f"own {number}" for number in range(1, num_threads + 1)]
    assert sorted(names[:num_threads]) == sorted(names[num_threads:]) == expected
