"""How messages name settings: marked as `{--size}` where they are written, spelled as the reader would say them.

A refusal is written where the fault is found, and that place does not know whether a flag, a key of a TOML file or a
keyword of Python said the value. So its text marks the setting, `{--on-error}`, or the setting with a value,
`{--on-error skip}`, and whoever shows the text says how such marks are spelled.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

Spell = Callable[[str, str | None], str]
"""(name with dashes, value or None) -> the setting as a reader would say it."""

_MARK: Final = re.compile(r"\{--([a-z][a-z-]*)(?: ([^{}]*))?\}")
_SWITCHES: Final = frozenset({"overwrite"})
"""Flags without a value."""


def spelled(text: str, spell: Spell) -> str:
    """The text with every mark spelled.

    >>> spelled("give another {--out}, or {--on-error skip}", as_flag)
    'give another --out, or --on-error skip'
    """
    return _MARK.sub(lambda mark: spell(mark[1], mark[2]), text)


def as_flag(name: str, value: str | None) -> str:
    """As the command line says it.

    >>> as_flag("frames-per-shard", None), as_flag("layout", "video")
    ('--frames-per-shard', '--layout video')
    """
    return f"--{name}" if value is None else f"--{name} {value}"


def as_keyword(name: str, value: str | None) -> str:
    """As a call in Python says it.

    >>> as_keyword("frames-per-shard", None), as_keyword("layout", "video"), as_keyword("overwrite", None)
    ('frames_per_shard', "layout='video'", 'overwrite=True')
    """
    keyword = name.replace("-", "_")
    if name in _SWITCHES:
        return f"{keyword}=True"
    return keyword if value is None else f"{keyword}={value if _is_number(value) else repr(value)}"


def as_key(name: str, value: str | None) -> str:
    """As a TOML file says it.

    >>> as_key("frames-per-shard", "7"), as_key("layout", "video")
    ('frames_per_shard = 7', 'layout = "video"')
    """
    key = name.replace("-", "_")
    if value is None:
        return key
    return f"{key} = {value}" if _is_number(value) else f'{key} = "{value}"'


def as_flag_or_key(config: Path, keys: Collection[str]) -> Spell:
    """As a command line says it that names the file `config` for the settings `keys` (with underscores).

    >>> spell = as_flag_or_key(Path("my.toml"), {"stride"})
    >>> spelled("{--stride} and {--fps}: give one of them", spell)
    'stride in my.toml and --fps: give one of them'
    """

    def spell(name: str, value: str | None) -> str:
        is_of_file = name.replace("-", "_") in keys
        return f"{as_key(name, value)} in {config}" if is_of_file else as_flag(name, value)

    return spell


class NamesSettings(Exception):
    """An exception whose text marks settings; `str` spells them as Python does."""

    def told(self, spell: Spell) -> str:
        """The text for a reader who says settings so."""
        return spelled(str(self.args[0]) if self.args else "", spell)

    @property
    def marked_text(self) -> str:
        """The text with its marks, for another error to go on with."""
        return self.told(lambda name, value: "{" + as_flag(name, value) + "}")

    def __str__(self) -> str:
        return self.told(as_keyword)


class SettingError(NamesSettings, ValueError):
    """A setting is out of its range, of another type, or contradicts another one."""


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9][0-9.]*", text) is not None
