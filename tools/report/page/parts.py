"""Parts that pages are made of: sections, tables in boxes that scroll, facts, warnings, badges."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from frame_store.html import Child, Html, element
from frame_store.shared import counted_in_groups

Mood: TypeAlias = Literal["ok", "warn", "bad"]


def section(anchor: str, title: Child, *children: Child) -> Html:
    """A section of the page that links lead to."""
    heading = f"{anchor}-title"
    return element("section", element("h2", title, id=heading), *children, id=anchor, aria_labelledby=heading)


def badge(text: str, mood: Mood) -> Html:
    """A word in a pill; the word says what the colour says."""
    return element("span", text, class_=f"badge {mood}")


def box(mood: Mood, *children: Child) -> Html:
    """A remark that must not be overlooked."""
    return element("div", *children, class_=f"box {mood}")


def warnings_box(title: str, lines: Sequence[Child], *, mood: Mood = "bad") -> Html | None:
    """Several remarks in a box; None if there are none."""
    return None if not lines else box(mood, element("b", title), plain_list(lines))


def plain_list(items: Iterable[Child]) -> Html:
    """A list with dots."""
    return element("ul", [element("li", item) for item in items], class_="plain")


def facts_table(rows: Iterable[tuple[Child, Child]], *, label: str) -> Html:
    """Facts with their names. `label` says what they are about, for those who do not see the page."""
    lines = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in rows
        if value is not None
    ]
    return scrolling(element("table", element("tbody", lines), class_="facts"), label=label)


def data_table(
    caption: str,
    titles: Sequence[Child],
    rows: Iterable[Sequence[Child]],
    *,
    numeric: frozenset[int] = frozenset(),
    best: int | None = None,
) -> Html:
    """A table whose first column names the rows. `numeric` columns are right-aligned; row `best` is marked."""
    head = element(
        "tr",
        [
            element("th", title, scope="col", class_="num" if place in numeric else None)
            for place, title in enumerate(titles)
        ],
    )
    body = [
        element(
            "tr",
            [
                element("th", cell, scope="row")
                if place == 0
                else element(
                    "td", cell, class_="num" if place in numeric else None, data_label=_plain(titles[place])
                )
                for place, cell in enumerate(row)
            ],
            class_="best" if number == best else None,
        )
        for number, row in enumerate(rows)
    ]
    table = element(
        "table", element("caption", caption), element("thead", head), element("tbody", body), class_="cards"
    )
    return scrolling(table, label=caption)


def _plain(title: Child) -> str:
    """The title that stands before a cell where a narrow screen shows each row as a card."""
    return title if isinstance(title, str) else ""


def code_block(anchor: str, code: str, *, label: str) -> Html:
    """Text to copy, with a button that copies it."""
    return element(
        "div",
        element(
            "pre", element("code", code, id=anchor), tabindex=0, role="group", aria_label=label, dir="ltr"
        ),
        element("button", "Copy", type="button", data_copies=anchor, hidden=True),
        class_="code",
    )


def scrolling(content: Html, *, label: str) -> Html:
    """A box that scrolls sideways by itself, so that the page never does; the keyboard reaches it."""
    return element("div", content, class_="scroll", tabindex=0, role="group", aria_label=label)


def folded(summary: Child, *children: Child, is_open: bool = False, anchor: str | None = None) -> Html:
    """What is unfolded by a click."""
    return element("details", element("summary", summary), *children, open=is_open, id=anchor)


def link(anchor: str, *children: Child) -> Html:
    """A link to a place of the page."""
    return element("a", *children, href=f"#{anchor}")


def limited(items: Sequence[Child], *, at_most: int, noun: str) -> list[Child]:
    """The first items, and how many more there are."""
    more = len(items) - at_most
    return list(items) if more <= 0 else [*items[:at_most], f"and {counted_in_groups(more, noun)} more"]
