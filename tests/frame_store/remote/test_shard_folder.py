"""Downloads ahead of the reads: in parts, once, and never in the way of a read that can be served otherwise."""

import errno
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from frame_store.remote import (
    BoundedFolder,
    FolderWarning,
    ShardFeed,
    parts,
)
from frame_store.remote.parts import PartDownloads
from frame_store.remote.shards.plan import Choice
from tests.support.object_stores.made_up_shards import (
    FRAMES,
    SHARD_BYTES,
    Store,
    batches_of,
    content_of,
    eventually,
    is_here,
    shard_folder,
)


def test_an_object_comes_in_parts(tmp_path):
    store, path = Store(), tmp_path / "7"
    path.touch()
    PartDownloads(part_bytes=30_000, at_once=3).fetch(store, "7", SHARD_BYTES, path)
    assert path.read_bytes() == content_of("7")
    assert store.asked == {"7": 4}


def test_reads_wait_for_what_is_on_its_way(tmp_path):
    store = Store()
    store.may_answer.clear()
    folder = shard_folder(tmp_path, store, capacity=5)
    feed = folder.feed(batches_of(3, 1, 4), num_in_flight=1)
    feed.advance()
    assert len(folder.not_expected(np.arange(3 * FRAMES, 4 * FRAMES))) == 0
    assert folder.not_expected(np.array([3 * FRAMES, 7 * FRAMES])).tolist() == [7 * FRAMES]
    assert folder.held(7) is None, "no batch wants it"
    threading.Timer(0.1, store.may_answer.set).start()
    assert is_here(folder, 3)
    for shard in (1, 4):
        feed.advance()
        assert is_here(folder, shard)
    feed.close()
    assert store.asked == {"3": 1, "1": 1, "4": 1}, "each once"


def test_shards_pass_and_the_next_epochs_shards_come_without_a_gap(tmp_path):
    store = Store()
    folder = shard_folder(tmp_path, store, capacity=4)
    order = [*range(10), *range(9, -1, -1)]
    feed = folder.feed(batches_of(*order), num_in_flight=1)
    for shard in order:
        feed.advance()
        assert is_here(folder, shard)
        assert folder.folder.num_bytes_used <= 4 * SHARD_BYTES
    feed.close()
    assert 10 <= store.asked.total() <= 18, "some stay"


def test_no_room_is_looked_for_where_none_can_be(tmp_path, monkeypatch):
    """Each try walks through the folder."""
    folder = shard_folder(tmp_path, Store(), capacity=4)
    in_vain = []
    fetched = BoundedFolder.fetched

    def noted(*arguments: Any, **options: Any) -> Any:
        held = fetched(*arguments, **options)
        if held is None:
            in_vain.append(arguments[1])
        return held

    monkeypatch.setattr(BoundedFolder, "fetched", noted)
    order = [*range(10), *range(9, -1, -1)]
    feed, found = folder.feed(batches_of(*order), num_in_flight=3), []
    for shard in order:
        feed.advance()
        found.append(is_here(folder, shard))
        time.sleep(0.03)
    feed.close()
    assert in_vain == []
    assert sum(found) >= 10


def test_room_is_looked_for_where_some_may_be(tmp_path):
    """Without threads, so that each state of the feed lasts."""
    folder = shard_folder(tmp_path, Store(), capacity=3)
    feed = ShardFeed(folder, batches_of(0, 1, 2, 3), num_in_flight=4)
    for shard in range(2):
        held = folder.download(shard, passes=True, leaves_bytes=None)
        assert held is not None
        feed._passing.add(shard)
        feed._held[shard] = held
    choice = Choice(shard=3, stays=False, may_pass=True, instead_of=None, may_evict=False)
    assert not feed._has_surely_no_room(choice), "there is room for a third"
    feed._passing.add(2)
    assert not feed._has_surely_no_room(choice), "nobody holds it: it may be removed"
    feed._busy.add(2)
    assert feed._has_surely_no_room(choice), "it is on its way"
    for other in ({"stays": True}, {"may_evict": True}, {"instead_of": 1}):
        assert not feed._has_surely_no_room(replace(choice, **other)), "that makes room"
    feed._busy.clear()
    stays = folder.download(2, passes=False, leaves_bytes=None)
    assert stays is not None
    assert feed._has_surely_no_room(choice), "what stays is not removed for what passes"
    stays.close()
    feed.close()


def test_a_thread_that_rests_is_not_the_one_that_is_told_of_work(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "num_usable_cpus", lambda: 1)
    store = Store()
    folder = shard_folder(tmp_path, store, capacity=4, num_shards=20)
    feed = folder.feed(batches_of(*range(20)), num_in_flight=1)
    feed.advance()
    for shard in range(1, 20):
        eventually(lambda shard=shard: folder.folder.has(f"s/{shard}"))
        time.sleep(0.01)  # all threads wait for work
        feed.advance()
    feed.close()
    feed.join(5)
    assert store.asked == {str(shard): 1 for shard in range(20)}, (
        "each came without a read that waited for it"
    )


