"""FFmpeg's log, as far as it says what no return value does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import av.logging
from av.container import InputContainer

LogMessages: TypeAlias = list[tuple[int, str, str]]
"""(level, name of who said it, text), in order. Whoever reads them clears the list."""

MAX_CHARACTERS: Final = 160
"""Of a message: it may quote the file."""


@contextmanager
def capture_log(level: int) -> Iterator[LogMessages]:
    """Collect what FFmpeg says in this thread, up to `level` (`av.logging.ERROR`, ...).

    The level is the process's, and other threads' messages go where Python's logging sends them: for processes that
    do nothing else with FFmpeg meanwhile.
    """
    level_before, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    # Held back until another message comes, repeated ones would end up in the log of the next file.
    av.logging.set_skip_repeated(False)
    av.logging.set_level(level)
    try:
        with av.logging.Capture() as messages:
            yield messages
    finally:
        av.logging.set_level(level_before)
        av.logging.set_skip_repeated(skips_repeated)


def dump_container(container: InputContainer) -> str:
    """What FFmpeg writes of an open container and its streams; the file's own metadata are quoted in it."""
    with capture_log(av.logging.INFO):
        text: str = container.dumps_format()  # type: ignore[attr-defined, unused-ignore]  # not in PyAV 18's stubs
    return text


def printable_line(text: str) -> str:
    """A message in one line, without control characters, cut where it is long."""
    line = "".join(letter if letter.isprintable() else " " for letter in text.strip())
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..."
