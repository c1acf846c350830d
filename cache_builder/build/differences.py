"""In which settings a cache, or an unfinished build, differs from what is asked for."""

from collections.abc import Mapping
from typing import Any, Final

from cache_builder.build.changes import list_changes
from cache_builder.setting_names import NOTHING, SETTING_OF_KEY, setting_values

_OF_ENCODING: Final = {"quality", "chroma", "encoding.level"}


def setting_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """One line for each setting of two resolved configurations that differs, marked as `setting_names` says.

    Both are `BuildConfig`s as JSON. `there` may come from a file of unknown origin: keys that belong to no setting come
    last, under their own names.

    >>> setting_differences({"geometry": {"height": 32, "width": 64}}, {"geometry": {"height": 64, "width": 64}})
    ['{--size}: 64 there, 32x64 asked for']
    """
    asked_values, there_values = setting_values(asked), setting_values(there)
    differing = [
        name for name in asked_values | there_values if asked_values.get(name) != there_values.get(name)
    ]
    if "encoding" in differing:  # the parameters of an encoding differ with it
        differing = [name for name in differing if name not in _OF_ENCODING]
    settings = {"size", *SETTING_OF_KEY.values()}
    marks = {name: f"{{--{name}}}" if name in settings else name for name in differing}
    return [
        f"{marks[name]}: {there_values.get(name, NOTHING)} there, {asked_values.get(name, NOTHING)} asked for"
        for name in sorted(differing, key=lambda name: name not in settings)
    ]


def identity_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """One line for each setting, video and library in which two identities of builds differ."""
    lines = []
    asked, there = dict(asked), dict(there)
    for key, list_differences in (("config", setting_differences), ("videos", _video_differences)):
        asked_part, there_part = asked.get(key), there.get(key)
        if isinstance(asked_part, dict) and isinstance(there_part, dict):
            lines += list_differences(asked_part, there_part)
            asked[key] = there[key] = None
    return [*lines, *json_differences(asked, there)]


def _video_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    return list_changes(there, asked)


def json_differences(expected: Any, found: Any, *, where: str = "") -> list[str]:  # noqa: ANN401 - any JSON value
    """One line per leaf in which two JSON values differ: `key: found -> expected`.

    >>> json_differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 3 there, 1 asked for']
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = []
        for key in [*expected, *(key for key in found if key not in expected)]:
            lines += json_differences(
                expected.get(key), found.get(key), where=f"{where}.{key}" if where else key
            )
        return lines
    return [] if expected == found else [f"{where}: {found} there, {expected} asked for"]
