"""How error messages name settings: the message marks them, and the code that shows it spells them for its user.

The code that raises an error does not know whether a value came from a flag, a key of a TOML file or a keyword of
Python. So the message marks a setting, `{--on-error}`, or a setting with a value, `{--on-error skip}`. Commands spell
marks as flags, and `str(error)` spells them as keywords.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

NOTHING: Final = "none"
UNKNOWN: Final = "unknown"

SETTING_OF_KEY: Final = {
    "format": "format",
    "encoding.name": "encoding",
    "encoding.quality": "quality",
    "encoding.chroma": "chroma",
    "pixel": "pixel",
    "geometry.resize": "resize",
    "geometry.crop_aspect": "crop-aspect",
    "layout": "layout",
    "frames_per_shard": "frames-per-shard",
    "stride": "stride",
    "fps": "fps",
    "seed": "seed",
}
"""Key of a `BuildConfig` as JSON -> the setting that is stored there; `size` is stored as two sides."""
_SIDES: Final = ("geometry.height", "geometry.width")

Spell = Callable[[str, str | None], str]
"""(name with dashes, value or None) -> the setting as the user knows it."""

_MARK: Final = re.compile(r"\{--([a-z][a-z-]*)(?: ([^{}]*))?\}")
_SWITCHES: Final = frozenset({"append", "overwrite", "rehash"})
"""Flags without a value."""


def spelled(text: str, spell: Spell) -> str:
    """The text with every mark spelled.

    >>> spelled("give another {--out}, or {--on-error skip}", as_flag)
    'give another --out, or --on-error skip'
    """
    return _MARK.sub(lambda mark: spell(mark[1], mark[2]), text)


def as_flag(name: str, value: str | None) -> str:
    """A setting on the command line.

    >>> as_flag("frames-per-shard", None), as_flag("layout", "video")
    ('--frames-per-shard', '--layout video')
    """
    return f"--{name}" if value is None else f"--{name} {value}"


def as_keyword(name: str, value: str | None) -> str:
    """A setting in a call in Python.

    >>> as_keyword("frames-per-shard", None), as_keyword("layout", "video"), as_keyword("overwrite", None)
    ('frames_per_shard', "layout='video'", 'overwrite=True')
    """
    keyword = name.replace("-", "_")
    if name in _SWITCHES:
        return f"{keyword}=True"
    return keyword if value is None else f"{keyword}={value if _is_number(value) else repr(value)}"


def as_key(name: str, value: str | None) -> str:
    """A setting in a TOML file.

    >>> as_key("frames-per-shard", "7"), as_key("layout", "video")
    ('frames_per_shard = 7', 'layout = "video"')
    """
    key = name.replace("-", "_")
    if value is None:
        return key
    return f"{key} = {value}" if _is_number(value) else f'{key} = "{value}"'


def as_key_of(config: Path, keys: Collection[str], *, else_as: Spell) -> Spell:
    """Spell the settings `keys` (with underscores) as keys of the file `config`, and the others with `else_as`.

    >>> spell = as_key_of(Path("my.toml"), {"stride"}, else_as=as_flag)
    >>> spelled("{--stride} and {--fps}: give one of them", spell)
    'stride in my.toml and --fps: give one of them'
    """

    def spell(name: str, value: str | None) -> str:
        is_of_file = name.replace("-", "_") in keys
        return f"{as_key(name, value)} in {config}" if is_of_file else else_as(name, value)

    return spell


class NamesSettings(Exception):
    """An exception whose message marks settings; `str` spells them as keywords of Python."""

    def text(self, spell: Spell) -> str:
        """The message with its settings spelled so."""
        return spelled(str(self.args[0]) if self.args else "", spell)

    @property
    def marked_text(self) -> str:
        """The message with its marks, for another error."""
        return self.text(lambda name, value: "{" + as_flag(name, value) + "}")

    def __str__(self) -> str:
        return self.text(as_keyword)


class SettingError(NamesSettings, ValueError):
    """A setting is out of its range, of another type, or contradicts another one."""


def setting_values(config: Mapping[str, Any]) -> dict[str, str]:
    """Setting -> its value in a `BuildConfig` as JSON, as its flag takes it: `none` for null.

    A config from a file of unknown origin may hold anything. A value that no setting can have is `unknown`, and a key
    that belongs to no setting keeps its dotted name.

    >>> setting_values({"geometry": {"height": 64, "width": 48, "crop_aspect": [4, 3]}, "fps": None, "x": {"y": 1}})
    {'size': '64x48', 'crop-aspect': '4:3', 'fps': 'none', 'x.y': '1'}
    """
    leaves = _leaves(config)
    values = {}
    if any(side in leaves for side in _SIDES):
        height, width = (_value_text(leaves.pop(side, None)) for side in _SIDES)
        values["size"] = height if height == width else f"{height}x{width}"
        if values["size"] == "0":
            values["size"] = "native"
    return values | {SETTING_OF_KEY.get(key, key): _value_text(value) for key, value in leaves.items()}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value that is not an object.

    >>> _leaves({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _value_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value as its setting takes it.

    >>> _value_text(None), _value_text([4, 3]), _value_text(30), _value_text(["a"])
    ('none', '4:3', '30', 'unknown')
    """
    if isinstance(value, list) and value and all(isinstance(term, int) for term in value):
        return ":".join(map(str, value))
    if value is None:
        return NOTHING
    return str(value) if isinstance(value, int | float | str) else UNKNOWN


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9][0-9.]*", text) is not None
