"""16-bit gray frames of any content, through every container, encoding, way of reading and view."""

import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import frame_store
from frame_store.codec import make_codec
from frame_store.errors import StoreFormatError
from frame_store.manifest import Encoding
from frame_store.verify import verify_store
from tests.support.caches.cache_edits import edit_generation
from tests.support.caches.golden_stores import write_store
from tests.support.caches.tree import generation_folder

KINDS = {
    "wds raw": ("wds", Encoding(name="raw")),
    "zarr raw": ("zarr", Encoding(name="raw")),
    "zarr zstd": ("zarr", Encoding(name="zstd", level=3)),
}
LEVELS = arrays.arrays(
    np.uint16,
    st.tuples(st.integers(2, 7), st.integers(1, 9), st.integers(1, 9), st.just(1)),
    elements=st.integers(0, 65_535),
    fill=st.sampled_from([0, 1, 255, 256, 65_535]),
)


@given(frames=LEVELS, kind=st.sampled_from(sorted(KINDS)), data=st.data())
def test_what_is_written_is_read(frames, kind, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "cache"
    write_store(path, *KINDS[kind], frames, frames_per_shard=3)
    ids = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=9))
    for reads in ("map", "pread"):
        for verify_reads in (False, True):
            store = frame_store.open_store(path, reads=reads, verify_reads=verify_reads)
            np.testing.assert_array_equal(store.read_frames(ids), frames[ids], strict=True)
    assert verify_store(path).problems == []
    chosen = sorted(set(ids)) or [0]
    view = frame_store.select(store, ids=chosen)
    joined = frame_store.concat([view, store])
    assert view.frame_dtype == joined.frame_dtype == np.uint16
    np.testing.assert_array_equal(view[:], frames[chosen], strict=True)
    np.testing.assert_array_equal(joined[:], np.concatenate([frames[chosen], frames]), strict=True)
    np.testing.assert_array_equal(np.array(list(joined)), joined[:])


@given(frames=LEVELS, encoding=st.sampled_from([Encoding(name="raw"), Encoding(name="zstd", level=3)]))
def test_a_payload_holds_the_low_byte_first(frames, encoding):
    codec = make_codec(encoding)
    for frame in frames:
        payload = codec.encode(frame)
        out = np.full_like(frame, 7)
        codec.decode_into(payload, out)
        np.testing.assert_array_equal(out, frame)
        if encoding.name == "raw":
            assert payload == b"".join(level.to_bytes(2, "little") for level in frame.reshape(-1).tolist())
        for wrong in (payload[:-1], b""):
            with pytest.raises(ValueError, match=r"bytes|frame|Zst|zst"):
                codec.decode_into(wrong, out)


def test_headers_and_metadata_name_little_endian_levels(tmp_path):
    frames = np.arange(4 * 8 * 9, dtype=np.uint16).reshape(4, 8, 9, 1)
    write_store(tmp_path / "tar", *KINDS["wds raw"], frames)
    with tarfile.open(generation_folder(tmp_path / "tar") / "shards/000000.tar") as tar:
        header = tar.extractfile("000000000000.npy").read(80)
    assert b"'descr': '<u2'" in header
    write_store(tmp_path / "zarr", *KINDS["zarr zstd"], frames)
    text = (generation_folder(tmp_path / "zarr") / "frames.zarr/frames/zarr.json").read_text()
    assert '"data_type": "uint16"' in text and '"endian": "little"' in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel": "rgb8"}, r"frame_shape must be \[H, W, 3\], found \[8, 9, 1\]"),
        ({"pixel": "gray8"}, "pixel"),
        (
            {"encoding": {"name": "jpeg", "quality": 95, "chroma": "444", "level": None}},
            "gray16 is not stored as jpeg",
        ),
    ],
)
def test_a_generation_that_contradicts_itself_is_refused(tmp_path, change, message):
    frames = np.arange(4 * 8 * 9, dtype=np.uint16).reshape(4, 8, 9, 1)
    write_store(tmp_path / "cache", *KINDS["wds raw"], frames)
    edit_generation(tmp_path / "cache", lambda document: document.update(change))
    with pytest.raises(StoreFormatError, match=message):
        frame_store.open_store(tmp_path / "cache")
