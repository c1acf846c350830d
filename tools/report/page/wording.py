"""Numbers as a page writes them."""

import math

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def bytes_text(num_bytes: float) -> str:
    """Bytes in decimal units, with three digits.

    >>> bytes_text(1), bytes_text(999), bytes_text(28_900_000), bytes_text(153_000)
    ('1 byte', '999 bytes', '28.9 MB', '153 kB')
    """
    if round(num_bytes) == 1:
        return "1 byte"
    unit, value = 0, float(num_bytes)
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{three_digits(value)} {_UNITS[unit]}"


def three_digits(value: float) -> str:
    """A number with three digits, and none of an exponent below a million.

    >>> three_digits(28.94), three_digits(8.0), three_digits(1657.2), three_digits(0.03551)
    ('28.9', '8', '1,660', '0.0355')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1000 <= abs(value) < 1e6:
        digits = math.floor(math.log10(abs(value))) - 2
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.3g}"


def duration_text(seconds: float) -> str:
    """A duration in the units that a person would take.

    >>> duration_text(2.6), duration_text(71), duration_text(3725)
    ('2.6 s', '1 min 11 s', '1 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600):,} h {int(seconds % 3600 // 60)} min"


def rate_text(fps: float) -> str:
    """A frame rate.

    >>> rate_text(30000 / 1001), rate_text(30.0)
    ('29.97 fps', '30 fps')
    """
    return f"{round(fps, 2):.12g} fps"


def seconds_text(seconds: float | None) -> str:
    """A moment of a video; empty if it is not known."""
    return "" if seconds is None else f"{seconds:.2f} s"


def percent_text(share: float) -> str:
    """A share in percent, never rounded to all or to nothing.

    >>> percent_text(0.5), percent_text(0.99999), percent_text(0.00001)
    ('50%', 'more than 99.9%', 'less than 0.1%')
    """
    if 0.999 < share < 1:
        return "more than 99.9%"
    if 0 < share < 0.001:
        return "less than 0.1%"
    return f"{100 * share:.3g}%"
