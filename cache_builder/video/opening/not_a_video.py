"""Recognizes files with the name of a video and other content, by their first bytes."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BEGINNING_BYTES: Final = 4096
_ZEROS_BYTES: Final = 1 << 16
_QUOTED_CHARACTERS: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    pattern: bytes
    """Regular expression of the first bytes. Case is ignored."""
    text: str
    may_be_video: bool = False
    """Whether a video stream may begin with the same bytes. Then the kind is named only if FFmpeg opens no stream."""


_BLANK: Final = rb"(?:\xef\xbb\xbf)?\s*"
_COMMENT: Final = rb"<!--(?:(?!-->).)*-->\s*"
"""A comment may not contain the end of a comment: else a page of many comments takes exponential time to match."""

_KINDS: Final = (
    _Kind(
        pattern=rb"version https://git-lfs\.github\.com/",
        text="a Git LFS pointer, not the video: `git lfs pull` fetches it",
    ),
    _Kind(
        pattern=rb"(?:\.\./)*(?:\.git)?/annex/objects/",
        text="a git-annex pointer, not the video: `git annex get` fetches it",
    ),
    _Kind(
        pattern=_BLANK
        + rb"(?:"
        + _COMMENT
        + rb"|<\?xml[^>]*>\s*)*<(?:!doctype html|html|head|body|script|title)\b",
        text="an HTML page, not a video: a login or error page that was saved in its place?",
    ),
    _Kind(pattern=_BLANK + rb"#EXTM3U", text="an HLS playlist, not a video: it only names the video's files"),
    _Kind(
        pattern=_BLANK + rb"(?:<\?xml[^>]*>\s*)?(?:" + _COMMENT + rb")*<MPD\b",
        text="a DASH playlist, not a video: it only names the video's files",
    ),
    _Kind(pattern=_BLANK + rb"<\?xml|" + _BLANK + rb"<Error>", text="an XML document, not a video"),
    _Kind(pattern=_BLANK + rb'[{\[]\s*["{\[\]}]', text="JSON, not a video"),
    _Kind(pattern=rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", text="a ZIP archive, not a video: unpack it"),
    _Kind(pattern=rb"\x1f\x8b\x08", text="compressed by gzip: unpack it"),
    _Kind(pattern=rb"\xfd7zXZ\0", text="compressed by xz: unpack it"),
    _Kind(pattern=rb"\x28\xb5\x2f\xfd", text="compressed by Zstandard: unpack it"),
    _Kind(pattern=rb"BZh[1-9]1AY&SY", text="compressed by bzip2: unpack it"),
    _Kind(pattern=rb"7z\xbc\xaf\x27\x1c", text="a 7z archive, not a video: unpack it"),
    _Kind(pattern=rb"Rar!\x1a\x07", text="a RAR archive, not a video: unpack it"),
    _Kind(pattern=rb".{257}ustar", text="a tar archive, not a video: unpack it"),
    _Kind(pattern=rb"%PDF-", text="a PDF document, not a video"),
    _Kind(pattern=rb"\x89HDF\r\n\x1a\n", text="an HDF5 file, not a video"),
    _Kind(pattern=rb"\x93NUMPY", text="a NumPy array, not a video"),
    _Kind(
        pattern=rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II\*\0|MM\0\*|\0\0\0\x0cJXL |RIFF....WEBP|"
        rb".{4}ftyp(?:heic|heix|mif1|avif)",
        text="a still image, not a video",
        may_be_video=True,
    ),
    _Kind(pattern=rb"ID3|fLaC|RIFF....WAVE", text="a sound file, not a video", may_be_video=True),
)


def name_what_it_is(path: Path, *, was_opened: bool) -> str | None:
    """What a file is in which FFmpeg found no video; None where its first bytes do not show it.

    `was_opened`: FFmpeg took the file for a video stream at first. Then kinds that may be a video are not named.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        beginning = file.read(_ZEROS_BYTES)
    if not beginning.strip(b"\0"):
        return "nothing but zeros where a video would begin: a download that never finished?"
    for kind in _KINDS:
        if re.match(kind.pattern, beginning[:_BEGINNING_BYTES], re.IGNORECASE | re.DOTALL):
            return None if was_opened and kind.may_be_video else kind.text
    text = _as_text(beginning[:_BEGINNING_BYTES])
    return None if text is None else f"text, not a video; it begins {text!r}"


def _as_text(beginning: bytes) -> str | None:
    """The first line of a text; None if the bytes are not a text. The last character may be cut off."""
    is_whole = len(beginning) < _BEGINNING_BYTES
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(beginning, final=is_whole)
    except UnicodeDecodeError:
        return None
    if not all(char.isprintable() or char in "\n\r\t" for char in text):
        return None
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _QUOTED_CHARACTERS else f"{line[:_QUOTED_CHARACTERS]}..."
