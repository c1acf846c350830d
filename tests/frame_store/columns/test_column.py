"""Columns against dicts: what is gathered, in parts and with translated codes, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.columns import NO_TEXT, Column, ColumnPart, Columns, MappedArray, concat_columns
from frame_store.errors import ColumnError, FrameIdError, StoreDamagedError

TEXTS = ["", "a", "b", "push", "Ä"]


@st.composite
def stores(draw):
    """Some stores: for each the text (or None) of each of its rows."""
    row = st.sampled_from([*TEXTS, None])
    return [draw(st.lists(row, max_size=6)) for _ in range(draw(st.integers(1, 4)))]


def text_columns(texts: list[str | None]) -> Columns:
    strings = sorted({text for text in texts if text is not None})
    codes = np.array([NO_TEXT if text is None else strings.index(text) for text in texts], np.int32)
    valid = np.array([text is not None for text in texts], bool)
    column = Column.of("task", "frame", codes, valid=None if valid.all() else valid, strings=strings)
    return Columns([column], num_rows=len(texts), num_videos=1, fingerprint="x")


@given(stores(), st.data())
def test_texts_of_concatenated_stores_are_those_of_the_stores(texts, data):
    joined, dropped = concat_columns([text_columns(of_store) for of_store in texts], fingerprint="y")
    expected = [text for of_store in texts for text in of_store]
    assert dropped == []
    order_of_lists = [text for of_store in texts for text in sorted({t for t in of_store if t is not None})]
    assert list(joined["task"].strings) == list(dict.fromkeys(order_of_lists))
    rows = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=8)) if expected else []
    codes = joined["task"].gather(np.array(rows, np.int64))
    assert codes.dtype == np.int32
    assert [joined["task"].text_of(code) for code in codes] == [expected[row] for row in rows]
    valid = joined["task"].gather_valid(np.array(rows, np.int64))
    assert valid.tolist() == [expected[row] is not None for row in rows]


@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    shape=st.sampled_from([(), (3,), (2, 2)]),
    positions_shape=st.sampled_from([(5,), (2, 3), (0,)]),
    data=st.data(),
)
def test_numbers_of_parts_are_gathered_as_from_one_array(sizes, shape, positions_shape, data):
    arrays = [
        np.arange(size * int(np.prod(shape)), dtype=np.float32).reshape(size, *shape) + 100 * number
        for number, size in enumerate(sizes)
    ]
    column = Column(name="a", scope="frame", parts=tuple(ColumnPart(values=array) for array in arrays))
    whole = np.concatenate(arrays)
    if not len(whole):
        positions_shape = (0,)
    positions = np.array(
        data.draw(
            st.lists(
                st.integers(0, max(0, len(whole) - 1)),
                min_size=int(np.prod(positions_shape)),
                max_size=int(np.prod(positions_shape)),
            )
        ),
        np.int64,
    ).reshape(positions_shape)
    assert len(column) == len(whole)
    np.testing.assert_array_equal(column.gather(positions), whole[positions])
    out = np.empty((*positions_shape, *shape), np.float32)
    assert column.gather(positions, out) is out
    np.testing.assert_array_equal(out, whole[positions])


def test_a_second_concat_translates_the_codes_of_the_first():
    first, _ = concat_columns([text_columns(["b"]), text_columns(["a", None])], fingerprint="y")
    second, _ = concat_columns([text_columns(["c"]), first], fingerprint="z")
    column = second["task"]
    assert column.strings == ("c", "b", "a")
    assert [column.text_of(code) for code in column.gather(np.arange(4))] == ["c", "b", "a", None]


@pytest.mark.parametrize("positions", [[3], [-1], [0.5]])
def test_positions_outside_are_refused(positions):
    column = Column.of("a", "video", np.arange(3))
    with pytest.raises(FrameIdError, match="column 'a'"):
        column.gather(positions)
    with pytest.raises(FrameIdError):
        column.gather_valid(positions)


def test_a_wrong_buffer_is_refused():
    column = Column.of("a", "video", np.arange(3))
    for out in (np.empty(2, np.int32), np.empty(3), np.empty((2, 2), np.int64), np.empty(4, np.int64)[::2]):
        with pytest.raises(ValueError, match="out must be"):
            column.gather([0, 1], out)


@pytest.mark.parametrize("code", [2, -2])
def test_a_code_without_a_text_is_damage(code):
    codes = np.array([0, code], np.int32)
    column = Column.of("task", "frame", codes, strings=["a", "b"])
    with pytest.raises(StoreDamagedError, match=f"code {code}"):
        column.gather([0, 1])
    columns = Columns([column], num_rows=2, num_videos=1, fingerprint="x")
    joined, _ = concat_columns([text_columns(["c"]), columns], fingerprint="y")
    with pytest.raises(StoreDamagedError, match=f"code {code}"):
        joined["task"].gather([0, 2])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(2, complex), "complex128"),
        (np.zeros(2, ">f4"), ">f4"),
        (np.zeros((2, 0)), "shape"),
        (np.zeros(2, object), "object"),
        (np.zeros(2, "M8[s]"), "datetime"),
    ],
)
def test_other_kinds_are_refused(values, message):
    with pytest.raises(ColumnError, match=message):
        Column.of("a", "frame", values)


def test_parts_of_different_kinds_are_refused():
    parts = (ColumnPart(values=np.zeros(2, np.int64)), ColumnPart(values=np.zeros(2, np.int32)))
    with pytest.raises(ColumnError, match=r"int64.*int32"):
        Column(name="a", scope="frame", parts=parts)
    with pytest.raises(ColumnError, match="valid"):
        Column.of("a", "frame", np.zeros(2), valid=np.ones(3, bool))


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a\\b", "a\nb", "\x00", "x" * 256, 3])
def test_names_that_no_file_could_have_are_refused(name):
    with pytest.raises(ColumnError):
        Column.of(name, "frame", np.zeros(2))


@pytest.mark.parametrize("name", ["action", "observation.state", "a b", "Zahl-1", "ö"])
def test_plain_names_are_taken(name):
    assert Column.of(name, "frame", np.zeros(2)).name == name


def make_columns(*columns, num_rows=2, num_videos=1):
    return Columns(columns, num_rows=num_rows, num_videos=num_videos, fingerprint="x")


def test_columns_of_a_store_have_its_length_and_different_names():
    with pytest.raises(ColumnError, match="3 rows, the store has 2 decoded frames"):
        make_columns(Column.of("a", "frame", np.zeros(3)))
    with pytest.raises(ColumnError, match="2 rows, the store has 1 video"):
        make_columns(Column.of("a", "video", np.zeros(2)))
    with pytest.raises(ColumnError, match="differ by case alone"):
        make_columns(Column.of("a", "frame", np.zeros(2)), Column.of("A", "frame", np.zeros(2)))
    with pytest.raises(ColumnError, match="occurs twice"):
        make_columns(Column.of("a", "frame", np.zeros(2)), Column.of("a", "frame", np.zeros(2)))


def test_columns_are_gathered_by_their_scope():
    columns = make_columns(
        Column.of("state", "frame", np.arange(6).reshape(3, 2)),
        Column.of("weight", "video", np.array([0.5, 1.5])),
        num_rows=3,
        num_videos=2,
    )
    gathered = columns.gather([[2, 0]], [[1, 0]])
    assert gathered["state"].tolist() == [[[4, 5], [0, 1]]]
    assert gathered["weight"].tolist() == [[1.5, 0.5]]
    with pytest.raises(FrameIdError):
        columns.gather([3], [0])
    with pytest.raises(FrameIdError):
        columns.gather([0], [2])


def test_columns_are_selected_by_name():
    columns = make_columns(*(Column.of(name, "frame", np.zeros(2)) for name in ("state", "action")))
    assert list(columns) == ["action", "state"]
    assert list(columns.select(["state"])) == ["state"]
    with pytest.raises(ColumnError, match="near are 'state'"):
        columns.select(["stat"])
    with pytest.raises(KeyError, match="there are 'action', 'state'"):
        columns["q"]
    with pytest.raises(ColumnError, match="twice"):
        columns.select(["state", "state"])


def test_concat_keeps_the_columns_that_all_have():
    first = make_columns(*(Column.of(name, "frame", np.zeros(2)) for name in ("state", "action")))
    joined, dropped = concat_columns(
        [first, make_columns(Column.of("state", "frame", np.ones(2)))], fingerprint="y"
    )
    assert list(joined) == ["state"]
    assert dropped == ["action"]
    assert joined["state"].gather(np.arange(4)).tolist() == [0, 0, 1, 1]


def test_concat_refuses_one_name_with_two_kinds():
    first = make_columns(Column.of("state", "frame", np.zeros((2, 3), np.float32)))
    other = make_columns(Column.of("state", "frame", np.zeros((2, 4), np.float32)))
    with pytest.raises(ColumnError, match=r"float32 of shape \(3,\) in store 0; .*\(4,\) in store 1"):
        concat_columns([first, other], fingerprint="y")
    with pytest.raises(ColumnError, match="per video"):
        concat_columns(
            [first, make_columns(Column.of("state", "video", np.zeros((1, 3), np.float32)))], fingerprint="y"
        )


@pytest.mark.parametrize("shape", [(4, 2), (0, 2)])
def test_a_mapped_array_is_the_file_and_pickles_as_its_place(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "0000.npy", values)
    mapped = MappedArray(tmp_path, "0000.npy", dtype=values.dtype, shape=values.shape)
    np.testing.assert_array_equal(mapped.array, values)
    pickled = pickle.dumps(mapped)
    assert len(pickled) < 600
    np.testing.assert_array_equal(pickle.loads(pickled).array, values)
    if values.size:
        with pytest.raises(ValueError, match="read-only"):
            mapped.array[0] = 1


def test_a_mapped_array_must_be_what_was_written(tmp_path):
    values = np.zeros((4, 2), np.float32)
    np.save(tmp_path / "0000.npy", values)

    def mapped(name="0000.npy", dtype=np.float32, shape=(4, 2)):
        return MappedArray(tmp_path, name, dtype=np.dtype(dtype), shape=shape).array

    for change in ({"shape": (2, 4)}, {"dtype": np.int32}, {"name": "0001.npy"}):
        with pytest.raises(StoreDamagedError, match="cache-build --columns"):
            mapped(**change)
    (tmp_path / "0001.npy").symlink_to("0000.npy")
    with pytest.raises(StoreDamagedError, match="symbolic link"):
        mapped("0001.npy")
    (tmp_path / "0002.npy").write_bytes((tmp_path / "0000.npy").read_bytes()[:-1])
    with pytest.raises(StoreDamagedError, match="bytes"):
        mapped("0002.npy")
    np.save(tmp_path / "0003.npy", np.array([object()] * 4), allow_pickle=True)
    with pytest.raises(StoreDamagedError, match="objects"):
        mapped("0003.npy")
