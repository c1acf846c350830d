"""Values of the data that no column can hold: an error that names file, feature, row and episode."""

import re

import numpy as np
import pyarrow as pa
import pytest

from cache_builder.errors import ColumnsError
from cache_builder.sources import Sources, look_into
from tests.support.lerobot import FeatureSpec, edit_data, edit_parquet, write_lerobot

DATA = "data/chunk-000/file-000.parquet"
FEATURES = {
    "state": FeatureSpec(shape=(2,)),
    "matrix": FeatureSpec(shape=(2, 2)),
    "count": FeatureSpec(dtype="int8"),
    "note": FeatureSpec(dtype="string"),
}


@pytest.fixture
def root(tmp_path):
    write_lerobot(tmp_path, features=FEATURES, lengths=(3, 4), with_videos=False)
    return tmp_path


def widened(root, key, change):
    """Set a value of row 5, that is frame 2 of episode 1, in a column of another type."""

    def widen(table):
        values = table.column(key).to_pylist()
        values[5] = change(values[5])
        return table.set_column(table.column_names.index(key), key, pa.array(values))

    edit_parquet(root / DATA, widen)


CASES = {
    "a number is missing": (
        lambda root: edit_data(root, 1, 2, {"count": None}),
        "count",
        "null, expected a value",
    ),
    "a text is missing": (
        lambda root: edit_data(root, 1, 2, {"note": None}),
        "note",
        "null, expected a value",
    ),
    "a vector is missing": (
        lambda root: edit_data(root, 1, 2, {"state": None}),
        "state",
        "null, expected a value",
    ),
    "a part is missing": (
        lambda root: edit_data(root, 1, 2, {"matrix": [[1.0, 2.0], [3.0, None]]}),
        "matrix",
        "null, expected a value",
    ),
    "a row of a matrix is longer": (
        lambda root: edit_data(root, 1, 2, {"matrix": [[1.0, 2.0], [3.0, 4.0, 5.0]]}),
        "matrix",
        "a list of 3, expected 2",
    ),
    "a matrix is longer": (
        lambda root: edit_data(root, 1, 2, {"matrix": [[1.0, 2.0]] * 3}),
        "matrix",
        "a list of 3, expected 2",
    ),
    "a list is shorter": (
        lambda root: widened(root, "state", lambda value: value[:1]),
        "state",
        "a list of 1, expected 2",
    ),
    "a number is too large": (
        lambda root: widened(root, "count", lambda _: 128),
        "count",
        "a number that int8 cannot hold",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_names_the_row_and_other_episodes_are_read(root, name):
    change, key, text = CASES[name]
    try:
        change(root)
    except pa.ArrowNotImplementedError as error:  # of a list without a value, before pyarrow 18
        pytest.skip(f"this pyarrow writes no such file: {error}")
    dataset = look_into(root).dataset
    with pytest.raises(ColumnsError) as caught:
        dataset.read_tables()
    expected = rf"^{root}: {DATA}: column '{key}': row 5 \(episode 1\): {text}"
    assert re.search(expected, str(caught.value)), str(caught.value)
    (table,) = look_into(Sources.of(root, exclude="*1")).dataset.read_tables()
    assert len(table) == 3


def test_nan_is_kept_as_the_data_set_has_it(root):
    edit_data(root, 1, 2, {"state": [float("nan"), 1.0]})
    (table,) = look_into(root).dataset.read_tables()
    assert np.isnan(table.columns["state"].values).sum() == 1


def test_files_that_change_after_the_look_are_found(root):
    dataset = look_into(root).dataset
    edit_parquet(root / DATA, lambda table: table.slice(0, 6))
    with pytest.raises(ColumnsError, match="the data files have 6 rows, and had 7 at first"):
        dataset.read_tables()
    (root / DATA).unlink()
    with pytest.raises(ColumnsError, match=f"{DATA} does not exist"):
        dataset.read_tables()


def test_texts_of_several_files_share_their_codes(tmp_path):
    spoken = FeatureSpec(dtype="string", values=lambda episode, frame: f"word {(episode + frame) % 3}")
    written = write_lerobot(
        tmp_path, features={"note": spoken}, lengths=(3, 1, 2), episodes_per_data_file=(1,), with_videos=False
    )
    (table,) = look_into(tmp_path).dataset.read_tables()
    column = table.columns["note"]
    assert column.strings == ("word 0", "word 1", "word 2")
    assert [column.strings[code] for code in column.values] == written.columns["note"]
