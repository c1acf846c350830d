"""Files of metadata and data that are missing, damaged, or not as info.json states: errors of the whole data set."""

import json
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_builder.errors import InputFolderError
from cache_builder.sources import look_into
from frame_store.lerobot_statement import LeRobotStatement
from tests.support.lerobot import (
    REMOVED,
    FeatureSpec,
    edit_data,
    edit_episodes,
    edit_info,
    edit_parquet,
    write_lerobot,
)

FRONT = "observation.images.front"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA = "data/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
STATS = "meta/stats.json"


@pytest.fixture
def root(tmp_path):
    write_lerobot(tmp_path, lengths=(3, 4, 2), episodes_per_meta_file=(2, 1), with_videos=False)
    return tmp_path


def retyped(key, kind):
    return lambda table: table.set_column(
        table.column_names.index(key), key, table.column(key).cast(kind, safe=False)
    )


def with_values(key, values):
    return lambda table: table.set_column(table.column_names.index(key), key, pa.array(values))


CASES = {
    "no episodes": (
        lambda root: [path.unlink() for path in (root / "meta/episodes/chunk-000").iterdir()],
        "meta/episodes/chunk-000/file-000.parquet does not exist",
    ),
    "episodes cut": (
        lambda root: (root / EPISODES).write_bytes((root / EPISODES).read_bytes()[:-9]),
        f"{EPISODES} is no Parquet file that pyarrow can read: .*total_episodes 3",
    ),
    "episodes empty": (lambda root: (root / EPISODES).write_bytes(b""), f"{EPISODES} is no Parquet file"),
    "an episode is missing": (
        lambda root: edit_parquet(root / EPISODES, lambda table: table.slice(0, 1)),
        "meta/episodes has 2 episodes, meta/info.json has total_episodes 3",
    ),
    "an episode twice": (
        lambda root: edit_episodes(root, 2, {"episode_index": 1}),
        f"episode_index 1 occurs twice: {EPISODES}, row 1 and meta/episodes/chunk-000/file-001.parquet, row 0",
    ),
    "an episode of another number": (
        lambda root: edit_episodes(root, 2, {"episode_index": 5}),
        "meta/episodes has episode_index 0 to 5, expected 0 to 2; 2 is missing",
    ),
    "a negative episode": (
        lambda root: edit_episodes(root, 0, {"episode_index": -1}),
        "meta/episodes has episode_index -1 to 2, expected 0 to 2; 0 is missing",
    ),
    "no length": (
        lambda root: edit_episodes(root, None, {"length": REMOVED}),
        f"{EPISODES}: column 'length' is missing",
    ),
    "no video of a camera": (
        lambda root: edit_episodes(root, None, {f"videos/{FRONT}/to_timestamp": REMOVED}),
        f"{EPISODES}: column 'videos/{FRONT}/to_timestamp' is missing",
    ),
    "length is a text": (
        lambda root: edit_parquet(root / EPISODES, retyped("length", pa.string())),
        f"{EPISODES}: column 'length' is of string, expected whole numbers",
    ),
    "file_index is a fraction": (
        lambda root: edit_parquet(root / EPISODES, retyped("data/file_index", pa.float64())),
        "column 'data/file_index' is of double, expected whole numbers",
    ),
    "length is null": (
        lambda root: edit_episodes(root, 1, {"length": None}),
        "column 'length' has no value in row 1",
    ),
    "from_timestamp is a text": (
        lambda root: edit_parquet(root / EPISODES, retyped(f"videos/{FRONT}/from_timestamp", pa.string())),
        f"column 'videos/{FRONT}/from_timestamp' is of string, expected numbers",
    ),
    "tasks are numbers": (
        lambda root: edit_parquet(root / EPISODES, with_values("tasks", [[1], [2]])),
        "column 'tasks' has no list of texts in row 0",
    ),
    "no tasks": (lambda root: (root / TASKS).unlink(), f"{TASKS} does not exist"),
    "tasks damaged": (lambda root: (root / TASKS).write_bytes(b"PAR1"), f"{TASKS} is no Parquet file"),
    "tasks without texts": (
        lambda root: edit_parquet(root / TASKS, lambda table: table.select(["task_index"])),
        f"{TASKS} has no column '__index_level_0__' or 'task' with the texts",
    ),
    "tasks without numbers": (
        lambda root: edit_parquet(root / TASKS, lambda table: table.select(["__index_level_0__"])),
        f"{TASKS}: column 'task_index' is missing",
    ),
    "a task twice": (
        lambda root: edit_parquet(root / TASKS, with_values("task_index", [0, 0])),
        f"{TASKS}: task_index 0 occurs twice",
    ),
    "a task is left out": (
        lambda root: edit_parquet(root / TASKS, with_values("task_index", [0, 2])),
        rf"{TASKS}: task_index must count from 0 to 1, found \[0, 2\]",
    ),
    "a task is a number": (
        lambda root: edit_parquet(root / TASKS, with_values("__index_level_0__", [1, 2])),
        f"{TASKS}: expected a whole number and a text, found 0 and 1",
    ),
    "tasks.jsonl is a pipe": (
        lambda root: ((root / TASKS).unlink(), os.mkfifo(root / "meta/tasks.jsonl")),
        "meta/tasks.jsonl: .*is no file",
    ),
    "statistics are a pipe": (
        lambda root: ((root / STATS).unlink(), os.mkfifo(root / STATS)),
        f"{STATS} is no JSON that can be read: is no file",
    ),
    "statistics of a number": (
        lambda root: (root / STATS).write_text('{"action": 5}'),
        f"{STATS}: 'action' must be an object, found int",
    ),
    "statistics that are no array": (
        lambda root: (root / STATS).write_text('{"action": {"mean": [[1], [2, 3]]}}'),
        f"{STATS}: 'action': 'mean' is no array",
    ),
    "data of an unknown episode": (
        lambda root: edit_data(root, 1, 2, {"episode_index": 3}),
        f"{DATA}: row 5 belongs to episode_index 3, and meta/episodes has 0 to 2",
    ),
    "data without a feature": (
        lambda root: edit_data(root, None, None, {"action": REMOVED}),
        f"{DATA}: column 'action', a feature of meta/info.json, is missing",
    ),
    "data without timestamps": (
        lambda root: edit_data(root, None, None, {"timestamp": REMOVED}),
        f"{DATA}: column 'timestamp', a feature of meta/info.json, is missing",
    ),
    "another shape": (
        lambda root: edit_info(
            root, features=lambda old: old | {"action": {"dtype": "float32", "shape": [5]}}
        ),
        rf"{DATA}: column 'action' is of fixed_size_list<.*>\[4\], meta/info.json states float32 of shape \[5\]",
    ),
    "more dimensions": (
        lambda root: edit_info(
            root, features=lambda old: old | {"action": {"dtype": "float32", "shape": [4, 1]}}
        ),
        r"meta/info.json states float32 of shape \[4, 1\]",
    ),
    "a number for a vector": (
        lambda root: edit_info(
            root, features=lambda old: old | {"action": {"dtype": "float32", "shape": [1]}}
        ),
        r"column 'action' is of fixed_size_list.*meta/info.json states float32 of shape \[1\]",
    ),
    "another dtype": (
        lambda root: edit_info(
            root, features=lambda old: old | {"next.reward": {"dtype": "string", "shape": [1]}}
        ),
        r"column 'next.reward' is of float, meta/info.json states string of shape \[1\]",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_what_was_expected_and_found(root, name):
    change, text = CASES[name]
    change(root)
    with pytest.raises(InputFolderError) as caught:
        look_into(root)
    assert str(caught.value).startswith(f"{root}: ")
    assert re.search(text, str(caught.value)), str(caught.value)


class TestVariants:
    @pytest.mark.parametrize("name", ["tasks", "what to do"])
    def test_texts_of_tasks_are_the_index_of_the_pandas_table_whatever_its_name(self, root, name):
        pandas = {"index_columns": [name], "column_indexes": [], "columns": []}
        before = look_into(root).dataset.statement["tasks"]
        edit_parquet(
            root / TASKS,
            lambda table: table.rename_columns(
                ["task_index" if column == "task_index" else name for column in table.column_names]
            ).replace_schema_metadata({"pandas": json.dumps(pandas)}),
        )
        assert look_into(root).dataset.statement["tasks"] == before

    def test_episodes_need_not_be_sorted(self, root):
        before = look_into(root)
        edit_parquet(root / EPISODES, lambda table: table.take([1, 0]))
        for one, two in zip(before.videos, look_into(root).videos, strict=True):
            assert (one.relative_path, one.span.from_seconds) == (two.relative_path, two.span.from_seconds)
        assert before.dataset.statement == look_into(root).dataset.statement

    def test_tasks_may_be_lines_of_json(self, root):
        (root / TASKS).unlink()
        lines = [{"task_index": 1, "task": "push"}, {"task_index": 0, "task": "pull"}]
        (root / "meta/tasks.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
        dataset = look_into(root).dataset
        assert dataset.statement["tasks"] == ["pull", "push"]
        (table,) = dataset.read_tables()
        assert table.columns["task"].strings == ("pull", "push")
        (root / "meta/tasks.jsonl").write_text('{"task": "push"}\n')
        with pytest.raises(InputFolderError, match=r"meta/tasks\.jsonl: a line without task_index or task"):
            look_into(root)

    def test_subtasks_are_kept(self, root):
        table = pa.table({"subtask_index": [0, 1], "__index_level_0__": ["reach", "grasp"]})
        pq.write_table(table, root / "meta/subtasks.parquet")
        stated = LeRobotStatement.of(look_into(root).dataset.statement, where="set")
        assert stated.subtasks == ("reach", "grasp")

    def test_tasks_of_an_episode_may_be_missing(self, root):
        edit_episodes(root, None, {"tasks": REMOVED})
        stated = LeRobotStatement.of(look_into(root).dataset.statement, where="set")
        assert stated.episode_tasks == ((), (), ())

    def test_two_numbers_may_have_one_text(self, tmp_path):
        write_lerobot(tmp_path, tasks=("go", "stop", "go"), with_videos=False)
        (table,) = look_into(tmp_path).dataset.read_tables()
        assert table.columns["task"].strings == ("go", "stop")
        assert set(table.columns["task_index"].values.tolist()) == {0, 1, 2}

    def test_wider_numbers_of_the_data_become_those_of_the_feature(self, tmp_path):
        written = write_lerobot(tmp_path, features={"count": FeatureSpec(dtype="uint8")}, with_videos=False)
        edit_parquet(tmp_path / DATA, retyped("count", pa.int64()))
        (table,) = look_into(tmp_path).dataset.read_tables()
        assert table.columns["count"].values.dtype == "uint8"
        assert (table.columns["count"].values == written.columns["count"]).all()
