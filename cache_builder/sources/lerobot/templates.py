"""File names as info.json gives them: `videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4`."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

MAX_INDEX: Final = 10**6
"""Of chunks and files: a thousand times what data sets have."""

_FIELD: Final = re.compile(r"\{([a-z_]+)(?::(?:0([1-9]))?d)?\}")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A text with fields in braces, of which a number may have a width with zeros in front.

    The fields are replaced by hand: `str.format` would also follow attributes of what it is given.

    >>> PathTemplate("a/{key}-{chunk_index:03d}.mp4", ("key", "chunk_index")).path({"key": "top"}, {"chunk_index": 7})
    'a/top-007.mp4'
    """

    text: str
    fields: Collection[str]
    """Every name that must occur."""
    _parts: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Literal text, name, width ("" for none), literal text, ..."""

    def __post_init__(self) -> None:
        """Refuse other fields, and braces that belong to none.

        Raises:
            ValueError: they occur, or a field is missing.
        """
        parts = _FIELD.split(self.text)
        literals, names = parts[::3], parts[1::3]
        expected = " and ".join(f"{{{name}}}" for name in self.fields)
        if any("{" in text or "}" in text for text in literals) or set(names) != set(self.fields):
            raise ValueError(f"expected a path with the fields {expected}, found {self.text[:200]!r}")
        object.__setattr__(self, "_parts", tuple(part or "" for part in parts))

    def path(self, texts: dict[str, str], numbers: dict[str, int]) -> str:
        """The posix path below the root.

        Raises:
            ValueError: it would leave the root, a number is out of range, or no file can be called so.
        """
        for name, number in numbers.items():
            if not 0 <= number <= MAX_INDEX:
                raise ValueError(f"{name} is {number}, expected 0 to {MAX_INDEX}")
        made = self._parts[0]
        for place in range(1, len(self._parts), 3):
            name, width, literal = self._parts[place : place + 3]
            made += texts[name] if name in texts else str(numbers[name]).zfill(int(width or 0))
            made += literal
        if not made or made.startswith("/") or "\0" in made or ".." in PurePosixPath(made).parts:
            raise ValueError(f"{made[:200]!r} is no path below the folder of the data set")
        return PurePosixPath(made).as_posix()
