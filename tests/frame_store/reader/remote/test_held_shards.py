"""Frames of a cache at a URL that are read out of shards in the folder: mapped, or by `pread`."""

import os

import numpy as np
import pytest

from frame_store import open_store
from frame_store.errors import StoreDamagedError
from frame_store.files import mapped_range

URL = "s3://bkt/cache"
NAMES = ["wds-jpeg-columns", "wds-raw", "zarr-zstd-gray16"]


@pytest.fixture
def maps(monkeypatch):
    """The sizes of the files that are mapped."""
    sizes = []
    original = mapped_range.MappedRange.map_file

    def map_file(self, number, descriptor):
        sizes.append(self._sizes[number])
        original(self, number, descriptor)

    monkeypatch.setattr(mapped_range.MappedRange, "map_file", map_file)
    return sizes


@pytest.fixture
def preads(monkeypatch):
    """The arguments of each call of `os.pread`."""
    calls = []
    original = os.pread

    def pread(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(os, "pread", pread)
    return calls


@pytest.fixture
def opened(client, put, here, maps):
    """Opens a golden cache whose shards are in the folder: `opened(name, **options)`."""

    def open_there(name, **options):
        put(name)
        store = open_store(URL, folder=here, folder_bytes=10**7, **options)
        everything = np.arange(len(store))
        feed = store.feed(iter([everything, everything, everything]), num_in_flight=3)
        store.read_frames(everything)
        feed.close()
        client.requests.clear()
        maps.clear()
        return store

    return open_there


def requests_of_shards(client):
    return sum(number for name, number in client.requests.items() if "/shards/" in name)


@pytest.mark.parametrize("reads", ["map", "pread"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_asked_for_again(opened, golden_caches, client, maps, preads, *, name, reads):
    store, local = opened(name, reads=reads), open_store(golden_caches / name, reads="pread")
    ids = np.random.default_rng(0).integers(0, len(store), 3 * len(store))
    expected = local.read_frames(ids)
    preads.clear()
    np.testing.assert_array_equal(store.read_frames(ids), expected)
    assert requests_of_shards(client) == 0
    assert (bool(maps), bool(preads)) == ((True, False) if reads == "map" else (False, True))


def test_where_there_are_no_addresses_pread_reads(opened, golden_caches, client, monkeypatch):
    store = opened("wds-raw")

    def no_addresses(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mapped_range, "_map", no_addresses)
    ids = np.arange(len(store))
    np.testing.assert_array_equal(
        store.read_frames(ids), open_store(golden_caches / "wds-raw").read_frames(ids)
    )
    assert requests_of_shards(client) == 0


@pytest.mark.parametrize("reads", ["map", "pread"])
@pytest.mark.parametrize("damage", ["a flipped bit", "a missing end"])
def test_a_file_with_other_bytes_is_read_by_ranges(opened, golden_caches, here, client, *, damage, reads):
    store = opened("wds-raw", reads=reads)
    for path in (here / "shards").rglob("*.tar"):
        content = bytearray(path.read_bytes())
        if damage == "a flipped bit":
            content[len(content) // 2] ^= 1
        else:
            del content[len(content) // 2 :]
        path.write_bytes(content)
    ids = np.arange(len(store))
    np.testing.assert_array_equal(
        store.read_frames(ids), open_store(golden_caches / "wds-raw").read_frames(ids)
    )
    assert requests_of_shards(client) > 0


def test_a_payload_that_does_not_decode_is_named(opened, here):
    store = opened("wds-jpeg-columns", verify_reads=False)
    row = store.stored_index[5]
    path = next(iter(sorted((here / "shards").rglob(f"*{int(row['shard_id']):06d}.tar"))))
    content = bytearray(path.read_bytes())
    first = int(row["byte_offset"])
    content[first : first + int(row["byte_length"])] = bytes(int(row["byte_length"]))
    path.write_bytes(content)
    with pytest.raises(
        StoreDamagedError, match=r"frame 5: .*at byte \d+; run cache-verify on s3://bkt/cache"
    ):
        store.read_frames(range(len(store)))
