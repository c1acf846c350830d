"""The boxes of an MP4 or MOV file (ISO/IEC 14496-12), as far as they say what kind of file it is."""

from collections.abc import Iterator
from pathlib import Path


def top_level_boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """(type, byte offset) of the boxes that lie whole inside an MP4 or MOV file; nonsense for other files.

    Raises:
        OSError: it cannot be read.
    """
    end, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position + 8 <= end:
            file.seek(position)
            header = file.read(16)
            size = int.from_bytes(header[:4], "big")
            if size == 1:
                size = int.from_bytes(header[8:16], "big")
            elif size == 0:  # up to the end of the file
                size = end - position
            if size < 8 or position + size > end:
                return
            yield header[4:8], position
            position += size
