"""Caches with more shards than the process may hold descriptors are read and verified, and not called damaged."""

import errno
import gc
import os
import random
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store.shared import descriptors
from frame_store.shared.descriptors import num_files_to_keep, raise_if_out_of_files
from frame_store.verify import verify_store
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.faults.few_descriptors import (
    descriptors_left,
    end_of_the_process,  # noqa: F401 - a fixture
    num_descriptors_left,
    open_paths,
    run_with_descriptors,
)

NUM_SHARDS = 300


def many_frames(name: str = "wds-raw") -> np.ndarray:
    """One frame for each of 300 shards; the first pixels of neighbours differ."""
    some = golden_frames(name)[:, :8, :8]
    frames = np.resize(some, (NUM_SHARDS, *some.shape[1:])).copy()
    frames[:, 0, 0, 0] = np.arange(len(frames)) % 251
    return frames


@pytest.fixture(scope="module", params=list(GOLDEN_ENCODINGS))
def path(request, tmp_path_factory):
    """A cache of 300 shards. Read-only."""
    path = tmp_path_factory.mktemp("many") / request.param
    write_store(path, *GOLDEN_ENCODINGS[request.param], many_frames(request.param), frames_per_shard=1)
    return path


@given(
    limit=st.integers(1, 2000),
    num_open=st.integers(1, 2000),
    number=st.integers(0, 2000),
    at_most=st.integers(1, 300),
)
def test_a_store_keeps_a_quarter_at_most_and_halves_where_the_callers_part_begins(
    limit, num_open, number, at_most
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (limit, limit))
        kept = num_files_to_keep(num_open, newest_number=number, at_most=at_most)
        assert 1 <= kept <= max(1, min(at_most, limit // 4))
        if number >= limit // 2:
            assert kept <= max(1, num_open // 2)
        else:
            assert kept == num_files_to_keep(num_open, newest_number=None, at_most=at_most)


def test_no_limit_is_no_error(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert num_files_to_keep(300, newest_number=299, at_most=256) == 256
    assert descriptors.descriptor_limit() > 1 << 16


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_what_says_that_no_file_can_be_opened_is_raised_and_nothing_else_is(number):
    shortage = OSError(number, os.strerror(number))
    wrapped = ValueError("another reader")
    wrapped.__cause__ = shortage
    for error in (shortage, wrapped):
        with pytest.raises(OSError) as caught:
            raise_if_out_of_files(error)
        assert caught.value is shortage
    raise_if_out_of_files(OSError(errno.EIO, os.strerror(errno.EIO)))
    raise_if_out_of_files(ValueError("damage"))


@pytest.mark.parametrize("limit", [256, 64])
def test_a_sound_cache_of_300_shards_verifies_as_sound(path, limit):
    result = run_with_descriptors(limit, verify_store, path)
    assert (result.problems, result.num_frames_checked) == ([], NUM_SHARDS)


def outcomes_of_verifying(path: Path, limit: int) -> list[str]:
    """Results of verifying with 0, 1, 2 ... descriptors left, until these are enough."""
    assert verify_store(path).problems == []  # imports what it needs
    found = []
    for num_left in range(limit):
        try:
            with descriptors_left(num_left):
                problems = verify_store(path).problems
        except OSError as error:
            found.append("out of files" if error.errno == errno.EMFILE else str(error))
        else:
            found.append("; ".join(problems) or "sound")
            if not problems:
                break
    return found


def test_a_cache_is_verified_or_the_machine_fails_but_never_is_it_damaged(path):
    found = run_with_descriptors(128, outcomes_of_verifying, path, 128)
    assert found[0] == "out of files" and found[-1] == "sound"
    assert set(found) == {"out of files", "sound"}


def read_at_random(path: Path, reads: str) -> tuple[bool, int]:
    """Whether four threads read the right frames, and how many files of the cache are open then."""
    gc.collect()  # errors of the tests before, in the same process, hold what was open
    store, expected = frame_store.open_store(path, reads=reads), many_frames(path.name)
    draw = random.Random(0)
    requests = [draw.choices(range(len(store)), k=100) for _ in range(40)]
    is_lossy = store.encoding_name == "jpeg"

    def is_right(ids: list[int]) -> bool:
        difference = store.read_frames(ids).astype(int) - expected[ids]
        return bool(np.abs(difference).max() <= (250 if is_lossy else 0))

    with ThreadPoolExecutor(4) as threads:
        is_all_right = all(threads.map(is_right, requests))
    return is_all_right, len(open_paths(path))


@pytest.mark.parametrize("reads", ["map", "pread"])
@pytest.mark.parametrize(("limit", "num_kept"), [(64, 16), (256, 64)])
def test_threads_read_more_shards_than_may_be_open(path, reads, limit, num_kept):
    is_right, num_open = run_with_descriptors(limit, read_at_random, path, reads)
    assert is_right
    assert num_open <= num_kept + 2  # and the index and the manifest


def files_left_beside_stores(path: Path, num_stores: int) -> tuple[int, list[int]]:
    """How many files the caller can still open beside stores that are read in turn, and how many each holds."""
    stores = [frame_store.open_store(path, reads="pread") for _ in range(num_stores)]
    draw = random.Random(0)
    for _ in range(6):
        for store in stores:
            store.read_frames(draw.choices(range(len(store)), k=120))
    held = [len(store._opened._files._open) for store in stores]
    return num_descriptors_left(), held


@pytest.mark.parametrize(("num_stores", "at_least"), [(1, 700), (4, 400), (16, 400)])
def test_stores_leave_descriptors_to_the_caller(path, num_stores, at_least):
    num_left, held = run_with_descriptors(1024, files_left_beside_stores, path, num_stores)
    assert num_left >= at_least, held
    assert max(held) <= 256
    if num_stores == 4:
        assert min(held) >= 16, held  # none takes all


def crowded_reads(path: Path, reads: str) -> list[str]:
    """Results of reading frames of many shards while other files leave 0, 1 and 2 descriptors."""
    store = frame_store.open_store(path, reads=reads)
    store.read_frames([0])
    found = []
    for num_left in (0, 1, 2):
        store.close()
        with descriptors_left(num_left):
            try:
                store.read_frames(range(0, len(store), 3))
                found.append("read")
            except OSError as error:
                found.append(str(error))
    assert num_descriptors_left() > 64
    return found


@pytest.mark.parametrize("reads", ["map", "pread"])
def test_one_descriptor_is_enough_and_none_is_an_error_of_the_machine(path, reads):
    none, one, two = run_with_descriptors(128, crowded_reads, path, reads)
    assert (
        f"[Errno {errno.EMFILE}] frame 0: Too many open files (this process may hold 128: ulimit -n)" in none
    )
    assert str(path) in none
    assert two == "read"
    assert one == "read" or "Too many open files" in one


def open_crowded(path: Path) -> str:
    with descriptors_left(0):
        try:
            frame_store.open_store(path)
        except OSError as error:
            return os.strerror(error.errno)
    return "opened"


def test_a_cache_that_cannot_be_opened_for_want_of_descriptors_is_neither_missing_nor_damaged(path):
    assert run_with_descriptors(64, open_crowded, path) == os.strerror(errno.EMFILE)
