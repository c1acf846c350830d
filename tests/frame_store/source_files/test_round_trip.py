"""The files of source order: what is written is what is mapped, and what cannot be right is refused by name."""

import os
import pickle
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.errors import StoreDamagedError
from frame_store.source_files import SOURCE_FILE_NAMES, open_source_order, write_source_order
from frame_store.source_order import SourceOrder
from tests.support.source_orders import index_of, order_of, rows_of_stores, times_of

ROWS, NUM_DECODED = [(0, 4), (2, 0), (0, 0), (0, 2), (2, 1)], [5, 3, 2]


def with_times(order):
    video_ids = np.repeat(np.arange(order.num_videos), np.diff(order.first_row))
    frames = np.arange(order.num_rows) - order.first_row[video_ids]
    return replace(order, source_pts=times_of(video_ids, frames))


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def opened(folder, order, *, is_shuffled=True, listed=None):
    return open_source_order(
        folder,
        listed=names_in(folder) if listed is None else listed,
        num_frames=order.num_stored,
        num_videos=order.num_videos,
        is_shuffled=is_shuffled,
    )


@pytest.fixture
def written(tmp_path):
    order = with_times(order_of(ROWS, NUM_DECODED))
    write_source_order(tmp_path, order, is_shuffled=True)
    return tmp_path, order


@given(rows_of_stores(), st.booleans())
def test_what_is_written_is_mapped(tmp_path_factory, store, is_always_shuffled):
    rows, num_decoded = store
    order = with_times(order_of(rows, num_decoded))
    is_shuffled = is_always_shuffled or order.order is not None
    folder = tmp_path_factory.mktemp("order")
    write_source_order(folder, order, is_shuffled=is_shuffled)
    expected = {"first_row.npy", "first_stored.npy", "source_pts.npy"}
    expected |= {"order.npy"} if is_shuffled else set()
    expected |= {"source_frames.npy"} if len(rows) < sum(num_decoded) else set()
    assert names_in(folder) == expected
    found = opened(folder, order, is_shuffled=is_shuffled)
    for name in (field.name for field in fields(SourceOrder) if field.name != "label"):
        column, wanted = getattr(found, name), getattr(order, name)
        if name == "order" and is_shuffled and wanted is None:
            wanted = np.arange(len(rows))
        if wanted is None:
            assert column is None
            continue
        np.testing.assert_array_equal(column, wanted)
        assert not column.flags.writeable or not column.size
        assert (folder / f"{name}.npy").read_bytes().endswith(np.asarray(column).tobytes())
        assert np.load(folder / f"{name}.npy").dtype == (
            np.uint64 if name.startswith("first") else column.dtype
        )


@pytest.mark.parametrize("name", SOURCE_FILE_NAMES)
def test_a_missing_file_is_named(written, name):
    folder, order = written
    listed = names_in(folder)
    (folder / name).unlink()
    with pytest.raises(StoreDamagedError, match=re.escape(f"{folder}/{name}: cannot be read: No such file")):
        opened(folder, order, listed=listed)
    with pytest.raises(StoreDamagedError, match=re.escape(f"{folder}/{name}: is not among the files of the")):
        opened(folder, order)


@pytest.mark.parametrize("name", SOURCE_FILE_NAMES)
def test_no_link_is_followed(written, name, tmp_path_factory):
    folder, order = written
    outside = tmp_path_factory.mktemp("outside") / "file"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(StoreDamagedError, match=rf"{name}: cannot be read: is a symbolic link"):
        opened(folder, order)


@pytest.mark.parametrize("name", SOURCE_FILE_NAMES)
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: np.save(path, np.load(path)[:-1]),
        lambda path: np.save(path, np.append(np.load(path), 1)),
        lambda path: np.save(path, np.load(path).astype(">i8")),
        lambda path: np.save(path, np.load(path).astype(object), allow_pickle=True),
        lambda path: np.save(path, np.load(path).reshape(1, -1)),
        lambda path: os.truncate(path, path.stat().st_size - 1),
        lambda path: os.truncate(path, 5),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps(np.load(path))),
    ],
    ids=["short", "long", "dtype", "objects", "shape", "cut", "cut in its header", "more", "empty", "pickle"],
)
def test_a_file_of_another_form_is_refused(written, name, harm):
    folder, order = written
    harm(folder / name)
    with pytest.raises(StoreDamagedError, match=re.escape(f"{folder}/{name}: ")):
        opened(folder, order)


@pytest.mark.parametrize(
    ("name", "starts", "message"),
    [
        ("first_stored.npy", [0, 3, 3, 6], "first_stored.npy: expected 5 for its last number, found 6"),
        ("first_stored.npy", [0, 3, 2**64 - 2, 5], "first_stored must begin with 0 and never fall"),
        ("first_stored.npy", [1, 3, 3, 5], "first_stored must begin with 0 and never fall"),
        ("first_stored.npy", [0, 1, 5, 5], "video 1 has more stored than decoded frames"),
        ("first_row.npy", [0, 1, 2, 4], "first_row.npy: expected 5 or more for its last number, found 4"),
        ("first_row.npy", [0, 5, 8, 2**63], "first_row.npy: expected 5 or more for its last number, found -"),
        ("first_row.npy", [0, 5, 8, 11], r"source_pts.npy: expected \d+ bytes with \(11,\) of float64"),
        ("first_row.npy", [0, 8, 5, 10], "first_row must begin with 0 and never fall"),
    ],
)
def test_counts_that_cannot_be_right_are_refused(written, name, starts, message):
    folder, order = written
    np.save(folder / name, np.array(starts, np.uint64))
    with pytest.raises(StoreDamagedError, match=message):
        opened(folder, order)


def test_a_file_that_such_a_generation_does_not_have_is_refused(written):
    folder, order = written
    with pytest.raises(StoreDamagedError, match=r"order\.npy: such a generation has no such file"):
        opened(folder, order, is_shuffled=False)
    np.save(folder / "first_row.npy", order.first_stored.astype(np.uint64))
    with pytest.raises(StoreDamagedError, match=r"source_frames\.npy: such a generation has no such file"):
        opened(folder, order)


def test_only_the_files_asked_for_are_written(tmp_path):
    write_source_order(
        tmp_path, with_times(order_of(ROWS, NUM_DECODED)), is_shuffled=True, names=["order.npy"]
    )
    assert names_in(tmp_path) == {"order.npy"}
    assert np.load(tmp_path / "order.npy").tolist() == [2, 3, 0, 1, 4]
    assert index_of(ROWS)["frame_in_video"][[2, 3, 0]].tolist() == [0, 2, 4]
