"""Captures FFmpeg's log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

import av.logging
from av.container import InputContainer

LogMessages: TypeAlias = list[tuple[int, str, str]]
"""(level, name of the demuxer, decoder or filter, text), in order. The reader clears the list."""

MAX_CHARACTERS: Final = 160
"""Of a message. A message may quote the file."""


@contextmanager
def capture_log(level: int) -> Iterator[LogMessages]:
    """Collect the messages that FFmpeg logs in this thread, up to `level` (`av.logging.ERROR`, ...).

    The level applies to the whole process, and the messages of other threads go to Python's logging. So use it in a
    process, or under a lock, where nothing else uses FFmpeg meanwhile.
    """
    level_before, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
    # PyAV holds repeated messages back until another message comes; they would end up in the log of the next file.
    av.logging.set_skip_repeated(False)
    av.logging.set_level(level)
    try:
        with av.logging.Capture() as messages:
            yield messages
    finally:
        av.logging.set_level(level_before)
        av.logging.set_skip_repeated(skips_repeated)


def dump_container(container: InputContainer) -> str:
    """FFmpeg's description of an open container and its streams. It quotes the file's own metadata."""
    with capture_log(av.logging.INFO):
        text: str = container.dumps_format()  # type: ignore[attr-defined, unused-ignore]  # not in PyAV 18's stubs
    return text


def printable_line(text: str) -> str:
    """A message in one line, without control characters. A long message is cut."""
    line = "".join(letter if letter.isprintable() else " " for letter in text.strip())
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..."
