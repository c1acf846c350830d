"""Tables in every form: the same table, and each kind of bad cell."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.errors import ColumnError
from frame_store.tables import Table, read_table

VALUES = {
    "video": ["b", "a", "b"],
    "frame": [0, 0, 1],
    "action": [[1.5, 2.0], [3.0, 4.0], [5.0, 6.5]],
    "reward": [0.25, -1.0, 3.0],
    "step": [7, -8, 9],
    "done": [False, True, False],
    "task": ["push", "Öffnen", "push"],
}


def write_csv(folder, values):
    path = folder / "table.csv"
    names = list(values)
    lines = [",".join(names)]
    for row in zip(*values.values(), strict=True):
        lines.append(",".join(str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_npz(folder, values):
    np.savez(folder / "table.npz", **{name: np.array(column) for name, column in values.items()})
    return folder / "table.npz"


def arrow(folder, values):
    return pytest.importorskip("pyarrow").table(values)


def write_parquet(folder, values):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(arrow(folder, values), folder / "table.parquet", row_group_size=2)
    return folder / "table.parquet"


def pandas_frame(folder, values):
    return pytest.importorskip("pandas").DataFrame(values)


def polars_frame(folder, values):
    return pytest.importorskip("polars").DataFrame(values)


FORMS = {
    "dict": lambda folder, values: values,
    "csv": write_csv,
    "npz": write_npz,
    "arrow": arrow,
    "parquet": write_parquet,
    "pandas": pandas_frame,
    "polars": polars_frame,
}
IN_MEMORY = ["dict", "arrow", "pandas", "polars", "parquet"]


def plain(table: Table) -> dict[str, list]:
    """The table as lists."""
    found = {}
    for name, column in {"video": table.video, **table.columns}.items():
        values = column.values.tolist()
        found[name] = values if column.strings is None else [column.strings[code] for code in values]
    if table.frames is not None:
        found["frame"] = table.frames.tolist()
    if table.seconds is not None:
        found["seconds"] = table.seconds.tolist()
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_table(form, tmp_path):
    values = {name: column for name, column in VALUES.items() if form != "csv" or name != "action"}
    table = read_table(FORMS[form](tmp_path, values))
    assert plain(table) == values
    dtypes = {name: column.values.dtype.str for name, column in table.columns.items()}
    assert dtypes.pop("action", "<f8") == "<f8"
    assert dtypes == {"reward": "<f8", "step": "<i8", "done": "|b1", "task": "<i4"}
    assert table.columns["task"].strings == ("push", "Öffnen")


@pytest.mark.parametrize("form", ["dict", "npz", "arrow", "parquet", "pandas", "polars"])
@pytest.mark.parametrize("dtype", ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
def test_dtypes_stay(form, dtype, tmp_path):
    values = {"video": ["a", "b"], "x": np.array([0, 1], dtype)}
    table = read_table(FORMS[form](tmp_path, values))
    assert table.columns["x"].values.dtype == np.dtype(dtype)
    assert table.columns["x"].values.tolist() == [0, 1]


@pytest.mark.parametrize("form", IN_MEMORY)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"x": [[1.0, 2.0], [3.0]]}, "'x': row 1: a list"),
        ({"x": [1, None]}, "'x': row 1: (null|no value|NaN)"),
        ({"x": ["q", None]}, "'x': row 1: (null|no value)"),
        ({"x": [[1.0, 2.0], [3.0, None]]}, "'x': row 1: "),
        ({"x": [1.0, float("nan")]}, r"'x': row 1: NaN \(in 1 of 2 rows\)"),
        ({"x": [[0.0, 1.0], [1.0, float("nan")]]}, "'x': row 1: NaN"),
        ({"x": [b"q", b"r"]}, "'x'"),
        ({"x": [1, 2], "X": [1, 2]}, "differ by case alone"),
        ({"a/b": [1, 2]}, "path separator"),
        ({"": [1, 2]}, "the name is empty"),
        ({"a\nb": [1, 2]}, "control character"),
        ({"video": [1, 2], "x": [1, 2]}, "'video' must be texts"),
        ({"frame": [0.5, 1.5], "x": [1, 2]}, "'frame' must be whole numbers"),
        ({"frame": [0, 1], "seconds": [0.0, 1.0], "x": [1, 2]}, "both 'frame' and 'seconds'"),
        ({"seconds": ["0", "1"], "x": [1, 2]}, "'seconds' must be numbers"),
        ({}, "no column beside its keys"),
    ],
)
def test_bad_values_are_refused_by_row_and_column(form, bad, message, tmp_path):
    table = FORMS[form](tmp_path, {"video": ["a", "b"], **bad})
    with pytest.raises(ColumnError, match=message):
        read_table(table)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ma.array([1, 2, 3], mask=[False, True, True]), r"'x': row 1: no value \(in 2 of 3 rows\)"),
        (
            np.ma.array([[1.0, 2], [3, 4], [5, 6]], mask=[[0, 0], [0, 0], [0, 1]]),
            r"'x': row 2: no value \(in 1 of",
        ),
        ([[1.0], np.ma.array([2.0], mask=[True]), [3.0]], "'x': row 1: a masked value"),
        ([2**63, -1, 0], "'x': whole numbers of more than 64 bits"),
    ],
    ids=["masked", "masked lists", "a masked list", "rounded by numpy"],
)
def test_what_numpy_would_change_in_silence_is_refused(values, message):
    with pytest.raises(ColumnError, match=message):
        read_table({"video": ["a", "b", "c"], "x": values})


def test_a_tensor_with_a_gradient_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ColumnError, match=r"'x': no array: .*requires grad"):
        read_table({"video": ["a", "b", "c"], "x": torch.ones(3, requires_grad=True)})


def test_a_mask_that_hides_nothing_is_none():
    table = read_table({"video": ["a", "b"], "x": np.ma.array([1, 2]), "y": np.ma.array([3, 4], mask=[0, 0])})
    assert {name: column.values.tolist() for name, column in table.columns.items()} == {
        "x": [1, 2],
        "y": [3, 4],
    }


@pytest.mark.parametrize("form", ["dict", "csv", "npz", "arrow", "parquet", "pandas"])
def test_a_table_needs_videos_and_rows(form, tmp_path):
    with pytest.raises(ColumnError, match=r"no column 'video'.*found 'x'"):
        read_table(FORMS[form](tmp_path, {"x": [1.0]}))
    with pytest.raises(ColumnError, match=r"no rows|must be texts|values of null"):
        read_table(FORMS[form](tmp_path, {"video": [], "x": []}))


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["1", "-2"], "<i8", [1, -2]),
        (["1", "2.5"], "<f8", [1.0, 2.5]),
        (["1e3", "inf"], "<f8", [1000.0, float("inf")]),
        (["true", "False"], "|b1", [True, False]),
        (["1", "0"], "<i8", [1, 0]),
        (["007", "120"], "text", ["007", "120"]),
        (["a", "b c"], "text", ["a", "b c"]),
        (["1_000", "2_000"], "text", ["1_000", "2_000"]),
    ],
)
def test_all_cells_of_a_csv_column_decide_its_type(cells, kind, expected, tmp_path):
    table = read_table(write_csv(tmp_path, {"video": ["a", "b"], "x": cells}))
    column = table.columns["x"]
    assert ("text" if column.strings is not None else column.values.dtype.str) == kind
    assert plain(table)["x"] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,x\na,1\nb,\n", "column 'x': line 3: the cell is empty"),
        ("video,x\na,1\nb,n/a\n", "column 'x': line 3: expected a number, as in 1 other cells, found 'n/a'"),
        ("video,x\na,1.5\n\nb,nan\n", "column 'x': line 4: NaN"),
        ("video,x\na,1\nb\n", "line 3: expected 2 cells, found 1"),
        (
            "video,frame,x\na,0,1\na,1.5,1\n",
            "column 'frame': line 3: expected a whole number of 64 bits, found '1.5'",
        ),
        ("video,x\na,99999999999999999999\n", "column 'x': line 2: expected a whole number of 64 bits"),
        ("video,seconds,x\na,00:01,1\n", "column 'seconds': line 2: expected a number"),
        ("video,x,x\na,1,1\n", "'x' occurs twice"),
        ("", "line 1: expected the names"),
        ('video,x\na,"1\n', "line"),
    ],
)
def test_bad_csv_is_refused_by_file_line_column_and_value(text, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ColumnError, match=message) as raised:
        read_table(path)
    assert str(raised.value).startswith(str(path))


def test_csv_names_of_videos_stay_texts(tmp_path):
    table = read_table(write_csv(tmp_path, {"video": ["000", "1"], "x": [1, 2]}))
    assert plain(table)["video"] == ["000", "1"]
    path = tmp_path / "latin.csv"
    path.write_bytes("video,x\nä,1\n".encode("latin-1"))
    with pytest.raises(ColumnError, match="is not UTF-8"):
        read_table(path)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("ifbt"), min_size=1),
    st.integers(1, 5),
    st.data(),
)
def test_csv_gives_back_what_was_written(tmp_path_factory, kinds, num_rows, data):
    cell = {
        "i": st.integers(-(2**63), 2**63 - 1),
        "f": st.floats(allow_nan=False).map(lambda value: value + 0.5),
        "b": st.booleans(),
        "t": st.text("xyzÄ ", min_size=1).filter(str.strip),
    }
    values = {"video": [f"v{row}" for row in range(num_rows)]} | {
        name: data.draw(st.lists(cell[kind], min_size=num_rows, max_size=num_rows))
        for name, kind in kinds.items()
    }
    table = read_table(write_csv(tmp_path_factory.mktemp("csv"), values))
    assert plain(table) == values


def test_npz_with_objects_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, video=np.array(["a"]), x=np.array([{}], object))
    with pytest.raises(ColumnError, match=r"table.npz: column 'x': .*allow_pickle"):
        read_table(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(ColumnError, match=r"table.npz: is no .npz file"):
        read_table(path)
    np.save(tmp_path / "one.npy", np.arange(3))
    (tmp_path / "one.npy").rename(path)
    with pytest.raises(ColumnError, match=r"table.npz: is no .npz file"):
        read_table(path)


def test_big_endian_arrays_are_turned(tmp_path):
    table = read_table({"video": ["a", "b"], "x": np.array([1, 256], ">i4")})
    assert table.columns["x"].values.dtype.str == "<i4"
    assert table.columns["x"].values.tolist() == [1, 256]


def test_other_files_and_objects_are_refused(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(VALUES))
    with pytest.raises(ColumnError, match=r"must end with .parquet, .csv or .npz, found '.json'"):
        read_table(path)
    with pytest.raises(ColumnError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(ColumnError, match=r"a table must be .* found int"):
        read_table(3)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    pytest.importorskip("pyarrow")
    with pytest.raises(ColumnError, match=r"bad.parquet: is no Parquet file"):
        read_table(tmp_path / "bad.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "table.parquet").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ColumnError, match=r"pip install 'frame-cache\[tables\]'"):
        read_table(tmp_path / "table.parquet")


def test_arrow_lists_of_every_kind_become_shapes():
    pa = pytest.importorskip("pyarrow")
    nested = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    for kind in (
        pa.list_(pa.list_(pa.int16())),
        pa.large_list(pa.list_(pa.int16(), 3)),
        pa.list_(pa.list_(pa.int16(), 3), 2),
    ):
        column = read_table(pa.table({"video": ["a", "b"], "x": pa.array(nested, kind)})).columns["x"]
        assert column.values.dtype == np.int16 and column.values.tolist() == nested
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(nested, np.int16))
    column = read_table(pa.table({"video": ["a", "b"], "x": tensor})).columns["x"]
    assert column.values.tolist() == nested
    ragged = pa.array([[[1], [2]], [[3], [4, 5]]])
    with pytest.raises(ColumnError, match="row 1: a list of 2, the first has 1"):
        read_table(pa.table({"video": ["a", "b"], "x": ragged}))


def test_arrow_dictionaries_are_texts_and_chunks_are_joined():
    pa = pytest.importorskip("pyarrow")
    chunks = pa.chunked_array([pa.array(["b", "a"]).dictionary_encode(), pa.array(["c"]).dictionary_encode()])
    table = read_table(pa.table({"video": ["x", "y", "z"], "task": chunks}).slice(1))
    assert plain(table)["task"] == ["a", "c"]
    assert table.columns["task"].strings == ("a", "c")


def test_lone_surrogates_are_refused():
    with pytest.raises(ColumnError, match=r"row 1: .*UTF-8"):
        read_table({"video": ["a", "b"], "task": ["x", "\ud800"]})
