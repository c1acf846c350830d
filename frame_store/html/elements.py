"""Elements of HTML and SVG, made by functions that escape every text and every attribute."""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from frame_store.shared import without_controls

_VOID: Final = frozenset({"br", "col", "hr", "img", "meta"})
_TAGS: Final = _VOID.union(
    *(
        words.split()
        for words in (
            "html head body title header main nav footer section article aside figure figcaption",
            "h1 h2 h3 h4 p div span ul ol li dl dt dd a abbr b bdi code em kbd pre small strong sub sup time",
            "table caption colgroup thead tbody tr th td button details summary",
            "svg g path rect line circle polyline polygon text tspan desc",
        )
    )
)
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_INNER_LINK: Final = re.compile(r"#[A-Za-z][A-Za-z0-9._-]*")
_PICTURE: Final = re.compile(r"data:image/(?:jpeg|png);base64,[A-Za-z0-9+/]+=*")
_REFUSED: Final = frozenset({"style", "srcdoc", "srcset", "action", "formaction", "background", "ping"})
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


class Html:
    """Finished markup. Only functions of this package make it, so that what it holds was escaped."""

    __slots__ = ("_text",)

    def __init__(self, text: str, *, made_by: object) -> None:
        """Take markup; `made_by` is a key that this package alone has."""
        if made_by is not MAKER:
            raise TypeError("Html is made by element() and joined(), which escape what they are given")
        self._text = text

    def __str__(self) -> str:
        """The markup."""
        return self._text

    def __repr__(self) -> str:
        return f"Html({self._text!r})"

    def __eq__(self, other: object) -> bool:
        """Whether another one has the same markup."""
        return isinstance(other, Html) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


MAKER: Final = object()
"""What tells the functions of this package from other callers of `Html`."""

Child: TypeAlias = "Html | str | int | Iterable[Child] | None"
"""What an element may hold: markup, a text (escaped), a whole number, nothing, or several of these."""


def shown_text(text: str, *, kept: str = "\n") -> str:
    r"""A text as markup: special characters escaped; controls and marks of direction written as escapes.

    >>> shown_text("<b>&\u202e")
    '&lt;b&gt;&amp;\\u202e'
    """
    return without_controls(text, kept=kept).translate(_ESCAPES)


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element with its children, all of them escaped.

    A name of an attribute ends with `_` where Python has the word, and has `_` for `-`: `class_`, `aria_label`. None
    and False leave an attribute out, True writes its name alone.

    >>> str(element("p", "1 < 2 ", element("b", "& so on"), class_="note"))
    '<p class="note">1 &lt; 2 <b>&amp; so on</b></p>'

    Raises:
        ValueError: a tag that is not known; an attribute that runs code or loads something; a link that does not lead
            to a place of the page; a picture that is no data.
    """
    if tag not in _TAGS:
        raise ValueError(f"{tag!r} is no element that this package makes")
    start = f"<{tag}{''.join(_attribute(tag, *item) for item in attributes.items())}"
    if tag in _VOID:
        if children:
            raise ValueError(f"<{tag}> holds nothing")
        return Html(f"{start}>", made_by=MAKER)
    return Html(f"{start}>{''.join(_texts(children))}</{tag}>", made_by=MAKER)


def joined(*children: Child, between: Child = None) -> Html:
    """Several children one after the other, escaped as those of an element.

    >>> str(joined(["a", "<b>"], between=", "))
    'a, &lt;b&gt;'
    """
    return Html("".join(_texts([between])).join(_texts(children)), made_by=MAKER)


def name_of(name: str) -> Html:
    """A name that a stranger chose, such as a path: it cannot change the direction of the text around it."""
    return element("bdi", name.replace("\n", r"\n"), class_="name")


def _texts(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, Html):
            yield str(child)
        elif isinstance(child, str):
            yield shown_text(child)
        elif isinstance(child, int):
            yield str(child)
        elif child is not None:
            yield from _texts(child)


def _attribute(tag: str, name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    written = _attribute_name(name)
    lower = written.lower()
    if lower.startswith("on") or lower in _REFUSED:
        raise ValueError(f"attribute {written!r} of <{tag}> could run code or load something")
    if value is True:
        return f" {written}"
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    if lower == "href" and not _INNER_LINK.fullmatch(text):
        raise ValueError(f"a link leads to a place of the page, such as #videos; found {text[:100]!r}")
    if lower == "src" and not (tag == "img" and _PICTURE.fullmatch(text)):
        raise ValueError(f"src of <{tag}> must be a picture as data, found {text[:60]!r}")
    if "url(" in text.lower() and tag != "img" and lower not in {"alt", "title", "aria-label"}:
        raise ValueError(f"attribute {written!r} of <{tag}> refers to something else: {text[:100]!r}")
    return f' {written}="{shown_text(text, kept="")}"'


def _attribute_name(name: str) -> str:
    written = name.rstrip("_").replace("_", "-")
    if not _NAME.fullmatch(written):
        raise ValueError(f"{name!r} is no name of an attribute")
    return written
