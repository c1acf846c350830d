"""Stores read back by our reader and by plain `tarfile`, `webdataset` and zarr-python."""

import gc
import hashlib
import io
import json
import math
import multiprocessing
import pickle
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frame_store
from frame_store.errors import FrameIdError, StoreDamagedError
from tests.support.caches.golden_stores import (
    GOLDEN_ENCODINGS,
    STRIDED,
    WITH_ORDER,
    golden_frames,
    write_store,
    write_store_with_order,
)
from tests.support.caches.tree import generation_folder

DATA = Path(__file__).parents[2] / "data"
FRAMES = golden_frames()
JPEG_TOLERANCE = 24  # levels; the gradients have saw teeth, on which quality 95 rings
TAR_ONLY = pytest.mark.parametrize(
    "written", [name for name in GOLDEN_ENCODINGS if "wds" in name], indirect=True
)
ZARR_ONLY = pytest.mark.parametrize(
    "written", [name for name in GOLDEN_ENCODINGS if "zarr" in name], indirect=True
)
LOSSLESS = [name for name in GOLDEN_ENCODINGS if not name.endswith("jpeg")]


@pytest.fixture(scope="module", params=list(GOLDEN_ENCODINGS))
def written(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / request.param
    container, encoding = GOLDEN_ENCODINGS[request.param]
    write_store(path, container, encoding, golden_frames(request.param))
    return path


def expected_of(path):
    """The frames a store must give: exact if lossless, else as another JPEG decoder gives them."""
    if "jpeg" not in path.name:
        return golden_frames(path.name)
    import simplejpeg

    frames = []
    for shard in sorted((generation_folder(path) / "shards").iterdir()):
        with tarfile.open(shard) as tar:
            frames += [
                simplejpeg.decode_jpeg(tar.extractfile(member).read())
                for member in tar
                if member.name.endswith(".jpg")
            ]
    return np.stack(frames)


def test_all_frames_come_back(written):
    store = frame_store.open_store(written)
    assert len(store) == len(FRAMES)
    frames = store.read_frames(np.arange(len(store)))
    np.testing.assert_array_equal(frames, expected_of(written))
    assert frames.dtype == store.frame_dtype
    if store.common.pixel == "rgb8":
        error = np.mean((frames.astype(float) - FRAMES) ** 2)
        assert 10 * math.log10(255**2 / max(error, 1e-9)) > 38


def test_request_order_and_duplicates(written):
    store = frame_store.open_store(written)
    expected = expected_of(written)

    @given(st.lists(st.integers(0, len(FRAMES) - 1), max_size=20))
    def check(frame_ids):
        np.testing.assert_array_equal(store.read_frames(frame_ids), expected[frame_ids])

    check()


def test_reads_into_the_callers_buffer(written):
    store = frame_store.open_store(written)
    out = np.full((3, *store.frame_shape), 99, store.frame_dtype)
    assert store.read_frames([9, 0, 3], out) is out
    np.testing.assert_array_equal(out, expected_of(written)[[9, 0, 3]])
    other = np.zeros((3, 16, 24, 4), store.frame_dtype)
    for wrong in (out[:2], out.astype(np.int16), out[:, ::-1], other):
        with pytest.raises(ValueError, match="out must be"):
            store.read_frames([9, 0, 3], wrong)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        store.read_frames([9, 0, 3], out)


@pytest.mark.parametrize("wrong", [-1, 10, 2**40])
def test_ids_outside_are_refused(written, wrong):
    store = frame_store.open_store(written)
    with pytest.raises(FrameIdError, match=rf"frame id {wrong} is outside \[0, 10\)"):
        store.read_frames([0, wrong])
    with pytest.raises(ValueError, match="flat sequence of integers"):
        store.read_frames(np.zeros(2))


def test_index_says_who_each_frame_is(written):
    store = frame_store.open_store(written)
    assert store.index["video_id"].tolist() == [0] * 5 + [1] * 5
    assert store.index["frame_in_video"].tolist() == [0, 1, 2, 3, 4] * 2
    np.testing.assert_array_equal(store.index["pts_seconds"][:5], np.arange(5) / 25)
    assert np.isnan(store.index["pts_seconds"][5:]).all()
    assert store.shard_sizes.tolist() == [4, 4, 2]
    with pytest.raises(ValueError, match="read-only"):
        store.index["video_id"][0] = 1


def test_threads_pickles_and_forks_read_the_same(written):
    store = frame_store.open_store(written)
    expected = expected_of(written)
    with ThreadPoolExecutor(4) as threads:
        for frames in threads.map(store.read_frames, [[i, 9 - i] for i in range(10)] * 5):
            assert len(frames) == 2
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read_frames([5]), expected[[5]])
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            np.testing.assert_array_equal(pool.apply(store.read_frames, ([6, 1],)), expected[[6, 1]])


