"""Numbers of things in words."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun; the plural is `noun` with an s where none is given.

    >>> counted(1, "frame"), counted(0, "frame"), counted(2, "copy", "copies")
    ('1 frame', '0 frames', '2 copies')
    """
    return f"{number} {_form(number, noun, plural)}"


def counted_in_groups(number: int, noun: str, plural: str | None = None) -> str:
    """As `counted`, digits in groups of three.

    >>> counted_in_groups(1, "byte"), counted_in_groups(12000, "byte")
    ('1 byte', '12,000 bytes')
    """
    return f"{number:,} {_form(number, noun, plural)}"


def _form(number: int, noun: str, plural: str | None) -> str:
    return noun if number == 1 else plural or f"{noun}s"
