"""What a LeRobot data set states about itself, recorded and read again."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store.column_files import content_of_column, read_columns_record, write_columns
from frame_store.columns import Column
from frame_store.errors import StoreFormatError
from frame_store.lerobot_statement import LeRobotStatement, json_object
from frame_store.manifest import ColumnsEntry, is_too_dense
from frame_store.names import columns_folder

NUMBERS = st.lists(st.integers(0, 2**62), max_size=5)


def statement(num_episodes=3, *, stats=None, info=None, subtasks=None):
    length = np.arange(num_episodes) % 7 + 1
    ends = np.cumsum(length)
    return LeRobotStatement(
        info={"features": {"action": {"shape": [4]}}} if info is None else info,
        stats=stats,
        tasks=("push, then pull", "é"),
        subtasks=subtasks,
        length=length,
        dataset_from_index=ends - length,
        dataset_to_index=ends,
        episode_tasks=tuple((episode % 2,) for episode in range(num_episodes)),
    )


def assert_equal(one, other):
    assert (one.info, one.stats, one.tasks, one.subtasks) == (
        other.info,
        other.stats,
        other.tasks,
        other.subtasks,
    )
    assert one.episode_tasks == other.episode_tasks
    for name in ("length", "dataset_from_index", "dataset_to_index"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == np.int64


@given(
    tasks=st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=5).map(tuple),
    stats=st.none() | st.just({"a": {"mean": [[[0.5]]]}}),
    subtasks=st.none() | st.just(("reach",)),
)
def test_it_is_read_as_it_was_recorded(tasks, stats, subtasks):
    made = statement(len(tasks), stats=stats, subtasks=subtasks)
    made = LeRobotStatement(
        **{**{name: getattr(made, name) for name in made.__slots__}, "episode_tasks": tasks}
    )
    recorded = msgspec.json.decode(msgspec.json.encode(made.as_json()))
    assert_equal(LeRobotStatement.of(recorded, where="a.cache"), made)


def test_a_cache_records_it_for_many_episodes_and_features(tmp_path):
    """`columns.json` refuses dense text, deep nesting and more than 64 MiB."""
    stats = {
        f"feature {number}": {name: [[[number / 7]]] * 3 for name in ("min", "max", "mean", "std", "q01")}
        for number in range(300)
    }
    info = {"features": {f"feature {number}": {"names": [["a", "b"]], "shape": [1]} for number in range(300)}}
    made = statement(100_000, stats=stats, info=info)
    content = content_of_column(Column.of("action", "frame", np.zeros(4, np.float32)))
    folder = tmp_path / "columns"
    folder.mkdir()
    counts = {"fingerprint": "f" * 64, "num_rows": 4, "num_videos": 1}
    digest, _ = write_columns(folder, [content], **counts, dataset=made.as_json())
    entry = ColumnsEntry(first_video=0, num_videos=1, folder=columns_folder(digest), digest=digest)
    folder.rename(tmp_path / entry.folder)
    record = read_columns_record(tmp_path, entry)
    assert (tmp_path / entry.folder / "columns.json").stat().st_size < 1 << 22
    assert_equal(LeRobotStatement.of(record.dataset, where="a.cache"), made)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "other"}, "kind must be 'lerobot', found 'other'"),
        ({"info": None}, "info must be a text, found NoneType"),
        ({"info": "[]"}, "expected a JSON object, found list"),
        ({"info": "{" * 10}, "Expecting property name"),
        ({"info": '{"a":' * 100_000}, "Expecting|nested too deep"),
        ({"stats": 3}, "stats must be a text, found int"),
        ({"tasks": "go"}, "tasks must be a list of texts, found str"),
        ({"tasks": [1]}, "tasks must be a text, found int"),
        ({"subtasks": [None]}, "subtasks must be a text, found NoneType"),
        ({"episodes": []}, "episodes must be an object, found list"),
        ({"episodes": {}}, "has no key 'length'"),
        ({"length": "1 x"}, "length must be whole numbers with spaces between them: .*'x'"),
        ({"length": "1 2 99999999999999999999"}, "length must be whole numbers"),
        ({"length": "1 2"}, r"the lists of episodes have \[2, 3\] entries, expected one number"),
        ({"tasks_of": "0/1"}, r"the lists of episodes have \[2, 3\] entries"),
    ],
)
def test_what_a_stranger_recorded_is_an_error_of_the_format(change, reason):
    recorded = statement().as_json()
    if "length" in change:
        recorded["episodes"]["length"] = change["length"]
    elif "tasks_of" in change:
        recorded["episodes"]["tasks"] = change["tasks_of"]
    else:
        recorded |= change
    with pytest.raises(StoreFormatError, match=f"a.cache: what the data set states.*({reason})"):
        LeRobotStatement.of(recorded, where="a.cache")


def test_a_key_that_is_missing():
    recorded = statement().as_json()
    del recorded["stats"]
    with pytest.raises(StoreFormatError, match="has no key 'stats'"):
        LeRobotStatement.of(recorded, where="a.cache")


def test_json_is_bounded():
    with pytest.raises(ValueError, match="at most 16777216 are read"):
        json_object('{"a": "' + "x" * (1 << 24) + '"}')
    assert json_object('{"a": NaN}').keys() == {"a"}


def test_what_is_too_dense():
    assert is_too_dense(b"[" + b"1," * 2000)
    assert not is_too_dense(json.dumps({"a": "a plain, usual text " * 500}).encode())