def test_a_failed_download_is_left_to_the_read(tmp_path):
    store = Store()
    store.missing.add("1")
    folder = shard_folder(tmp_path, store, capacity=5)
    feed = folder.feed(batches_of(1, 2, 1), num_in_flight=1)
    feed.advance()
    assert folder.held(1) is None, "the read asks by ranges, and raises what they raise"
    feed.advance()
    assert is_here(folder, 2)
    store.missing.clear()
    feed.advance()
    feed.close()
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["2"]


def test_a_full_disk_is_said_once(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    folder = shard_folder(tmp_path, Store(), capacity=5)

    def read() -> None:
        feed = folder.feed(batches_of(1, 2), num_in_flight=1)
        for shard in (1, 2):
            feed.advance()
            assert folder.held(shard) is None
        feed.close()
        feed.join(5)

    with pytest.warns(FolderWarning, match="no room on the disk for its 100000 bytes") as warned:
        read()
    assert len(warned) == 1
    assert folder.folder.num_bytes_used == 0


def test_reads_never_wait_for_room(tmp_path):
    """The room may only come when the reads are done."""
    store = Store()
    folder = shard_folder(tmp_path, store, capacity=2)
    feed = folder.feed(batches_of(0, 1, 2, 3), num_in_flight=4)
    found = []
    for shard in range(4):
        feed.advance()
        found.append(is_here(folder, shard))
    assert found == [True, True, False, False]
    feed.close()


def test_a_folder_too_small_for_a_batch_is_said_once(tmp_path):
    folder = shard_folder(tmp_path, Store(), capacity=2)
    ids = np.concatenate([np.arange(10) + shard * FRAMES for shard in (1, 4, 8)])

    def read() -> None:
        feed = folder.feed(iter([ids] * 20), num_in_flight=1)
        for _ in range(20):
            feed.advance()
        feed.close()

    with pytest.warns(
        FolderWarning, match="shards of 300000 bytes, and the folder may have 200000"
    ) as warned:
        read()
    assert len(warned) == 1


def test_wrong_bytes_are_read_by_ranges_and_downloaded_again_later(tmp_path):
    store = Store()
    folder = shard_folder(tmp_path, store, capacity=5)
    feed = folder.feed(batches_of(1, 2, 2, 2, 1), num_in_flight=1)
    feed.advance()
    assert is_here(folder, 1)
    folder.condemn(1)
    assert folder.held(1) is None
    feed.close()
    again = folder.feed(batches_of(1), num_in_flight=1)
    again.advance()
    assert is_here(folder, 1)
    again.close()
    assert store.asked["1"] == 2


def test_what_another_process_removed_comes_again(tmp_path, monkeypatch):
    # As beyond the number of files that a feed holds.
    monkeypatch.setattr("frame_store.remote.shards.feed.descriptor_share", lambda *, at_most: 0)
    folder = shard_folder(tmp_path, Store(), capacity=5)
    feed = folder.feed(batches_of(*range(5), 0), num_in_flight=1)
    feed.advance()
    assert is_here(folder, 0)
    eventually(lambda: not feed._busy)
    assert folder.folder.remove("s/0")
    assert is_here(folder, 0)
    feed.close()


def test_a_read_waits_for_what_comes_and_for_nothing_else(tmp_path, monkeypatch):
    """Without threads, so that each state of the feed lasts."""
    monkeypatch.setattr("frame_store.remote.shards.feed.descriptor_share", lambda *, at_most: 0)
    folder = shard_folder(tmp_path, Store(), capacity=5)
    feed = ShardFeed(folder, batches_of(1), num_in_flight=1)
    feed.advance()
    assert feed.expects(1), "it is next"
    feed._is_full, feed._tried_at = True, time.monotonic()
    assert not feed.expects(1), "room may only come when this read is done"
    assert not feed.waits_for(1)
    feed._is_full = False
    choice = feed._next()
    assert choice is not None and choice.shard == 1
    assert feed.expects(1), "it is on its way"
    feed._download(choice)
    assert is_here(folder, 1)
    assert folder.folder.remove("s/1")
    feed._is_full, feed._tried_at = True, time.monotonic()
    assert not feed.waits_for(1), "another process had it removed"
    feed._is_full = False
    with feed._lock:
        again = feed._choice()
    assert again is not None and again.shard == 1


def test_a_closed_feed_leaves_nothing_held(tmp_path):
    folder = shard_folder(tmp_path, Store(), capacity=5)
    feed = folder.feed(batches_of(1, 2), num_in_flight=1)
    feed.advance()
    assert is_here(folder, 1)
    feed.close()
    feed.join(5)
    assert not any(thread.is_alive() for thread in feed._threads)
    assert folder.folder.remove("s/1")
    assert folder._feeds == []
