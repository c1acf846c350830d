"""A read-only file descriptor that closes itself."""

import os
from pathlib import Path


class OpenFile:
    """Open while somebody holds it: leaving a bounded table cannot pull it from under a reader.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)
