"""Small records of finished work, in a folder or in an object store, each with a checksum."""

from pathlib import Path
from typing import Final, TypeAlias

from frame_store.codec import crc32c
from frame_store.errors import ObjectMissingError
from frame_store.files import write_file
from frame_store.remote import ObjectClient

_CHECKSUM_BYTES: Final = 4
MAX_RECORD_BYTES: Final = 1 << 31

RecordPlace: TypeAlias = Path | ObjectClient


def with_checksum(data: bytes) -> bytes:
    """The content of a record's file."""
    return data + crc32c(data).to_bytes(_CHECKSUM_BYTES, "little")


def checked(raw: bytes) -> bytes | None:
    """The record; None where the checksum is another one."""
    data, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    is_whole = len(checksum) == _CHECKSUM_BYTES and crc32c(data) == int.from_bytes(checksum, "little")
    return data if is_whole else None


def read_record(place: RecordPlace, key: str) -> bytes | None:
    """A record; None where there is none that is intact.

    Raises:
        OSError: the disk fails.
        ObjectStoreError: the store cannot be reached.
    """
    try:
        raw = (
            (place / key).read_bytes()
            if isinstance(place, Path)
            else place.get(key, max_bytes=MAX_RECORD_BYTES)
        )
    except (FileNotFoundError, ObjectMissingError):
        return None
    return checked(raw)


def write_record(place: RecordPlace, key: str, data: bytes) -> None:
    """Write a record, whole or not at all. Raises as `read_record`."""
    if isinstance(place, Path):
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        write_file(place / key, with_checksum(data))
    else:
        place.put(key, with_checksum(data))
