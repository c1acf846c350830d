"""Frames of a cache in their encoded form, for another decoder."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store.codec import make_codec
from frame_store.errors import FrameIdError, StoreDamagedError
from frame_store.protocol import HoldsEncodedFrames, check_frame_ids
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS, golden_frames, write_store
from tests.support.caches.tree import generation_folder


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


@pytest.mark.parametrize("verify_reads", [False, True])
@pytest.mark.parametrize("frame_ids", [[], [9], [9, 0, 4, 4, 1, 0, 8]])
def test_payloads_come_in_request_order_and_decode_to_the_frames(path, frame_ids, verify_reads):
    store = frame_store.open_store(path, verify_reads=verify_reads)
    payloads = store.read_encoded(frame_ids)
    assert isinstance(store, HoldsEncodedFrames)
    assert [payload.tobytes() for payload in payloads] == [store.read_payload(id_) for id_ in frame_ids]
    assert all(payload.dtype == np.uint8 and payload.flags.writeable for payload in payloads)
    codec, decoded = (
        make_codec(store.common.encoding),
        np.empty((len(frame_ids), *store.frame_shape), store.frame_dtype),
    )
    for payload, out in zip(payloads, decoded, strict=True):
        codec.decode_into(payload.tobytes(), out)
    np.testing.assert_array_equal(decoded, store.read_frames(frame_ids))


def test_the_encoding_says_what_the_payloads_are(path):
    assert frame_store.open_store(path).encoding_name == GOLDEN_ENCODINGS[path.name][1].name


def test_a_flipped_bit_is_found_where_reads_are_verified(path):
    store = frame_store.open_store(path)
    with shard_of(store, 5).open("r+b") as file:
        file.seek(int(store.index["byte_offset"][5]) + 20)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 16]))
    assert store.read_encoded([5])[0][20] == byte ^ 16
    with pytest.raises(StoreDamagedError, match=r"frame 5: expected crc32c .* run cache-verify"):
        frame_store.open_store(path, verify_reads=True).read_encoded([4, 5, 6])


@pytest.mark.parametrize("harm", ["shorter", "gone"])
def test_a_shard_that_changes_under_an_open_reader_is_named(path, harm):
    store = frame_store.open_store(path)
    store.read_encoded(range(10))
    shard = shard_of(store, 5)
    if harm == "gone":
        shard.unlink()
    else:
        with shard.open("r+b") as file:
            file.truncate(shard.stat().st_size - 1)
    assert len(store.read_encoded([0, 9])) == 2
    with pytest.raises(StoreDamagedError, match=rf"{shard.name}: frame 5: .* run cache-verify"):
        store.read_encoded([9, 5])


def test_a_shard_that_ends_while_it_is_read_is_named(path, monkeypatch):
    store = frame_store.open_store(path)
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: buffers[0].nbytes - 1)
    with pytest.raises(StoreDamagedError, match=r"frame 5: expected .* the shard is shorter than it was"):
        store.read_encoded([5])


@pytest.mark.parametrize("frame_id", [-1, 10])
def test_ids_outside_are_refused(path, frame_id):
    with pytest.raises(FrameIdError, match=f"frame id {frame_id} is outside"):
        frame_store.open_store(path).read_encoded([frame_id])


@given(data=st.data(), dtype=st.sampled_from(["i1", "u1", "i4", "u4", "<i8", ">i8", "u8", ">u8"]))
def test_ids_of_any_integers_are_checked_by_their_value(data, dtype):
    limits = np.iinfo(dtype)
    ids = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)) | st.integers(0, 12), max_size=4))
    outside = [number for number in ids if not 0 <= number < 10]
    if outside:
        with pytest.raises(FrameIdError, match=rf"frame id {outside[0]} is outside \[0, 10\)"):
            check_frame_ids(np.array(ids, dtype), num_frames=10)
    else:
        checked = check_frame_ids(np.array(ids, dtype), num_frames=10)
        assert checked.dtype == np.int64
        assert checked.tolist() == ids


def test_an_index_row_that_points_outside_its_shard_is_refused(path):
    index = np.load(generation_folder(path) / "index.npy")
    index["byte_length"][3] = 1 << 31
    np.save(generation_folder(path) / "index.npy", index)
    with pytest.raises(StoreDamagedError, match="index row 3 points at byte"):
        frame_store.open_store(path).read_encoded([0, 3])
