"""Who waits for what, in order: `CudaStreams` on a torch.cuda that only writes down what is asked of it."""

import threading
from contextlib import contextmanager

import pytest
import torch

from loader.cuda_streams import CudaStreams

DEVICE = torch.device("cuda:1")


@pytest.fixture
def log(monkeypatch):
    """What the fake streams, events and tensors were asked for."""
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
    streams = CudaStreams(DEVICE, num_streams=1)
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
    streams = CudaStreams(DEVICE, num_streams=1)
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
    streams = CudaStreams(DEVICE, num_streams=2)
    with pytest.raises(RuntimeError), streams.own_stream():
        raise RuntimeError
    assert [own_stream_name(streams) for _ in range(4)] == ["own 2", "own 1", "own 2", "own 1"]
    assert torch.cuda.current_stream(DEVICE).name == "the caller's"


def test_no_two_threads_share_a_stream(log):
    streams = CudaStreams(DEVICE, num_streams=2)
    barrier, may_end, names = threading.Barrier(3), threading.Event(), []

    def hold():
        with streams.own_stream():
            names.append(torch.cuda.current_stream(DEVICE).name)
            barrier.wait(20)
            assert may_end.wait(20)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait(20)
    assert sorted(names) == ["own 1", "own 2"]
    third = threading.Thread(target=lambda: names.append(own_stream_name(streams)))
    third.start()
    third.join(0.05)
    assert third.is_alive()
    may_end.set()
    for thread in (*threads, third):
        thread.join()
    assert len(names) == 3
