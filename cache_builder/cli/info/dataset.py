"""What a data set states about itself, in a few lines for `cache-info`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cache_builder.setting_names import UNKNOWN
from frame_store.errors import StoreFormatError
from frame_store.lerobot_statement import LEROBOT_KIND, LeRobotStatement
from frame_store.shared import counted, without_controls

_MAX_TASKS: Final = 5
_MAX_CHARS: Final = 60


def dataset_text(dataset: Mapping[str, Any] | None) -> list[str]:
    """A line with kind, robot and rate, and one with the tasks; no line without a data set.

    The statement is informative. One that is not as its kind has it is shown by its kind alone.
    """
    if dataset is None:
        return []
    kind = dataset.get("kind")
    if kind != LEROBOT_KIND:
        return [f"dataset    {_shown(kind) if isinstance(kind, str) else UNKNOWN}"]
    try:
        statement = LeRobotStatement.of(dataset, where="dataset")
    except StoreFormatError as error:
        return [f"dataset    {LEROBOT_KIND}, {_shown(str(error.__cause__ or error))}"]
    info = statement.info
    parts = [
        LEROBOT_KIND,
        f"robot {_shown(info.get('robot_type') or UNKNOWN)}",
        f"{_shown(info.get('fps', UNKNOWN))} fps",
        counted(len(statement.length), "episode"),
        _shown(info.get("codebase_version", UNKNOWN)),
    ]
    return [f"dataset    {', '.join(parts)}", *_tasks_text(statement.tasks)]


def _tasks_text(tasks: Sequence[str]) -> list[str]:
    if not tasks:
        return []
    more = [f"and {len(tasks) - _MAX_TASKS} more"] if len(tasks) > _MAX_TASKS else []
    shown = "; ".join([*(_shown(task) for task in tasks[:_MAX_TASKS]), *more])
    return [f"tasks      {len(tasks)}: {shown}"]


def _shown(value: object) -> str:
    """Any value of a stranger's file, short and without control characters."""
    text = without_controls(str(value))
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 3]}..."
