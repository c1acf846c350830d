"""Patterns for paths of videos, as `--include` and `--exclude` take them."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cache_builder.setting_names import SettingError
from cache_builder.sources.names import printable

_ANY_FOLDERS: Final = "**"


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A pattern for the paths of videos. It matches a whole path, and upper and lower case differ.

    - `*` stands for any characters of one name, also none; `?` for one character; `[abc]`, `[a-z]` and `[!abc]` for one
      character of a set. None of them stands for a slash. A dot at the beginning of a name is a character like others.
    - `**` as a whole part of the path stands for any number of folders, also none; at the end, for everything below.
    - A pattern without a slash is compared with the name of the file, in whatever folder it lies.
    - A slash at the end stands for `/**`. A slash at the beginning is ignored, so that `/*.mp4` means no subfolder.
    - No character is an escape: `[*]` stands for a star.

    >>> [PathPattern(text).matches("day1/a.mp4") for text in ("*.mp4", "/*.mp4", "day1/", "**/a.*", "day1/*/a.mp4")]
    [True, False, True, True, False]
    """

    text: str
    _parts: tuple[re.Pattern[str] | None, ...] = field(init=False, repr=False, compare=False)
    """One for each part of the path; None for `**`."""

    def __post_init__(self) -> None:
        """Compile.

        Raises:
            SettingError: the pattern is empty, or no text.
        """
        if not isinstance(self.text, str) or not self.text.strip("/"):
            raise SettingError(f"a pattern for paths of videos is text such as '*.mp4', found {self.text!r}")
        parts = [part for part in printable(self.text).split("/") if part not in {"", "."}]
        if "/" not in self.text:
            parts.insert(0, _ANY_FOLDERS)
        elif self.text.endswith("/"):
            parts.append(_ANY_FOLDERS)
        if not parts or parts[-1] == _ANY_FOLDERS:
            parts.append("*")  # only files are compared, and a file has a name
        compiled = tuple(
            None if part == _ANY_FOLDERS else re.compile(fnmatch.translate(part)) for part in parts
        )
        object.__setattr__(self, "_parts", compiled)

    def matches(self, path: str) -> bool:
        """Whether the pattern matches the whole of a relative posix path."""
        return _match(self._parts, path.split("/"))


def _match(pattern: Sequence[re.Pattern[str] | None], names: Sequence[str]) -> bool:
    """Whether the parts of a pattern match all names. At a mismatch, the last `**` takes one name more."""
    place = position = 0
    resume: tuple[int, int] | None = None
    while position < len(names):
        part = pattern[place] if place < len(pattern) else None
        if place < len(pattern) and part is None:
            place += 1
            resume = (place, position)
        elif part is not None and part.match(names[position]):
            place += 1
            position += 1
        elif resume is not None:
            place, position = resume[0], resume[1] + 1
            resume = (place, position)
        else:
            return False
    return all(part is None for part in pattern[place:])
