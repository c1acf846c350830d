"""Whether a video is several files joined end to end. FFmpeg may read only the first of them.

Most demuxers stop at the end of the first file without a message, and the video looks whole. So the file is searched
for another beginning like its own. In MP4 this is a box of the topmost level. Elsewhere it is a magic number too long
to occur by chance, and it does not count inside a packet.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from cache_builder.video.opening import top_level_boxes
from cache_builder.video.packets import PacketTable

_CHUNK_BYTES: Final = 1 << 20
_BEGINNING_BYTES: Final = 64
_MAGIC_BYTES: Final = 16
"""The most bytes of a beginning that count as its magic, so that packets after it are not included."""
_MAX_FOUND: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Beginning:
    name: str
    """Name of the container, for messages."""
    magic: bytes
    """What to search for."""
    magic_offset: int = 0
    """Bytes of the file before the magic."""
    pattern: bytes = b""
    """Regular expression of the first 64 bytes of a file; stricter than the magic."""


_BEGINNINGS: Final = {
    "asf": _Beginning(
        name="ASF",
        magic=bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
        pattern=rb".{24}.{4}\x01\x02",
    ),
    "avi": _Beginning(
        name="AVI", magic=b"AVI LIST", magic_offset=8, pattern=rb"RIFF.{4}AVI LIST.{4}hdrlavih"
    ),
    "flv": _Beginning(
        name="FLV", magic=b"FLV\x01", pattern=rb"FLV\x01[\x00-\x05]\0\0\0\x09\0{4}[\x08\x09\x12]"
    ),
    "ivf": _Beginning(name="IVF", magic=b"DKIF\0\0 \0"),
    "matroska": _Beginning(
        name="Matroska",
        magic=b"\x1a\x45\xdf\xa3",
        pattern=rb"\x1a\x45\xdf\xa3.{1,40}\x42\x82.(?:matroska|webm)",
    ),
    "mxf": _Beginning(name="MXF", magic=bytes.fromhex("060e2b34020501010d0102010102")),
    "nut": _Beginning(name="NUT", magic=b"nut/multimedia container\0"),
    "ogg": _Beginning(name="Ogg", magic=b"OggS\0\x02\0\0\0\0\0\0\0\0"),
    "rm": _Beginning(name="RealMedia", magic=b".RMF\0\0\0", pattern=rb"\.RMF\0{3}.{11}(?:PROP|MDPR|CONT)"),
    "wtv": _Beginning(name="WTV", magic=bytes.fromhex("b7d800203749da11a64e0007e95ead8d")),
    "yuv4mpegpipe": _Beginning(name="YUV4MPEG2", magic=b"YUV4MPEG2 ", pattern=rb"YUV4MPEG2 W\d+ H\d+ "),
}
"""By FFmpeg's name of the demuxer. MPEG program and transport streams and bare streams have no magic of their own."""


class SecondFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where another file begins, and whether it was read."""

    container: str
    """For messages."""
    offset: int
    """Byte at which the other file begins."""
    packet_before: int
    """Ordinal of the last packet that is shown of the first file, or that was read across the joint."""
    num_packets_behind: int
    """Packets after the joint that are shown."""

    @property
    def is_read(self) -> bool:
        """Whether any packet of the other file came out."""
        return self.num_packets_behind > 0

    @property
    def text(self) -> str:
        """Text for reports."""
        place = f"at byte {self.offset:,}, after packet {self.packet_before}"
        is_read = "was read too" if self.is_read else "was not read"
        return f"files joined end to end: another {self.container} file begins {place}, and {is_read}"


def hash_and_find_beginnings(path: Path, container: str) -> tuple[str, list[int]]:
    """SHA-256 of a file in hex, and the bytes at which another file of its `container` seems to begin, in order.

    `container` is FFmpeg's name of the demuxer. FFmpeg may pass over what it cannot read; this does not.

    Raises:
        OSError: a byte of it cannot be read; names the file.
    """
    names = set(container.split(","))
    beginning = next((_BEGINNINGS[name] for name in names if name in _BEGINNINGS), None)
    try:
        digest, found = _hash_and_search(path, beginning.magic if beginning is not None else None)
        if "mov" in names:
            return digest, _second_boxes(path)
        return digest, [] if beginning is None else list(_confirmed(path, beginning, found))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def find_second_file(offsets: list[int], container: str, packets: PacketTable) -> SecondFile | None:
    """The first of `offsets` that is a joint: after a packet, and not in the middle of a sound packet.

    A packet of unknown position is ignored.
    """
    pos, is_shown, is_sound = packets.pos, ~packets.is_discarded, ~packets.is_corrupt
    ends = pos + packets.size
    is_last = np.arange(len(pos)) == len(pos) - 1
    for offset in offsets:
        end_of_magic = offset + _MAGIC_BYTES
        is_before = (pos >= 0) & (pos < offset)
        if (
            not (is_before & is_shown).any()
            or (is_before & (ends > end_of_magic) & is_sound & ~is_last).any()
        ):
            continue
        # A demuxer that takes the header for a packet makes one packet of everything after it.
        is_across = is_last & (pos >= 0) & (pos < end_of_magic) & (ends > end_of_magic)
        packet_before = int(np.flatnonzero((is_before & is_shown) | is_across)[-1])
        is_after = (pos >= offset) & ~is_across & is_shown
        return SecondFile(
            container=_name_of(container),
            offset=offset,
            packet_before=packet_before,
            num_packets_behind=int(is_after.sum()),
        )
    return None


def _name_of(container: str) -> str:
    names = container.split(",")
    return next((_BEGINNINGS[name].name for name in names if name in _BEGINNINGS), "MP4")


def _hash_and_search(path: Path, magic: bytes | None) -> tuple[str, list[int]]:
    digest = hashlib.sha256()
    found: list[int] = []
    with path.open("rb", buffering=0) as file:
        if magic is None:
            return hashlib.file_digest(file, "sha256").hexdigest(), found
        position, kept = 0, b""
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            searched = kept + chunk
            place = searched.find(magic)
            while place >= 0 and len(found) < _MAX_FOUND:
                found.append(position - len(kept) + place)
                place = searched.find(magic, place + 1)
            position += len(chunk)
            kept = searched[1 - len(magic) :]
    return digest.hexdigest(), found


def _confirmed(path: Path, beginning: _Beginning, places: list[int]) -> Iterator[int]:
    """Offsets of whole beginnings, except the file's own."""
    with path.open("rb") as file:
        for place in places:
            offset = place - beginning.magic_offset
            if offset > 0:
                file.seek(offset)
                if re.match(beginning.pattern, file.read(_BEGINNING_BYTES), re.DOTALL):
                    yield offset


def _second_boxes(path: Path) -> list[int]:
    """Where a second box of the topmost level begins another MP4: `ftyp`, or `moov` in old QuickTime files."""
    seen: set[bytes] = set()
    for kind, offset in top_level_boxes(path):
        is_again = kind in seen and (kind == b"ftyp" or (kind == b"moov" and b"ftyp" not in seen))
        if is_again and b"moov" in seen:
            return [offset]
        seen.add(kind)
    return []