@pytest.mark.parametrize("name", list(GOLDEN_ENCODINGS))
def test_golden_store_of_version_1_is_still_read(name):
    store = frame_store.open_store(DATA / f"store-v1-{name}")
    frames = store.read_frames(np.arange(10))
    if name in LOSSLESS:
        np.testing.assert_array_equal(frames, golden_frames(name), strict=True)
    else:
        assert np.abs(frames.astype(int) - FRAMES).max() <= JPEG_TOLERANCE
    assert not frames[3].any()


def test_the_golden_store_with_every_file_of_source_order_is_still_read():
    store = frame_store.open_store(DATA / f"store-v1-{STRIDED}")
    assert [store.ids_of_video(video_id).tolist() for video_id in (0, 1)] == [
        [9, 8, 7, 6, 5],
        [4, 3, 2, 1, 0],
    ]
    order = store.source_order
    assert order.first_row.tolist() == [0, 13, 26]
    assert order.source_frames is not None
    assert order.source_frames.tolist() == [0, 3, 6, 9, 12] * 2
    assert order.source_pts is not None
    np.testing.assert_allclose(order.source_pts[:13], np.arange(13) / 25)
    assert np.isnan(order.source_pts[13:]).all()
    np.testing.assert_array_equal(store[:], FRAMES)


def test_the_golden_store_with_a_content_order_is_still_read_and_made_as_ever(tmp_path):
    golden = DATA / f"store-v1-{WITH_ORDER}"
    store = frame_store.open_store(golden)
    order = store.content_order
    assert order is not None
    assert order.dtype == np.uint32
    assert sorted(order.tolist()) == list(range(10))
    (file,) = golden.glob("content-*/content_order.npy")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == store.content_digest
    write_store_with_order(tmp_path / WITH_ORDER)
    assert (tmp_path / WITH_ORDER / file.relative_to(golden)).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_stores_are_written_as_ever(name, tmp_path):
    """Only library versions may change the bytes of these; the raw tar has no library in it."""
    write_store(tmp_path / name, *GOLDEN_ENCODINGS[name], golden_frames(name))
    golden = generation_folder(DATA / f"store-v1-{name}")
    pattern = "shards/*" if name.startswith("wds") else "frames.zarr/frames/c/**/0"
    shards = sorted(path for path in golden.glob(pattern) if path.is_file())
    assert len(shards) == 3
    if "zstd" not in name:
        for shard in shards:
            written = generation_folder(tmp_path / name) / shard.relative_to(golden)
            assert written.read_bytes() == shard.read_bytes()


