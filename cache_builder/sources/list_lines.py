"""The lines of a list of videos, wherever the list lies; see `list_file`."""

import json
import os
from collections.abc import Iterator
from typing import Final

from cache_builder.errors import InputFolderError
from frame_store.shared import counted, listed

MAX_LIST_BYTES: Final = 1 << 30
HEAD_BYTES: Final = 1 << 16
CONTROLS: Final = frozenset({*range(0x20), 0x7F}) - frozenset(b"\t\n\r")
"""Bytes that no text has."""
_MAX_PROBLEMS_TOLD: Final = 5
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_WHAT: Final = "is read as a list of videos, the path of one in each line"


def is_text(head: bytes) -> bool:
    """Whether a file that begins so may be a list: text has no control characters but tabs and line ends."""
    return not CONTROLS.intersection(head)


def texts_in(data: bytes) -> Iterator[tuple[int, str | ValueError]]:
    """(number, path) of each line that has one, or what is wrong with the line. Numbers count from 1."""
    for number, raw in enumerate(data.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=1):
        try:
            text = _text_in(raw.removesuffix(b"\r"))
        except ValueError as error:
            yield number, error
        else:
            if text is not None:
                yield number, text


def problems_error(name: object, problems: list[str]) -> InputFolderError:
    """The error for a list with wrong lines, or, without `problems`, with none."""
    where = str(name)
    if not problems:
        return InputFolderError(where, f"{_WHAT}, and names none")
    more = len(problems) - _MAX_PROBLEMS_TOLD
    told = [*problems[:_MAX_PROBLEMS_TOLD], *([f"and {counted(more, 'other')}"] if more > 0 else [])]
    return InputFolderError(where, listed(_WHAT, told))


def _text_in(line: bytes) -> str | None:
    """The path in a line; None if there is none.

    Raises:
        ValueError: it is in quotes, and no JSON string.
    """
    stripped = line.strip()
    if not stripped or stripped.startswith(b"#"):
        return None
    if not (len(stripped) > 1 and stripped.startswith(b'"') and stripped.endswith(b'"')):
        return os.fsdecode(line)
    try:
        return str(json.loads(stripped))  # text: it begins with a quote
    except ValueError as error:
        raise ValueError(f"{os.fsdecode(stripped)!r} is in quotes, and no JSON string: {error}") from error
