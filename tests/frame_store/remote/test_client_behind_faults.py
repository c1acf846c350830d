"""Requests through a proxy that drops, delays, cuts off, repeats and refuses them: what comes back is right."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from frame_store.errors import ObjectStoreError
from frame_store.remote import ObjectClient, RemoteUrl, RetryPolicy
from tests.support.object_stores import Faults, faulty_proxy

SHORT = RetryPolicy(
    max_seconds=20, first_wait_seconds=0.005, longest_wait_seconds=0.05, connect_seconds=1, stall_seconds=2
)
DATA = bytes(range(256)) * 800


@pytest.fixture
def behind(seaweed, bucket_folder, monkeypatch):
    """Client and proxy before the store: `behind(faults, seed)`."""
    started = []

    def start(faults, seed=0, policy=SHORT):
        context = faulty_proxy(seaweed, faults, seed=seed)
        proxy = context.__enter__()
        started.append(context)
        for name, value in proxy.store(seaweed).environment.items():
            monkeypatch.setenv(name, value)
        return ObjectClient(RemoteUrl.of(bucket_folder), policy=policy), proxy

    yield start
    for context in started:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("seed", range(2))
def test_reads_lists_and_writes_are_right(behind, seed):
    client, proxy = behind(Faults.of_all_kinds(0.4, delay_seconds=0.02), seed)

    def write(number):
        key = f"{number:02d}"
        if number % 2:
            client.create(key, key.encode() + DATA)
        else:
            client.put(key, key.encode() + DATA)
        return key

    def read(number):
        key = f"{number % 24:02d}"
        content = key.encode() + DATA
        start = number * 700
        assert bytes(client.get_range(key, start, 13_000)) == content[start : start + 13_000]
        filled = bytearray(len(content))
        client.get_chunks(key, start, 90_000, partial(fill, filled))
        assert filled[start : start + 90_000] == content[start : start + 90_000]
        assert not any(filled[:start] + filled[start + 90_000 :])
        starts = [start, start + 20_000]
        found = client.get_ranges(key, starts, [100, 5])
        assert [bytes(each) for each in found] == [
            content[starts[0] :][:100],
            content[starts[1] :][:5],
        ]

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(write, range(24)))
        list(pool.map(read, range(120)))
    assert [each.key for each in client.objects()] == keys
    assert client.get("07", max_bytes=1 << 20) == b"07" + DATA
    client.delete(keys[:20])
    assert [each.key for each in client.objects()] == keys[20:]
    assert set(proxy.counts.faults) == set(Faults.__dataclass_fields__) - {"delay_seconds"}


def fill(filled, data, at):
    filled[at : at + len(data)] = data


def test_an_object_is_created_though_the_answer_is_lost(behind):
    client, proxy = behind(Faults(drop_after=0.5), seed=1)
    for number in range(10):
        assert client.create(f"{number}", b"%d" % number).num_bytes == len(b"%d" % number)
    assert proxy.counts.faults["drop_after"] > 2
    for number in range(10):
        with pytest.raises(FileExistsError):
            client.create(f"{number}", b"of somebody else")


def test_of_writers_that_create_one_object_one_does_though_answers_are_lost(behind):
    client, _ = behind(Faults(drop_after=0.3, busy=0.2), seed=2)

    def create(key, number):
        try:
            client.create(key, b"written by %d" % number)
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(4) as pool:
        for race in range(5):
            winners = [n for n in pool.map(create, [f"{race}"] * 4, range(4)) if n is not None]
            assert len(winners) == 1
            assert client.get(f"{race}", max_bytes=100) == b"written by %d" % winners[0]


def test_work_goes_on_when_a_dead_store_comes_back(behind):
    client, proxy = behind(Faults())
    client.put("one", DATA)
    stop = threading.Event()
    num_reads = []

    def read():
        while not stop.is_set():
            assert bytes(client.get_range("one", 1000, 2000)) == DATA[1000:3000]
            num_reads.append(time.monotonic())

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        time.sleep(0.2)
        with proxy.dead():
            time.sleep(0.5)
        back = time.monotonic()
        time.sleep(0.3)
        stop.set()
        for reader in readers:
            reader.result(timeout=10)
    assert any(moment < back - 0.5 for moment in num_reads)
    assert any(moment > back for moment in num_reads)


def test_a_store_that_stays_dead_is_an_error_in_bounded_time(behind):
    policy = RetryPolicy(max_seconds=1, first_wait_seconds=0.05, longest_wait_seconds=0.1)
    client, proxy = behind(Faults(), policy=policy)
    client.put("one", DATA)
    proxy.stop()
    began = time.monotonic()
    with pytest.raises(
        ObjectStoreError,
        match=r"one: 5 bytes at byte 7: connection refused; gave up after \d+ attempts in 1 s",
    ):
        client.get_range("one", 7, 5)
    assert time.monotonic() - began < 5


def test_a_large_file_is_put_in_parts_and_a_part_that_fails_is_sent_again(behind, tmp_path, monkeypatch):
    monkeypatch.setattr("frame_store.remote.requests.client._LARGEST_PUT_BYTES", 1 << 20)
    monkeypatch.setattr("frame_store.remote.requests.client._PART_BYTES", 5 << 20)
    client, proxy = behind(Faults(drop_before=0.2, busy=0.2), seed=5)
    content = os.urandom(12 << 20)
    (tmp_path / "file").write_bytes(content)
    assert client.put_file("large", tmp_path / "file").num_bytes == len(content)
    assert proxy.counts.faults["busy"] + proxy.counts.faults["drop_before"] > 0
    assert proxy.counts.methods["POST"] >= 2  # the parts are announced, and joined
    assert proxy.counts.bytes_in < 1.5 * len(content)
    assert client.get("large", max_bytes=len(content)) == content
