"""How many requests a feed has on its way: all it may have where reads wait, few beside threads that decode."""

import threading
import time

from frame_store.remote import parts
from frame_store.remote.shards import feed as feeds
from tests.support.object_stores.made_up_shards import (
    Store,
    batches_of,
    eventually,
    is_here,
    shard_folder,
)


def test_downloads_leave_the_cpus_to_the_decoders_once_a_batch_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "num_usable_cpus", lambda: 1)
    store = Store()
    folder = shard_folder(tmp_path, store, capacity=5)
    limits = []
    monkeypatch.setattr(folder._downloads._threads, "limit", limits.append)
    feed = folder.feed(batches_of(3, 1, 4), num_in_flight=1)
    feed.advance()
    assert limits == []
    feed.advance()
    feed.advance()
    feed.close()
    assert limits == [4]


def test_so_many_shards_are_downloaded_at_once_that_enough_parts_are(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "num_usable_cpus", lambda: 2)
    folder = shard_folder(tmp_path, Store(), capacity=10)
    found = []
    for folder._parts_per_shard in (1, 4, 16, 64):
        found.append([folder.downloads_at_once(beside_decoders=beside) for beside in (False, True)])
    assert found == [[16, 8], [4, 3], [2, 2], [2, 2]], "16 parts until batches are decoded, then 8"


def test_downloads_take_all_they_can_once_a_batch_waits_for_a_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "num_usable_cpus", lambda: 1)
    monkeypatch.setattr(feeds, "_BATCHES_WITHOUT_WAIT", 3)
    store = Store()
    store.held_back = {"2"}
    folder = shard_folder(tmp_path, store, capacity=10)
    limits = []
    monkeypatch.setattr(folder._downloads._threads, "limit", limits.append)
    feed = folder.feed(batches_of(*range(10)), num_in_flight=1)
    feed.advance()
    assert is_here(folder, 0)
    assert limits == [], "the first batch always waits"
    feed.advance()
    assert limits == [4]
    eventually(lambda: folder.folder.has("s/1"))
    assert is_here(folder, 1)
    feed.advance()
    waiting = threading.Thread(target=is_here, args=[folder, 2])
    waiting.start()
    eventually(lambda: limits == [4, 16])
    store.held_back = set()
    waiting.join()
    eventually(lambda: all(folder.folder.has(f"s/{shard}") for shard in (3, 4, 5)))
    for shard in (3, 4, 5):
        assert limits == [4, 16]
        feed.advance()
        assert is_here(folder, shard)
    assert limits == [4, 16, 4], "three batches have not waited"
    feed.close()
    feed.join(5)
    assert not any(thread.is_alive() for thread in feed._threads)


def test_threads_that_are_too_many_beside_decoders_rest_until_a_batch_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "num_usable_cpus", lambda: 1)
    store = Store()
    store.held_back = {str(shard) for shard in range(2, 30)}
    folder = shard_folder(tmp_path, store, capacity=60, num_shards=30)
    feed = folder.feed(batches_of(*range(30)), num_in_flight=1)
    feed.advance()
    assert is_here(folder, 0)
    eventually(lambda: len(store.asked) == 2 + 16)
    feed.advance()
    store.held_back = {str(shard) for shard in range(18, 30)}
    eventually(lambda: all(folder.folder.has(f"s/{shard}") for shard in range(1, 18)))
    for _ in range(17):
        feed.advance()
    time.sleep(0.1)
    assert len(feed._busy) == 4
    assert len(store.asked) == 18 + 4
    waiting = threading.Thread(target=is_here, args=[folder, 18])
    waiting.start()
    eventually(lambda: len(store.asked) == 30)
    store.held_back = set()
    waiting.join()
    feed.close()
    feed.join(5)
