"""Wording of messages: numbers with their nouns, lists of reasons, and names of files without control characters."""

from collections.abc import Sequence


def without_controls(text: str, *, kept: str = "") -> str:
    r"""The text with escapes for control characters and lone surrogates, except for the characters in `kept`.

    >>> without_controls("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else ascii(char)[1:-1] for char in text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun; the plural is `noun` with an s where none is given.

    >>> counted(1, "frame"), counted(0, "frame"), counted(2, "copy", "copies")
    ('1 frame', '0 frames', '2 copies')
    """
    return f"{number} {_form(number, noun, plural)}"


def counted_in_groups(number: int, noun: str, plural: str | None = None) -> str:
    """As `counted`, with the digits in groups of three.

    >>> counted_in_groups(1, "byte"), counted_in_groups(12000, "byte")
    ('1 byte', '12,000 bytes')
    """
    return f"{number:,} {_form(number, noun, plural)}"


def _form(number: int, noun: str, plural: str | None) -> str:
    return noun if number == 1 else plural or f"{noun}s"


def listed(what: str, reasons: Sequence[str], remedy: str = "") -> str:
    r"""`what` with its reasons: one on the same line, several on lines of their own; then `remedy`.

    >>> listed("a.cache: holds another", ["--size: 64 there, 128 asked for"], "give another --out")
    'a.cache: holds another: --size: 64 there, 128 asked for; give another --out'
    >>> listed("two are wrong", ["a", "b"], "mend them")
    'two are wrong:\n  a\n  b\nmend them'
    """
    if len(reasons) == 1:
        return f"{what}: {reasons[0]}" + (f"; {remedy}" if remedy else "")
    return "\n".join([f"{what}:", *(f"  {reason}" for reason in reasons), *([remedy] if remedy else [])])
