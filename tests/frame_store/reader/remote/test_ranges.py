"""Frames by ranged requests: together, at once, again where they are wrong, ahead where they are announced."""

import threading

import numpy as np
import pytest

from frame_store import open_store
from frame_store.errors import ObjectMissingError, ObjectStoreError, StoreDamagedError
from frame_store.reader.places import Place
from frame_store.reader.remote import asked, ranges, shards
from frame_store.reader.remote.announced import AnnouncedRanges
from frame_store.reader.remote.ranges import FrameRange, ranges_of
from frame_store.remote import RequestThreads

URL = "s3://bkt/cache"


@pytest.fixture
def store(client, put, here):
    put("wds-raw")
    with open_store(URL, folder=here) as store:
        store.read_frames(range(len(store)))  # the index is here now
        client.requests.clear()
        yield store


@pytest.fixture
def local(golden_caches):
    return open_store(golden_caches / "wds-raw")


def requests_of_shards(client):
    return sum(number for name, number in client.requests.items() if name.endswith(".tar"))


def place(frame_id, start, num_bytes=10, shard_id=0):
    return Place(frame_id, shard_id, start, num_bytes, 0)


def test_neighbours_are_one_request_and_gaps_shards_and_long_runs_part_them(monkeypatch):
    monkeypatch.setattr(ranges, "MAX_GAP_BYTES", 5)
    monkeypatch.setattr(ranges, "MAX_RANGE_BYTES", 40)
    places = [
        place(0, 0),
        place(1, 15),
        place(2, 31),
        place(3, 42),
        place(4, 52),
        place(5, 62),
        place(6, 0, shard_id=1),
    ]
    found = [
        ([each.frame_id for each in one.places], one.start, one.num_bytes) for one in ranges_of(places, None)
    ]
    assert found == [([0, 1], 0, 25), ([2, 3, 4], 31, 31), ([5], 62, 10), ([6], 0, 10)]


def test_a_batch_asks_once_for_each_run_of_a_shard(client, store, local):
    ids = [9, 0, 1, 0, 9, 2]
    np.testing.assert_array_equal(store.read_frames(ids), local.read_frames(ids))
    shards_of_ids = {int(shard) for shard in local.rows_of(ids)["shard_id"]}
    assert requests_of_shards(client) == len(shards_of_ids)


def test_a_read_of_more_than_the_bound_keeps_few_bytes_ahead(store, local, monkeypatch):
    monkeypatch.setattr(asked, "MAX_AHEAD_BYTES", 1)
    monkeypatch.setattr(ranges, "MAX_GAP_BYTES", -1)
    ids = np.arange(len(local))[::-1]
    np.testing.assert_array_equal(store.read_frames(ids), local.read_frames(ids))


@pytest.mark.parametrize("is_announced", [False, True])
def test_a_wrong_payload_is_asked_for_once_more(store, local, monkeypatch, client, is_announced):
    get_range, wrong = client.get_range, [1]

    def wrong_once(self, key, start, num_bytes, **options):
        data = get_range(self, key, start, num_bytes)
        return memoryview(b"\x7f" * num_bytes) if wrong and wrong.pop() else data

    monkeypatch.setattr(client, "get_range", wrong_once)
    if is_announced:
        store.prefetch([3])
    np.testing.assert_array_equal(store.read_frames([3]), local.read_frames([3]))
    assert requests_of_shards(client) == 2


def test_a_payload_that_stays_wrong_is_damage(client, store, local):
    path = client.top / "bkt/cache" / store.generations[0].folder / store.common.shards[0].name
    row = local.rows_of([1])[0]
    data = bytearray(path.read_bytes())
    data[row["byte_offset"] + 5] ^= 1
    path.write_bytes(data)
    says = (
        rf"s3://bkt/cache/gen-\w+/shards/000000.tar: frame 1: expected crc32c \w+, found \w+ twice.*, "
        rf"{row['byte_length']} bytes at byte {row['byte_offset']}; run cache-verify on s3://bkt/cache"
    )
    with pytest.raises(StoreDamagedError, match=says):
        store.read_frames([0, 1, 2])
    with pytest.raises(StoreDamagedError, match="frame 1"):
        store.read_encoded([1])
    assert len(store.read_frames([0, 2])) == 2


def test_a_shard_that_is_gone_or_shorter(client, store):
    path = client.top / "bkt/cache" / store.generations[0].folder / store.common.shards[0].name
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ObjectMissingError, match=r"000000\.tar.*open it again"):
        store.read_frames([0])
    path.unlink()
    with pytest.raises(ObjectMissingError, match=r"000000\.tar.*open it again"):
        store.read_frames([0])


