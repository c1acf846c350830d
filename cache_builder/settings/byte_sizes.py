"""Numbers of bytes as a user gives them: `200MB`, `10 GB`, `4GiB`, or a plain number."""

import re
from typing import Final

_TEXT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?)(i?)[bB]?\s*")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(text: str) -> int:
    """The number of bytes in a text.

    Raises:
        ValueError: the text is none, or less than one byte.

    >>> parse_bytes("200MB"), parse_bytes("1.5 GiB"), parse_bytes("4096")
    (200000000, 1610612736, 4096)
    """
    match = _TEXT.fullmatch(text)
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"must be a number of bytes such as 200MB, 10GB or 4GiB, found {text!r}")
    num_bytes = int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])
    if num_bytes < 1:
        raise ValueError(f"must be at least one byte, found {text!r}")
    return num_bytes
