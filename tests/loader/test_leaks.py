"""No thread, file, map or memory leaks after many epochs, early breaks and killed consumers."""

import gc
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

import frame_store
from loader import Augmentation, ColorJitter, FrameLoader
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module", params=list(GOLDEN_ENCODINGS))
def store(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "cache"
    write_store(path, *GOLDEN_ENCODINGS[request.param], golden_frames(request.param))
    return frame_store.open_store(path)


def held():
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "bytes": sum(int(status[name].split()[0]) << 10 for name in ("RssAnon", "RssShmem")),
    }


def assert_nothing_is_left(before, *, num_bytes=3 * MEBIBYTE):
    after = held()
    # Threads and files of earlier tests may go meanwhile.
    assert after["threads"] <= before["threads"] and after["files"] <= before["files"]
    assert after["bytes"] - before["bytes"] < num_bytes


def test_a_thousand_epochs(store):
    loader = FrameLoader(store, batch_size=3, remainder="uneven", num_threads=2)
    for _ in range(50):
        list(loader)
    before = held()
    for _ in range(1000 // len(GOLDEN_ENCODINGS)):  # a thousand over all encodings
        assert sum(len(batch) for batch in loader) == len(store)
    assert_nothing_is_left(before)


def test_two_hundred_early_breaks(store):
    # 16-bit levels have no colours, and stay whole numbers.
    augment = Augmentation(jitter=ColorJitter(brightness=0.5))
    if store.frame_dtype == np.uint16:
        augment = Augmentation(flip_probability=0.5)
    for loader in (
        FrameLoader(store, batch_size=2, num_threads=2),
        FrameLoader(store, batch_size=2, augment=augment),
    ):
        for number in range(120):
            if number == 20:
                before = held()
            batches = iter(loader)
            for _ in range(number % 3 + 1):
                next(batches)
            if number % 2:
                batches.close()
            del batches
        assert_nothing_is_left(before)


def test_fifty_killed_consumers(store):
    loader = FrameLoader(store, batch_size=2, num_threads=2)
    next(iter(loader))
    before = held()
    for _ in range(50 // len(GOLDEN_ENCODINGS) + 1):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            while True:
                for _ in loader:
                    os.write(writing, b".")
        os.close(writing)
        assert os.read(reading, 1) == b"."
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        while os.read(reading, 1 << 16):
            pass
        os.close(reading)
    assert_nothing_is_left(before)
    assert sum(len(batch) for batch in loader) == len(store)


def test_a_consumer_that_raises(store):
    loader = FrameLoader(store, batch_size=2)

    def consume():
        for _ in loader:
            raise KeyboardInterrupt

    for number in range(60):
        if number == 10:
            before = held()
        with pytest.raises(KeyboardInterrupt):
            consume()
    assert_nothing_is_left(before)
