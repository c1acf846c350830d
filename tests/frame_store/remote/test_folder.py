"""A folder with a bound: never above it, right content, nothing left behind, and no process waits for ever."""

import errno
import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from frame_store.errors import StoreError
from frame_store.remote import BoundedFolder, HeldFile
from tests.support.object_stores.bounded_folder import bytes_at_one_moment, files_of


def content_of(name: str, num_bytes: int) -> bytes:
    return random.Random(name).randbytes(num_bytes)


def writer(name: str, num_bytes: int, *, seconds: float = 0.0) -> Callable[[Path], None]:
    def fetch(path: Path) -> None:
        content = content_of(name, num_bytes)
        with path.open("r+b") as file:
            file.write(content[: num_bytes // 2])
            time.sleep(seconds)
            file.write(content[num_bytes // 2 :])

    return fetch


def fetched(folder: BoundedFolder, name: str, num_bytes: int = 100, **how: bool | int) -> HeldFile | None:
    options = {"waits": False, **how}
    return folder.fetched(name, num_bytes, writer(name, num_bytes), **options)  # type: ignore[arg-type]


def used(held: HeldFile | None) -> HeldFile:
    assert held is not None
    return held


def keep(folder: BoundedFolder, name: str, num_bytes: int = 100, **how: bool | int) -> None:
    used(fetched(folder, name, num_bytes, **how)).close()


def test_a_file_is_fetched_once_and_held(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path / "folder", max_bytes=250)
    with used(fetched(folder, "a/b")) as held:
        assert os.pread(held.number, 100, 0) == content_of("a/b", 100) == held.path.read_bytes()
        assert not folder.remove("a/b"), "it is in use"
        again = folder.fetched("a/b", 100, lambda _: pytest.fail("downloaded twice"), waits=False)
        assert again is not None and again.number == held.number
        again.close()
        again.close()
        assert not folder.remove("a/b"), "the first hold is there still"
    assert folder.num_bytes_used == 100
    assert folder.remove("a/b")
    assert folder.held("a/b") is None
    assert folder.num_bytes_used == 0


def test_the_oldest_use_goes_first_and_what_passes_before_it(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=300)
    for name in ("a", "b"):
        keep(folder, name)
    keep(folder, "passing", passes=True)
    keep(folder, "c")
    assert sorted(files_of(tmp_path)) == ["a", "b", "c"]
    used(folder.held("a")).close()
    keep(folder, "d")
    assert sorted(files_of(tmp_path)) == ["a", "c", "d"], "b was used before a"
    assert folder.num_bytes_used == folder.num_bytes_staying == 300


def test_no_room_is_had_from_files_in_use_nor_from_those_that_stay(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=300)
    keep(folder, "a")
    assert fetched(folder, "b", leaves_bytes=101) is None
    keep(folder, "b", leaves_bytes=100)
    with used(fetched(folder, "c", passes=True)):
        assert fetched(folder, "d", leaves_bytes=0) is None, "a and b stay, c is in use"
        with used(folder.held("a")), used(folder.held("b")):
            assert fetched(folder, "d") is None
    keep(folder, "d", leaves_bytes=0)
    assert sorted(files_of(tmp_path)) == ["a", "b", "d"]


def test_one_waits_for_room_and_not_for_ever(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=100)
    held = fetched(folder, "a")
    assert held is not None
    with pytest.raises(StoreError, match=r"b: 100 bytes: all files of the folder are in use.*gave up after"):
        folder.fetched("b", 100, writer("b", 100), waits=True, wait_seconds=0.05)
    threading.Timer(0.1, held.close).start()
    keep(folder, "b", waits=True)
    assert sorted(files_of(tmp_path)) == ["b"]


def test_a_file_larger_than_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"big: has 101 bytes, and the folder .* may have 100"):
        fetched(BoundedFolder(tmp_path, max_bytes=100), "big", 101)


def test_a_failed_download_leaves_nothing_and_the_next_one_tries(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=100)
    begun, results = threading.Event(), list[bytes]()

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        begun.set()
        time.sleep(0.1)
        raise OSError(errno.ENOSPC, "No space left on device")

    def wait() -> None:
        begun.wait()
        with used(fetched(folder, "a")) as held:
            results.append(held.path.read_bytes())

    other = threading.Thread(target=wait)
    other.start()
    with pytest.raises(OSError, match="a: no room on the disk for its 100 bytes") as raised:
        folder.fetched("a", 100, full, waits=False)
    assert raised.value.errno == errno.ENOSPC
    other.join()
    assert results == [content_of("a", 100)]
    with pytest.raises(StoreError, match="expected 100 bytes, found 99"):
        folder.fetched("b", 100, writer("b", 99), waits=False)
    assert folder.remove("a") and sorted(files_of(tmp_path)) == []
    assert folder.num_bytes_used == 0


def test_a_smaller_bound_removes_what_nobody_holds(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=400)
    held = fetched(folder, "a")
    for name in "bcd":
        keep(folder, name, passes=name == "d")
    assert BoundedFolder(tmp_path, max_bytes=250).num_bytes_used == 200
    assert sorted(files_of(tmp_path)) == ["a", "c"], "what passes goes first, then the oldest"
    assert held is not None


@pytest.mark.parametrize("harm", ["lost", "broken", "wrong"])
def test_the_ledger_is_made_again(tmp_path: Path, harm: str) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=300)
    keep(folder, "a")
    ledger = tmp_path / ".ledger"
    if harm == "lost":
        ledger.unlink()
    elif harm == "broken":
        ledger.write_bytes(b"\xff" * 28)
    else:  # a process was killed between the ledger and its file
        folder._room._add(200, passes=False)
    keep(folder, "b")
    keep(folder, "c")
    assert sorted(files_of(tmp_path)) == ["a", "b", "c"]
    assert folder.num_bytes_used == 300
    assert pickle.loads(pickle.dumps(folder)).num_bytes_used == 300


def test_files_of_somebody_else_are_safe(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("the only copy")
    with pytest.raises(StoreError, match=r"found 1 other file; .* name another folder"):
        BoundedFolder(tmp_path, max_bytes=1)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", ".a", "a//b", "a.part", "a/"])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a name in a folder must be relative"):
        fetched(BoundedFolder(tmp_path, max_bytes=100), name)


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StoreError, match=r"has no locks \(No locks available\)"):
        BoundedFolder(tmp_path, max_bytes=100)


def test_wrong_content_goes_when_its_last_reader_is_done(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=100)
    with used(fetched(folder, "a")):
        folder.condemn("a")
        assert folder.held("a") is None
        assert fetched(folder, "a") is None
    assert sorted(files_of(tmp_path)) == []
    keep(folder, "a")


def test_a_changed_size_is_another_object(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, max_bytes=300)
    keep(folder, "a", 100)
    with used(fetched(folder, "a", 120)) as held:
        assert held.num_bytes == 120
        with pytest.raises(StoreError, match="expected 100 bytes, found 120 in a file that is in use"):
            fetched(folder, "a", 100)
    assert folder.num_bytes_used == 120


NUM_FILES, BOUND = 12, 2000


def size_of(number: int) -> int:
    return 200 + number * 37 % 400


def fetch_at_random(path: Path, seed: int, num_fetches: int) -> None:
    draw = random.Random(seed)
    folder = BoundedFolder(path, max_bytes=BOUND)
    for _ in range(num_fetches):
        number = draw.randrange(NUM_FILES)
        name, num_bytes = f"{number % 3}/{number}", size_of(number)
        how = draw.choice([{"waits": True}, {"waits": False}, {"waits": False, "leaves_bytes": 600}])
        fetch = writer(name, num_bytes, seconds=draw.choice([0, 0.002]))
        held = (
            folder.fetched(name, num_bytes, fetch, passes=draw.random() < 0.5, wait_seconds=30, **how)
            if draw.random() < 0.8
            else folder.held(name)
        )
        if held is not None:
            with held:
                assert os.pread(held.number, 1000, 0) == content_of(name, num_bytes)
                time.sleep(draw.choice([0, 0.002]))


def test_processes_share_a_folder_while_some_are_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    draw, most = random.Random(5), 0
    running = [context.Process(target=fetch_at_random, args=(tmp_path, seed, 10**6)) for seed in range(3)]
    for process in running:
        process.start()
    for seed in range(10, 16):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            most = max(most, bytes_at_one_moment(tmp_path))
        victim = draw.randrange(3)
        assert running[victim].exitcode is None, "it failed by itself"
        os.kill(running[victim].pid or 0, signal.SIGKILL)
        running[victim].join()
        running[victim] = context.Process(target=fetch_at_random, args=(tmp_path, seed, 10**6))
        running[victim].start()
    for process in running:
        process.kill()
        process.join()
    last = context.Process(target=fetch_at_random, args=(tmp_path, 99, 200))
    last.start()
    last.join(60)
    assert last.exitcode == 0, "what the dead left does not stop the living"
    assert BOUND * 0.7 < most <= BOUND
    folder = BoundedFolder(tmp_path, max_bytes=BOUND)
    assert folder.num_bytes_used == bytes_at_one_moment(tmp_path)
    assert not [name for name in files_of(tmp_path) if name.endswith(".part")]
