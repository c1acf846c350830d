"""Compare the identities of two builds: the settings, videos and library versions that decide the bytes."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any, Final

from cache_builder.gpu import DecoderChoice
from cache_builder.setting_names import NOTHING, SETTING_OF_KEY, setting_values
from frame_store import __version__

_OF_ENCODING: Final = {"quality", "chroma", "encoding.level"}
_OF_GPU: Final = frozenset({"torch", "GPU"})
"""Versions that a generation has only where a GPU decoded some of it."""


def library_versions(decoders: DecoderChoice) -> dict[str, str]:
    """Versions of everything that decides a cache's bytes."""
    import av

    versions = {
        name: importlib.metadata.version(name) for name in ("av", "numcodecs", "numpy", "simplejpeg", "zarr")
    }
    for name in ("libavcodec", "libavformat", "libswscale"):
        versions[name] = ".".join(map(str, av.library_versions[name]))
    return {"frame-cache": __version__, **versions, **decoders.versions()}


def version_differences(
    expected: Mapping[str, str], found: Mapping[str, str], *, where: str = ""
) -> list[str]:
    """`json_differences` of library versions. Those of a GPU count only where both have them.

    >>> version_differences({"av": "1"}, {"av": "2", "GPU": "H200"})
    ['av: 2 there, 1 asked for']
    """
    names = [
        name
        for name in [*expected, *(name for name in found if name not in expected)]
        if name not in _OF_GPU or (name in expected and name in found)
    ]
    return json_differences(
        {name: expected.get(name) for name in names}, {name: found.get(name) for name in names}, where=where
    )


def list_changes(then: Mapping[str, str | None], now: Mapping[str, str | None]) -> list[str]:
    """One line for each video that is new, gone or changed; both map relative paths to SHA-256, None if unreadable.

    >>> list_changes({"a.mp4": "1", "b.mp4": "2"}, {"b.mp4": "3"})
    ['video a.mp4: in the cache, but not among the videos given', 'video b.mp4: changed since']
    >>> list_changes({}, {"c.mp4": None})
    ['video c.mp4: new, not in the cache']
    """
    lines = []
    for path in sorted(then.keys() | now.keys()):
        if path not in then:
            lines.append(f"video {path}: new, not in the cache")
        elif path not in now:
            lines.append(f"video {path}: in the cache, but not among the videos given")
        elif then[path] != now[path]:
            lines.append(f"video {path}: changed since")
    return lines


def setting_differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """One line for each setting in which two resolved configurations differ, with the marks of `setting_names`.

    Both are `BuildConfig`s as JSON. `found` may come from a file of unknown origin: keys that belong to no setting come
    last, under their own names.

    >>> setting_differences({"geometry": {"height": 32, "width": 64}}, {"geometry": {"height": 64, "width": 64}})
    ['{--size}: 64 there, 32x64 asked for']
    """
    asked_values, found_values = setting_values(asked), setting_values(found)
    differing = [
        name for name in asked_values | found_values if asked_values.get(name) != found_values.get(name)
    ]
    if "encoding" in differing:  # the parameters of an encoding differ with it
        differing = [name for name in differing if name not in _OF_ENCODING]
    settings = {"size", *SETTING_OF_KEY.values()}
    marks = {name: f"{{--{name}}}" if name in settings else name for name in differing}
    return [
        f"{marks[name]}: {found_values.get(name, NOTHING)} there, {asked_values.get(name, NOTHING)} asked for"
        for name in sorted(differing, key=lambda name: name not in settings)
    ]


def identity_differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """One line for each setting, video and library in which two identities of builds differ."""
    lines = []
    asked, found = dict(asked), dict(found)
    for key in ("config", "videos"):
        asked_part, found_part = asked.get(key), found.get(key)
        if isinstance(asked_part, dict) and isinstance(found_part, dict):
            lines += (
                setting_differences(asked_part, found_part)
                if key == "config"
                else list_changes(found_part, asked_part)
            )
            asked[key] = found[key] = None
    return [*lines, *json_differences(asked, found)]


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
