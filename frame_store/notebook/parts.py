"""The parts that outputs in notebooks are made of: facts, lists, and grids of pictures with captions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from frame_store.html import Child, Html, InlineStyle, Picture, element, joined

_MOST_TEXT: Final = 400
"""Characters of a text that are shown, at most: a message may hold a list of everything."""
_MOST_ITEMS: Final = 20

Value: TypeAlias = "Child | Callable[[], Child]"
"""Of a fact: what is shown, or a function that gives it."""

# Colours are those of the notebook, dark or light. Every rule is bound to a class of ours.
_STYLE: Final = InlineStyle(
    text=(
        ".frame-cache{font:13px/1.4 system-ui,sans-serif;overflow-wrap:anywhere}"
        ".frame-cache code{font-size:12px;background:none;color:inherit;padding:0}"
        ".frame-cache table.frame-cache-facts{border-collapse:collapse;margin:6px 0;font-size:13px;width:auto}"
        ".frame-cache table.frame-cache-facts :is(th,td){border:0;padding:1px 12px 1px 0;text-align:left;"
        "vertical-align:top;background:none;color:inherit;white-space:normal;max-width:60em}"
        ".frame-cache table.frame-cache-facts th{font-weight:600}"
        ".frame-cache .frame-cache-grid{display:flex;flex-wrap:wrap;gap:10px;margin:8px 0}"
        ".frame-cache figure{margin:0;max-width:100%}"
        ".frame-cache figcaption{font-size:11px;line-height:1.3;max-width:15em;padding-top:2px}"
        ".frame-cache .frame-cache-strip{display:flex;flex-wrap:wrap;gap:2px}"
        ".frame-cache img{display:block;margin:0;min-width:64px;max-width:112px;height:auto;"
        "image-rendering:pixelated}"
        ".frame-cache ul{margin:4px 0;padding-left:1.4em}"
        ".frame-cache p{margin:4px 0}"
    )
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture, or a strip of several, and what stands below."""

    pictures: Sequence[Picture | str]
    """In the place of a picture that could not be made, the reason."""
    alt: str
    """What the picture shows, for those who do not see it."""
    caption: Sequence[str]
    """Lines."""


def output(owner: object, make: Callable[[], Child]) -> str:
    """The HTML of an object: its class and what `make` gives. Where that raises, the error as text; never raises."""
    name = type(owner).__name__
    try:
        return _page(name, make())
    except Exception as error:  # noqa: BLE001 - a notebook shows nothing at all of an object whose repr raises
        return _page(name, element("p", "Cannot be shown: ", cut(error_text(error))))


def _page(name: str, shown: Child) -> str:
    return str(
        element("div", _STYLE.html, element("div", element("strong", name)), shown, class_="frame-cache")
    )


def error_text(error: BaseException) -> str:
    """The kind of an error and its message."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the message of a stranger's exception
        return type(error).__name__


def cut(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} ..."


def facts_table(facts: Iterable[tuple[str, Value]]) -> Html:
    """Names and values. A value that is a function is called; where it raises, the error stands in its place."""
    rows = [
        element("tr", element("th", name, scope="row"), element("td", _value(value)))
        for name, value in facts
        if value is not None
    ]
    return element("table", element("tbody", rows), class_="frame-cache-facts")


def _value(value: Value) -> Child:
    try:
        found = value() if callable(value) else value
    except Exception as error:  # noqa: BLE001 - the other facts are worth to be seen
        return f"cannot be read: {cut(error_text(error))}"
    return cut(found) if isinstance(found, str) else found


def items(title: str, lines: Sequence[str]) -> Html | None:
    """The first of some lines as a list, with the number of the others; None without a line."""
    if not lines:
        return None
    more = len(lines) - _MOST_ITEMS
    listed = [element("li", cut(line)) for line in lines[:_MOST_ITEMS]]
    return joined(
        element("p", element("strong", title)),
        element("ul", listed, element("li", f"and {more:,} more") if more > 0 else None),
    )


def paragraphs(lines: Iterable[str]) -> Html:
    """Lines of text, one below the other."""
    return joined([element("p", cut(line)) for line in lines])


def grid(figures: Iterable[Figure]) -> Html:
    """Pictures side by side, each with its caption."""
    return element("div", [_figure(figure) for figure in figures], class_="frame-cache-grid")


def _figure(figure: Figure) -> Html:
    number = len(figure.pictures)
    shown = [
        picture.html(alt=figure.alt if number == 1 else f"{figure.alt}, {place + 1} of {number}")
        if isinstance(picture, Picture)
        else element("p", cut(picture))
        for place, picture in enumerate(figure.pictures)
    ]
    lines = joined([cut(line) for line in figure.caption], between=element("br"))
    return element("figure", element("div", shown, class_="frame-cache-strip"), element("figcaption", lines))
