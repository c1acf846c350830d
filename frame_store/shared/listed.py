"""Messages that give one reason or several."""

from collections.abc import Sequence


def listed(what: str, reasons: Sequence[str], remedy: str = "") -> str:
    r"""`what` with its reasons: a single one on the same line, several below it; `remedy` stands behind them.

    >>> listed("a.cache: holds another", ["--size: 64 there, 128 asked for"], "give another --out")
    'a.cache: holds another: --size: 64 there, 128 asked for; give another --out'
    >>> listed("two are wrong", ["a", "b"], "mend them")
    'two are wrong:\n  a\n  b\nmend them'
    """
    if len(reasons) == 1:
        return f"{what}: {reasons[0]}" + (f"; {remedy}" if remedy else "")
    return "\n".join([f"{what}:", *(f"  {reason}" for reason in reasons), *([remedy] if remedy else [])])
