"""Numbers of things in words."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun; the plural is `noun` with an s where none is given.

    >>> counted(1, "frame"), counted(0, "frame"), counted(2, "copy", "copies")
    ('1 frame', '0 frames', '2 copies')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