def test_announced_frames_are_not_asked_for_again_and_are_taken_once(client, store, local):
    ids = [5, 1, 5, 8]
    assert store.prefetch(ids)
    np.testing.assert_array_equal(store.read_frames(ids), local.read_frames(ids))
    asked = requests_of_shards(client)
    assert store.prefetch([1])
    store.read_frames([1])
    assert requests_of_shards(client) == asked + 1
    store.read_frames([1])
    assert requests_of_shards(client) == asked + 2


def test_an_announced_request_that_failed_is_made_again_by_the_read(client, store, local, monkeypatch):
    get_range = client.get_range

    def fails(self, *args, **options):
        raise ObjectStoreError("gone for a while")

    monkeypatch.setattr(client, "get_range", fails)
    store.prefetch([2])
    with pytest.raises(ObjectStoreError, match="gone for a while"):
        store.read_frames([2])
    store.prefetch([2])
    store._shards()._announced._of_frame[2][0]._done.wait()
    monkeypatch.setattr(client, "get_range", get_range)
    np.testing.assert_array_equal(store.read_frames([2]), local.read_frames([2]))


def test_a_closed_store_drops_what_was_announced_and_reads_on(client, store, local, monkeypatch):
    monkeypatch.setattr(shards, "REQUESTS_AT_ONCE", 1)
    store.close()
    get_range, goes_on = client.get_range, threading.Event()

    def waits(self, *args, **options):
        goes_on.wait()
        return get_range(self, *args)

    monkeypatch.setattr(client, "get_range", waits)
    store.prefetch([0])
    store.prefetch([9])
    old = store._shards()
    reads = threading.Thread(target=lambda: old.read_encoded([]))
    reads.start()
    store.close()
    goes_on.set()
    reads.join()
    np.testing.assert_array_equal(store.read_frames([9, 0]), local.read_frames([9, 0]))


def test_what_is_announced_is_bounded_and_forgotten_after_a_while(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("frame_store.reader.remote.announced.time.monotonic", lambda: now[0])
    announced = AnnouncedRanges(25)
    first, second, third = (FrameRange([place(number, 100 * number)], None) for number in range(3))
    assert announced.add([first, second, third]) == [first, second]
    assert announced.unknown([place(0, 0), place(2, 200)]) == [place(2, 200)]
    assert announced.take([place(0, 0)]) == {0: first} == announced.take([place(0, 0)])
    assert announced.take([place(0, 0)]) == {}
    assert announced.add([third]) == [third]
    now[0] = 61.0
    fourth = FrameRange([place(3, 300, 25)], None)
    assert announced.add([fourth]) == [fourth] and announced.take([place(1, 100)]) == {}


class Noted:
    def __init__(self, name, done, wait=None):
        self.name, self.done, self.wait = name, done, wait

    def make(self):
        if self.wait is not None:
            self.wait.wait()
        self.done.append(self.name)

    def cancel(self):
        self.done.append(f"cancelled {self.name}")


def test_fewer_requests_are_made_at_once_after_a_limit():
    threads, running, most = RequestThreads(4), [], []
    together = threading.Barrier(4)

    class Asked:
        def __init__(self, together=None):
            self.together, self.done = together, threading.Event()

        def make(self):
            running.append(self)
            if self.together is not None:
                self.together.wait(10)
            most.append(len(running))
            running.remove(self)
            self.done.set()

    def all_of(requests):
        threads.submit(requests, urgent=False)
        assert all(request.done.wait(10) for request in requests)

    all_of([Asked(together) for _ in range(4)])
    assert max(most) == 4
    threads.limit(1)
    most.clear()
    all_of([Asked() for _ in range(50)])
    assert set(most) == {1}
    threads.limit(4)
    all_of([Asked(together) for _ in range(4)])
    threads.close()


def test_what_is_waited_for_goes_first_and_threads_end_with_their_object():
    done, goes_on = [], threading.Event()
    threads = RequestThreads(1)
    threads.submit([Noted("first", done, goes_on)], urgent=True)
    threads.submit([Noted("announced", done)], urgent=False)
    threads.submit([Noted("waited for", done)], urgent=True)
    goes_on.set()
    last = threading.Event()
    threads.submit([Noted("last", done, last)], urgent=False)
    while len(done) < 3:
        pass
    assert done == ["first", "waited for", "announced"]
    threads.submit([Noted("never", done)], urgent=False)
    work = threads._work
    threads.close()
    last.set()
    while work.num_threads:
        pass
    assert done[3:] == ["cancelled never", "last"] or done[3:] == ["cancelled never", "cancelled last"]


def test_an_interrupt_ends_a_read_at_once(client, store, monkeypatch):
    goes_on, waiting = threading.Event(), threading.Event()

    def waits(self, *args, **options):
        waiting.set()
        goes_on.wait(60)
        raise ObjectStoreError("late")

    monkeypatch.setattr(client, "get_range", waits)
    payload = FrameRange.payload

    def interrupted(self, place):
        waiting.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(FrameRange, "payload", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.read_frames([0])
    monkeypatch.setattr(FrameRange, "payload", payload)
    goes_on.set()