@TAR_ONLY
def test_plain_tarfile_and_json(written):
    expected = expected_of(written)
    for shard_id, shard in enumerate(sorted((generation_folder(written) / "shards").iterdir())):
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
            assert all((m.mtime, m.uid, m.gid, m.uname, m.mode) == (0, 0, 0, "", 0o444) for m in members)
            for slot, (image, metadata) in enumerate(zip(members[::2], members[1::2], strict=True)):
                frame_id = 4 * shard_id + slot
                assert Path(image.name).stem == Path(metadata.name).stem == f"{frame_id:012d}"
                if image.name.endswith(".npy"):
                    pixels = np.load(io.BytesIO(tar.extractfile(image).read()))
                    np.testing.assert_array_equal(pixels, expected[frame_id], strict=True)
                assert json.loads(tar.extractfile(metadata).read()) == {
                    "video_id": frame_id // 5,
                    "video": ["first.mp4", "more/second ü.h264"][frame_id // 5],
                    "frame_in_video": frame_id % 5,
                    "pts_seconds": frame_id / 25 if frame_id < 5 else None,
                }


@TAR_ONLY
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset(written):
    """Webdataset 1.0 leaves the last tar to the garbage collector, hence the filter and the collection."""
    import webdataset

    shards = [str(shard) for shard in sorted((generation_folder(written) / "shards").iterdir())]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"{i:012d}" for i in range(10)]
    for frame_id, sample in enumerate(samples):
        image = sample["npy"] if "npy" in sample else sample["jpg"]
        assert np.abs(np.asarray(image).astype(int) - golden_frames(written.name)[frame_id]).max() <= (
            0 if "npy" in sample else JPEG_TOLERANCE
        )
        assert sample["json"]["frame_in_video"] == frame_id % 5
    del samples
    gc.collect()


@ZARR_ONLY
def test_plain_zarr(written):
    import zarr

    group = zarr.open_group(generation_folder(written) / "frames.zarr", mode="r")
    np.testing.assert_array_equal(group["frames"][:], golden_frames(written.name), strict=True)
    assert group["video_id"][:].tolist() == [0] * 5 + [1] * 5
    assert group["frame_in_video"][:].tolist() == [0, 1, 2, 3, 4] * 2
    np.testing.assert_array_equal(group["pts_seconds"][:5], np.arange(5) / 25)
    assert np.isnan(group["pts_seconds"][5:]).all()


@ZARR_ONLY
def test_zarr_stores_the_black_frame(written):
    index = frame_store.open_store(written).index
    assert index["byte_length"].min() > 0
    shard = (generation_folder(written) / "frames.zarr/frames/c/0/0/0/0").read_bytes()
    entries = np.frombuffer(shard[-(4 * 16 + 4) : -4], "<u8").reshape(4, 2)
    np.testing.assert_array_equal(entries[:, 0], index["byte_offset"][:4])
    np.testing.assert_array_equal(entries[:, 1], index["byte_length"][:4])


def test_a_shortened_or_missing_shard_is_named(written, tmp_path):
    copy = shutil.copytree(written, tmp_path / "copy")
    shard = generation_folder(copy) / frame_store.open_store(copy).common.shards[1].name
    content = shard.read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        shard.write_bytes(content[:length])
        with pytest.raises(StoreDamagedError, match=f"expected {len(content)} bytes, found {length}"):
            frame_store.open_store(copy).read_frames([5])
    shard.unlink()
    with pytest.raises(StoreDamagedError, match="No such file"):
        frame_store.open_store(copy).read_frames([5])


def test_a_shard_that_shrinks_under_an_open_reader_is_an_error(written, tmp_path):
    copy = shutil.copytree(written, tmp_path / "copy")
    store = frame_store.open_store(copy)
    store.read_frames([5])
    with (generation_folder(copy) / store.common.shards[1].name).open("r+b") as file:
        file.truncate(10)
    with pytest.raises(StoreDamagedError, match="frame 5"):
        store.read_frames([5])


def test_an_index_that_does_not_fit_is_refused(written, tmp_path):
    copy = shutil.copytree(written, tmp_path / "copy")
    index_path = generation_folder(copy) / "index.npy"
    content = index_path.read_bytes()
    for broken in (b"", content[:50], content[:-1], content.replace(b"crc32c", b"crc99c")):
        index_path.write_bytes(broken)
        with pytest.raises(StoreDamagedError, match=r"index\.npy"):
            frame_store.open_store(copy)
    rows = np.load(io.BytesIO(content))
    for field, value in (("shard_id", 77), ("byte_offset", 2**62), ("byte_length", 2**31)):
        altered = rows.copy()
        altered[field][5] = value
        np.save(index_path, altered)
        with pytest.raises(StoreDamagedError, match=r"frame 5|row 5"):
            frame_store.open_store(copy).read_frames([5])
