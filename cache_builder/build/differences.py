"""In which settings a cache, or an unfinished build, differs from what is asked for, as its user would say them."""

from collections.abc import Mapping
from typing import Any, Final

from cache_builder.build.changes import list_changes
from cache_builder.settings import differences

_SETTING_OF_KEY: Final = {
    "encoding.name": "encoding",
    "encoding.quality": "quality",
    "encoding.chroma": "chroma",
    "geometry.resize": "resize",
    "geometry.crop_aspect": "crop-aspect",
    "frames_per_shard": "frames-per-shard",
    **{key: key for key in ("format", "layout", "stride", "fps", "seed")},
}
"""Key of `BuildConfig` as JSON -> the setting that decides it and nothing else does."""

_SIDES: Final = ("geometry.height", "geometry.width")
_OF_ENCODING: Final = ("encoding.quality", "encoding.chroma", "encoding.level")


def setting_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """One line for each setting of two resolved configurations that differs, marked as `setting_names` says.

    Both are `BuildConfig`s as JSON, but what is `there` may be a stranger's: keys that are no setting's are named as
    they are.

    >>> setting_differences({"geometry": {"height": 32, "width": 64}}, {"geometry": {"height": 64, "width": 64}})
    ['{--size}: 64 there, 32x64 asked for']
    """
    asked_keys, there_keys = _leaves(asked), _leaves(there)
    differing = [key for key in (asked_keys | there_keys) if asked_keys.get(key) != there_keys.get(key)]
    if "encoding.name" in differing:  # what the encodings take differs with them
        differing = [key for key in differing if key not in _OF_ENCODING]
    lines = []
    if any(side in differing for side in _SIDES):
        lines.append(_line("size", _size(there_keys), _size(asked_keys)))
        differing = [key for key in differing if key not in _SIDES]
    lines += [
        _line(_SETTING_OF_KEY[key], _said(key, there_keys.get(key)), _said(key, asked_keys.get(key)))
        for key in differing
        if key in _SETTING_OF_KEY
    ]
    lines += [
        f"{key}: {there_keys.get(key)} there, {asked_keys.get(key)} asked for"
        for key in differing
        if key not in _SETTING_OF_KEY
    ]
    return lines


def identity_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """One line for each setting, video and library in which two identities of builds differ."""
    lines = []
    asked, there = dict(asked), dict(there)
    for key, tell in (("config", setting_differences), ("videos", _video_differences)):
        asked_part, there_part = asked.get(key), there.get(key)
        if isinstance(asked_part, dict) and isinstance(there_part, dict):
            lines += tell(asked_part, there_part)
            asked[key] = there[key] = None
    return [*lines, *differences(asked, there)]


def _video_differences(asked: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    return list_changes(there, asked)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value that is no object.

    >>> _leaves({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _line(setting: str, there: str, asked: str) -> str:
    return f"{{--{setting}}}: {there} there, {asked} asked for"


def _size(leaves: Mapping[str, Any]) -> str:
    height, width = (leaves.get(side) for side in _SIDES)
    return str(height) if height == width else f"{height}x{width}"


def _said(key: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value as its setting takes it.

    >>> _said("fps", None), _said("geometry.crop_aspect", [4, 3])
    ('none', '4:3')
    """
    if key == "geometry.crop_aspect" and isinstance(value, list):
        return ":".join(map(str, value))
    return "none" if value is None else str(value)
