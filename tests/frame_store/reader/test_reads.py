"""Ways of reading a cache: mapped or not, verified or not, warm or cold, and while its files change underneath."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store.errors import FrameIdError, StoreDamagedError
from frame_store.files import OpenFile, is_cached, mapped_range, will_need
from frame_store.protocol import PrefetchingStore
from frame_store.reader import mapped_shards, payloads
from frame_store.reader import open_shards as shard_files
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.caches.tree import generation_folder

FRAMES = golden_frames()
RAW = [name for name, (_, encoding) in GOLDEN_ENCODINGS.items() if encoding.name == "raw"]
assert len(RAW) == 3


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for name, (container, encoding) in GOLDEN_ENCODINGS.items():
        write_store(folder / name, container, encoding, golden_frames(name))
    return folder


@pytest.fixture(params=list(GOLDEN_ENCODINGS))
def path(request, stores, tmp_path):
    return shutil.copytree(stores / request.param, tmp_path / request.param)


def shard_of(store, frame_id):
    return store.generations[0].path / store.common.shards[store.index["shard_id"][frame_id]].name


def maps():
    return Path("/proc/self/maps").read_text()


def flip_bit(store, frame_id, position):
    with shard_of(store, frame_id).open("r+b") as file:
        offset = int(store.index["byte_offset"][frame_id]) + position
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 16]))


@given(frame_ids=st.lists(st.integers(0, len(FRAMES) - 1), max_size=30))
def test_maps_and_pread_give_the_same_frames(stores, frame_ids):
    for name in GOLDEN_ENCODINGS:
        expected = frame_store.open_store(stores / name, reads="pread").read_frames(frame_ids)
        for verify_reads in (False, True):
            store = frame_store.open_store(stores / name, verify_reads=verify_reads)
            np.testing.assert_array_equal(store.read_frames(frame_ids), expected)
        if "jpeg" not in name:
            np.testing.assert_array_equal(expected, golden_frames(name)[np.asarray(frame_ids, int)])


@pytest.mark.parametrize("frame_ids", [[], [9, 0, 3, 9], range(10)])
def test_rows_are_those_of_the_index_and_come_with_the_frames(path, frame_ids):
    store = frame_store.open_store(path)
    rows = store.rows_of(frame_ids)
    assert rows.dtype == store.index.dtype
    assert rows.tobytes() == store.index[np.asarray(frame_ids, int)].tobytes()
    out = np.empty((len(rows), *store.frame_shape), store.frame_dtype)
    frames, again = store.read_frames_and_rows(frame_ids, out)
    assert frames is out
    np.testing.assert_array_equal(frames, store.read_frames(frame_ids))
    assert rows.tobytes() == again.tobytes()
    with pytest.raises(FrameIdError, match="frame id 10 "):
        store.rows_of([10])


def test_shards_are_mapped_at_the_first_read(path):
    index = str(generation_folder(path) / "index.npy")
    store = frame_store.open_store(path)
    assert str(path) not in maps().replace(index, "")
    store.read_frames([0, 5])
    assert str(path) in maps().replace(index, "")
    store.close()
    assert str(path) not in maps().replace(index, "")
    del store
    assert str(generation_folder(path) / "index.npy") not in maps()


def test_a_store_is_closed_at_the_end_of_a_with_block(path):
    with frame_store.open_store(path) as store:
        store.read_frames([0, 5])
        assert held_files(path)
    assert not held_files(path)
    store.read_frames([0])  # and can be read again


def held_files(path):
    """Its shards that this process holds open; `index.npy` and the manifest stay for as long as the store."""
    files = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    return [file for file in files if str(path) in file and not file.endswith(("index.npy", ".json"))]


def test_pread_never_touches_a_map(path):
    store = frame_store.open_store(path, reads="pread")
    store.read_frames([0, 5])
    assert str(path) not in maps().replace(str(generation_folder(path) / "index.npy"), "")


@pytest.mark.parametrize("name", RAW)
def test_without_torch_the_same_frames_come(stores, name):
    code = (
        "import sys, frame_store, numpy as np; store = frame_store.open_store(sys.argv[1]);"
        "sys.stdout.buffer.write(store.read_frames([3, 9, 0, 3]).tobytes()); assert 'torch' not in sys.modules"
    )
    read = subprocess.run([sys.executable, "-c", code, stores / name], capture_output=True, check=True)
    assert read.stdout == golden_frames(name)[[3, 9, 0, 3]].tobytes()


def test_where_there_are_no_addresses_frames_are_read_with_pread(stores, monkeypatch):
    def no_addresses(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mapped_range, "_map", no_addresses)
    store = frame_store.open_store(stores / RAW[0])
    np.testing.assert_array_equal(store.read_frames(range(len(FRAMES))), FRAMES)


def test_more_shards_than_mappings_are_read_with_pread(stores, monkeypatch):
    monkeypatch.setattr(payloads, "MAX_MAPPED_SHARDS", 1)
    monkeypatch.setattr(mapped_shards.MappedShards, "gather", None)
    store = frame_store.open_store(stores / RAW[0])
    np.testing.assert_array_equal(store.read_frames([7, 1]), FRAMES[[7, 1]])


def test_a_flipped_bit_is_found_where_reads_are_verified(path):
    store = frame_store.open_store(path)
    length = int(store.index["byte_length"][5])
    for position in (length // 2, length - 3):
        flip_bit(store, 5, position)
        for reads in ("map", "pread"):
            verifying = frame_store.open_store(path, verify_reads=True, reads=reads)
            verifying.read_frames([0, 4, 6])
            with pytest.raises(
                StoreDamagedError,
                match=rf"{shard_of(store, 5).name}: frame 5: expected crc32c .*; run cache-verify",
            ):
                verifying.read_frames([0, 5])
        flip_bit(store, 5, position)
    frame_store.open_store(path, verify_reads=True).read_frames(range(len(FRAMES)))


@pytest.mark.parametrize("reads", ["map", "pread"])
@pytest.mark.parametrize("harm", ["truncate", "grow", "remove"])
def test_a_shard_that_changes_under_an_open_reader_is_named(path, reads, harm):
    store = frame_store.open_store(path, reads=reads)
    store.read_frames(range(len(FRAMES)))
    shard = shard_of(store, 5)
    match harm:
        case "truncate":
            os.truncate(shard, 4096 if path.name in RAW else 10)
        case "grow":
            os.truncate(shard, 1 << 20)
        case "remove":
            shard.unlink()
    with pytest.raises(StoreDamagedError, match=rf"{shard.name}: frame 5: .*; run cache-verify on {path}"):
        store.read_frames([6, 5][::-1])
    store.read_frames([0])  # the others are as they were


@pytest.mark.parametrize("harm", [os.unlink, lambda shard: os.truncate(shard, 4096)])
def test_shards_that_are_mapped_but_not_open_are_watched_too(stores, tmp_path, monkeypatch, harm):
    monkeypatch.setattr(shard_files, "MAX_OPEN_SHARDS", 1)
    store = frame_store.open_store(shutil.copytree(stores / RAW[0], tmp_path / "cache"))
    store.read_frames(range(len(FRAMES)))
    harm(shard_of(store, 1))
    with pytest.raises(StoreDamagedError, match="frame 1: "):
        store.read_frames([9, 1])


def test_options_travel_and_files_do_not(stores):
    store = frame_store.open_store(stores / RAW[0], reads="pread", verify_reads=True)
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.reads, copy.verify_reads, copy.path) == ("pread", True, store.path)
    np.testing.assert_array_equal(copy.read_frames([4]), FRAMES[[4]])


def test_another_way_of_reading_is_refused(stores):
    with pytest.raises(ValueError, match="reads must be one of map, pread; found 'mmap'"):
        frame_store.open_store(stores / RAW[0], reads="mmap")
    with pytest.raises(ValueError, match="verify_reads must be True or False, found 'no'"):
        frame_store.open_store(stores / RAW[0], verify_reads="no")


def test_closing_pulls_no_map_from_under_a_reader(stores):
    store, stop, failures = frame_store.open_store(stores / RAW[0]), threading.Event(), []

    def read():
        while not stop.is_set():
            if not np.array_equal(store.read_frames([8, 2]), FRAMES[[8, 2]]):
                failures.append("other frames")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(200):
        store.close()
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_reading_leaves_no_files_and_maps_behind(stores):
    def held():
        return len(list(Path("/proc/self/fd").iterdir())), maps().count(str(stores))

    before = held()
    for name in GOLDEN_ENCODINGS:
        for _ in range(5):
            frame_store.open_store(stores / name).read_frames([0, 9])
    assert held() == before


def test_torch_threads_do_not_matter(stores):
    torch = pytest.importorskip("torch")
    num_threads = torch.get_num_threads()
    store = frame_store.open_store(stores / RAW[1])
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            np.testing.assert_array_equal(store.read_frames([9, 0]), FRAMES[[9, 0]])
    finally:
        torch.set_num_threads(num_threads)


def test_prefetch_asks_for_the_payloads_of_a_cold_cache_alone(path, monkeypatch):
    store, asked = frame_store.open_store(path), []
    assert isinstance(store, PrefetchingStore)
    monkeypatch.setattr(payloads, "will_need", lambda file, *place: asked.append(place))
    monkeypatch.setattr(payloads, "is_cached", lambda *_: True)
    assert not store.prefetch([9, 0, 5]) and asked == []
    monkeypatch.setattr(payloads, "is_cached", lambda *_: False)
    assert store.prefetch([9, 0, 5])
    rows = store.index[[0, 5, 9]]
    assert asked == list(zip(rows["byte_offset"].tolist(), rows["byte_length"].tolist(), strict=True))
    assert not store.prefetch([])


def test_prefetch_leaves_damage_to_the_read(path):
    store = frame_store.open_store(path)
    shard_of(store, 5).unlink()
    assert store.prefetch([5])
    with pytest.raises(StoreDamagedError):
        store.read_frames([5])


def test_the_page_cache_is_asked_about_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 16))
    file = OpenFile(path)
    os.pread(file.number, 1 << 16, 0)
    assert is_cached(file, 1 << 15)
    will_need(file, 0, 1 << 16)


@pytest.mark.parametrize("reads", ["map", "pread"])
def test_a_batch_may_lie_in_more_shards_than_the_process_may_open_files(path, reads, monkeypatch):
    store = frame_store.open_store(path, reads=reads)
    num_open = 0

    class Rationed(OpenFile):
        def __init__(self, file):
            nonlocal num_open
            self.number = -1
            if num_open == 2:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            super().__init__(file)
            num_open += 1

        def __del__(self):
            nonlocal num_open
            num_open -= self.number >= 0
            super().__del__()

    monkeypatch.setattr("frame_store.reader.open_shards.OpenFile", Rationed)
    assert len(store.shard_sizes) > 2
    assert len(store.read_frames(np.arange(len(store)))) == len(store)
    store.close()
    others = [Rationed(generation_folder(path) / "index.npy") for _ in range(2)]
    with pytest.raises(OSError, match="open files"):
        store.read_frames([0])
    del others


@pytest.mark.parametrize("name", [name for name in GOLDEN_ENCODINGS if name not in RAW])
def test_encoded_frames_that_are_not_in_memory_are_asked_for(stores, name, monkeypatch):
    store, asked = frame_store.open_store(stores / name), []
    monkeypatch.setattr(payloads, "is_cached", lambda file, byte_offset: False)
    monkeypatch.setattr(payloads, "will_need", lambda file, *span: asked.append(span))
    frames = store.read_frames([3, 9, 0, 3])
    np.testing.assert_array_equal(
        frames, frame_store.open_store(stores / name, reads="pread").read_frames([3, 9, 0, 3])
    )
    assert asked == [
        tuple(store.index[["byte_offset", "byte_length"]][frame].tolist()) for frame in (0, 3, 9)
    ]


def test_warm_frames_are_looked_for_now_and_then(stores, monkeypatch):
    store = frame_store.open_store(stores / next(name for name in GOLDEN_ENCODINGS if name not in RAW))
    looked, read, is_warm = [], [], True
    monkeypatch.setattr(payloads, "is_cached", lambda *_: looked.append(len(read)) or is_warm)
    for _ in range(2 * payloads.READS_PER_WARM_PROBE + 1):
        read.append(store.read_frames([3]))
    assert looked == [0, payloads.READS_PER_WARM_PROBE, 2 * payloads.READS_PER_WARM_PROBE]
    is_warm = False
    for _ in range(payloads.READS_PER_WARM_PROBE + 2):
        read.append(store.read_frames([3]))
    first = 3 * payloads.READS_PER_WARM_PROBE
    assert looked[3:] == [first, first + 1, first + 2]
    store._shards()._num_unprobed = -1  # two threads have counted the last one
    read.append(store.read_frames([3]))
    assert len(looked) == 7


@pytest.mark.parametrize("name", [name for name in GOLDEN_ENCODINGS if name not in RAW])
def test_mapped_frames_are_decoded_without_a_file(stores, name, monkeypatch):
    def no_files(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    store = frame_store.open_store(stores / name)
    expected = store.read_frames(range(10))
    monkeypatch.setattr(shard_files.ShardFiles, "descriptor", no_files)
    np.testing.assert_array_equal(store.read_frames(range(10)), expected)


@pytest.mark.parametrize("reads", ["map", "pread"])
@pytest.mark.parametrize("name", [name for name in GOLDEN_ENCODINGS if name not in RAW])
def test_a_frame_that_does_not_decode_is_named_among_the_others(stores, name, reads, tmp_path):
    store = frame_store.open_store(shutil.copytree(stores / name, tmp_path / name), reads=reads)
    flip_bit(store, 5, 0)
    with pytest.raises(StoreDamagedError, match="frame 5:"):
        store.read_frames(range(10))
    assert len(store.read_frames([4, 6])) == 2
