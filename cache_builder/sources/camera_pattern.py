"""Which camera and episode a file of a plain folder belongs to: `--camera-pattern`."""

import re
from dataclasses import dataclass, field
from typing import Final

from cache_builder.setting_names import SettingError
from cache_builder.sources.names import printable

_FIELDS: Final = {"episode": "(?P<episode>[^/]+?)", "camera": "(?P<camera>[^/]+)"}
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_WILDCARD: Final = re.compile(r"(\*\*/|\*|\?)")
_WILDCARDS: Final = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class CameraPattern:
    """A relative path with `{episode}` and `{camera}`, each once. It matches a whole path; upper and lower case differ.

    A field stands for one character or more of one name. Where both are in one name and the path can be cut in several
    ways, the camera gets as much as possible: `{episode}_{camera}.mp4` finds the camera `left_wrist` in
    `0007_left_wrist.mp4`. `*` stands for any characters of one name, `?` for one, `**/` for any number of folders.

    >>> CameraPattern("{episode}/{camera}.mp4").match("0007/front.mp4")
    ('0007', 'front')
    >>> CameraPattern("*/{camera}_{episode}.mkv").match("day1/left_wrist_0007.mkv")
    ('0007', 'left_wrist')
    """

    text: str
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile.

        Raises:
            SettingError: a field is missing, unknown or given twice, or the last name has no extension.
        """
        if not isinstance(self.text, str):
            raise SettingError(f"{{--camera-pattern}} must be text, found {self.text!r}")
        text = printable(self.text).removeprefix("./")
        names = _FIELD.findall(text)
        if sorted(names) != sorted(_FIELDS):
            raise SettingError(
                f"{{--camera-pattern}} is {self.text!r}; expected a path with {{episode}} and {{camera}}, each once, "
                "such as {episode}/{camera}.mp4"
            )
        if text.startswith("/") or "." not in _FIELD.sub("", text).rpartition("/")[2]:
            raise SettingError(
                f"{{--camera-pattern}} is {self.text!r}; expected a path below the folder that ends with an "
                "extension, such as .mp4 or .*"
            )
        pieces = _FIELD.split(text)
        made = [
            _FIELDS[piece] if place % 2 else _compiled_literal(piece) for place, piece in enumerate(pieces)
        ]
        object.__setattr__(self, "_compiled", re.compile("".join(made)))

    def match(self, path: str) -> tuple[str, str] | None:
        """(episode, camera) of a relative posix path; None if it is not of this form."""
        match = self._compiled.fullmatch(path)
        return None if match is None else (match["episode"], match["camera"])


def _compiled_literal(text: str) -> str:
    parts = _WILDCARD.split(text)
    return "".join(_WILDCARDS[part] if place % 2 else re.escape(part) for place, part in enumerate(parts))
