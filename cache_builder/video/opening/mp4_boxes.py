"""The boxes of an MP4 or MOV file (ISO/IEC 14496-12) that show which kind of file it is."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_HEADER_BYTES: Final = 1 << 20
"""More than a moov box without samples takes."""


def top_level_boxes(path: Path) -> Iterator[tuple[bytes, int]]:
    """(type, byte offset) of the boxes that lie whole inside an MP4 or MOV file; meaningless for other files.

    Raises:
        OSError: the file cannot be read.
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


def incomplete_mp4(kinds: Collection[bytes]) -> str | None:
    """What an MP4 lacks, by the types of its topmost boxes; None where these boxes do not explain the failure."""
    if b"moov" in kinds:
        return None
    if b"moof" in kinds:
        return "media segments without their init segment (moof boxes, no moov box): join it before them"
    if b"ftyp" in kinds or b"mdat" in kinds:
        return "truncated or never finished: an MP4 without its index (no moov box)"
    return None


def announces_fragments_without_any(path: Path) -> bool:
    """Whether the file is the header of a fragmented MP4 (moov with mvex, `init.mp4`) without any fragment.

    Raises:
        OSError: the file cannot be read.
    """
    places: dict[bytes, int] = {}
    for kind, offset in top_level_boxes(path):
        places.setdefault(kind, offset)
    if b"moov" not in places or places.keys() & {b"moof", b"mdat"}:
        return False
    with path.open("rb") as file:
        file.seek(places[b"moov"])
        return b"mvex" in file.read(_HEADER_BYTES)
