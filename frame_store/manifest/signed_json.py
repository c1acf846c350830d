"""JSON files that end with their own digest (FORMAT.md section 3.1)."""

import hashlib
import re
from typing import Final, TypeVar

import msgspec

from frame_store.errors import StoreFormatError
from frame_store.shared import counted

MIN_BYTES_PER_VALUE: Final = 10
"""Indented JSON of named fields has 25 or more. An empty list takes 3 bytes of text and 60 in memory. Denser text is
refused, so that a parsed file takes at most some ten times the size of the file."""

_DIGEST_LINE: Final = re.compile(rb',\n "digest": "([0-9a-f]{64})"\n}\n')
_DIGEST_LINE_BYTES: Final = 82

RecordT = TypeVar("RecordT", bound=msgspec.Struct)


def encode_signed(record: msgspec.Struct) -> bytes:
    """JSON with its own digest at the end. Equal records give equal bytes."""
    body = msgspec.json.format(msgspec.json.encode(record), indent=1)
    body = body.removesuffix(b"\n}")
    return body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def decode_signed(raw: bytes | bytearray, record_type: type[RecordT], *, name: str) -> RecordT:
    """Parse and check the bytes of a file.

    Raises:
        StoreFormatError: wrong digest, a missing, unknown or ill-typed key, or text denser than any such file has.
    """
    match = _DIGEST_LINE.fullmatch(raw, max(0, len(raw) - _DIGEST_LINE_BYTES))
    if match is None:
        raise StoreFormatError(f"{name}: its last key must be the digest; the file was cut or edited")
    expected = bytes(match.group(1)).decode()
    body = bytearray(memoryview(raw)[: len(raw) - _DIGEST_LINE_BYTES])
    found = hashlib.sha256(body).hexdigest()
    if found != expected:
        raise StoreFormatError(
            f"{name}: the digest is {expected[:16]}..., but the content has {found[:16]}...; the file was altered"
        )
    if is_too_dense(body):
        raise StoreFormatError(
            f"{name}: {counted(num_json_values(body), 'value')} in {counted(len(body), 'byte')}, more than any cache "
            "has there"
        )
    body += b"\n}"
    return decode_plain(body, record_type, name=name)


def decode_plain(raw: bytes | bytearray, record_type: type[RecordT], *, name: str) -> RecordT:
    """Parse JSON without a digest.

    Raises:
        StoreFormatError: a missing, unknown or ill-typed key, or no JSON.
    """
    try:
        return msgspec.json.decode(raw, type=record_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreFormatError(f"{name}: {error}") from error


def is_too_dense(text: bytes | bytearray) -> bool:
    """Whether `decode_signed` refuses the text, for it may hold more values than files of a cache do."""
    return num_json_values(text) > 1000 + len(text) // MIN_BYTES_PER_VALUE


def num_json_values(text: bytes | bytearray) -> int:
    """Commas and opening brackets in a text: at least as many as the values that its parser makes."""
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))
