"""Small drawings as SVG: time lines, bars, curves. Each says in words what it shows."""

import itertools
import math
from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import MARK_WORDS, Bar, Curve, Mark, MarkKind, TimeLine
from frame_cache_tools.report.page.wording import three_digits

from frame_store.html import Child, Html, element
from frame_store.shared import counted_in_groups

WIDTH: Final = 1000
_LEAST: Final = 9.0
"""Width of the narrowest mark, of `WIDTH`."""
_LANES: Final[dict[MarkKind, tuple[float, float]]] = {
    "damage": (1, 28),
    "lost": (5, 20),
    "gap": (9, 12),
    "corrupt": (1, 5),
    "repeat": (5, 20),
    "format": (5, 20),
    "duplicate": (23, 4),
    "unlisted": (23, 4),
}
"""Top and height of each kind, so that kinds differ by more than their colours."""
MAX_MARKS_LISTED: Final = 6
MAX_OF_KIND: Final = 3
"""Marks of a kind in the list, the longest ones."""
_NEAR: Final = 3.0
"""Marks of a kind that are nearer, of `WIDTH`, are drawn as one."""


def time_line_figure(line: TimeLine, *, name: str) -> Html:
    """A video's time line: its frames as a bar, what is wrong with them on it, pictures below, and all in words."""
    listed = [f"{MARK_WORDS[mark.kind]}: {mark.text}" for mark in line.marks[:MAX_MARKS_LISTED]]
    what = "; ".join(listed) or "nothing is wrong"
    drawing = element(
        "svg",
        element("title", f"Time line of {name}"),
        element("desc", what),
        _frames(line),
        [_mark(line, mark) for mark in _merged(line)],
        [
            element("rect", x=max(0.0, x - 2), y=29, width=4, height=5, class_="f-shown")
            for x in (_x(line, place) for place in line.shown)
        ],
        viewBox=f"0 0 {WIDTH} 34",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"Time line of {name}: {what}",
    )
    ends = element(
        "div", element("span", _end(line, line.start)), element("span", _end(line, line.end)), class_="ends"
    )
    return element("div", drawing, ends, class_="line")


def marks_list(line: TimeLine) -> Html | None:
    """The marks of a time line in words; None if there are none."""
    if not line.marks and not line.num_marks_left_out:
        return None
    items: list[Child] = []
    for kind, run in itertools.groupby(line.marks, key=lambda mark: mark.kind):
        marks = list(run)
        at_most = MAX_MARKS_LISTED if kind in {"damage", "lost"} else MAX_OF_KIND
        at_most = len(marks) if len(marks) == at_most + 1 else at_most
        items += [
            element("li", mark_key(kind), element("b", MARK_WORDS[kind]), f": {mark.text}")
            for mark in marks[:at_most]
        ]
        if len(marks) > at_most:
            items.append(
                element(
                    "li",
                    mark_key(kind),
                    element("b", MARK_WORDS[kind]),
                    f": {len(marks) - at_most:,} more on the line",
                )
            )
    if line.num_marks_left_out:
        items.append(
            element(
                "li",
                f"and {counted_in_groups(line.num_marks_left_out, 'other')} that the cache counts, not drawn",
            )
        )
    return element("ul", items, class_="marks")


def _merged(line: TimeLine) -> list[Mark]:
    """The marks to draw: those of a kind that nearly touch as one, damage below the others."""
    merged: list[Mark] = []
    reach = _NEAR * ((line.end - line.start) or 1.0) / WIDTH
    for kind, run in itertools.groupby(line.marks, key=lambda mark: mark.kind):
        held: list[Mark] = []
        for mark in sorted(run, key=lambda mark: (mark.first, mark.last)):
            if held and kind != "lost" and mark.first - held[-1].last <= reach:
                near = held[-1]
                text = near.text if near.text.endswith(", and others") else f"{near.text}, and others"
                held[-1] = Mark(kind=kind, first=near.first, last=max(near.last, mark.last), text=text)
            else:
                held.append(mark)
        merged += held
    damage = [mark for mark in merged if mark.kind == "damage"]
    return damage + [mark for mark in reversed(merged) if mark.kind != "damage"]


def marks_legend(kinds: Sequence[MarkKind]) -> Html:
    """What the colours and places on time lines mean."""
    items = [element("li", mark_key(kind), MARK_WORDS[kind]) for kind in MARK_WORDS if kind in kinds]
    shown = element("svg", element("rect", x=4, y=2, width=4, height=6, class_="f-shown"), **_KEY)
    return element("ul", items, element("li", shown, "a picture below"), class_="legend")


_KEY: Final[dict[str, str | float | bool | None]] = {
    "class_": "key",
    "viewBox": "0 0 12 10",
    "aria_hidden": "true",
}


def mark_key(kind: MarkKind) -> Html:
    """The sign of a kind of mark, as time lines draw it."""
    top, height = {
        "corrupt": (0, 4),
        "gap": (2, 6),
        "lost": (1, 8),
        "duplicate": (6, 4),
        "unlisted": (6, 4),
    }.get(kind, (0, 10))
    width = 3 if kind in {"repeat", "format"} else 12
    return element(
        "svg",
        element("rect", x=0, y=3, width=12, height=4, class_="f-base") if kind != "damage" else None,
        element("rect", x=0, y=top, width=width, height=height, class_=_class_of(kind)),
        **_KEY,
    )


def _class_of(kind: MarkKind) -> str:
    return f"s-{kind}" if kind in {"gap", "lost", "unlisted"} else f"f-{kind}"


def _frames(line: TimeLine) -> list[Html]:
    if not line.stored:
        return [element("rect", x=0, y=9, width=WIDTH, height=12, class_="f-base")]
    rail = element("rect", x=0, y=14, width=WIDTH, height=2, class_="f-base")
    width = max(2.0, min(6.0, 0.6 * WIDTH / len(line.stored)))
    ticks = [
        element("rect", x=min(_x(line, place), WIDTH - width), y=9, width=width, height=12, class_="f-base")
        for place in line.stored
    ]
    return [rail, *ticks]


def _mark(line: TimeLine, mark: Mark) -> Html:
    first, last = _x(line, mark.first), _x(line, mark.last)
    width = max(last - first, _LEAST)
    top, height = _LANES[mark.kind]
    return element(
        "rect",
        element("title", f"{MARK_WORDS[mark.kind]}: {mark.text}"),
        x=round(max(0.0, min(first, WIDTH - width)), 1),
        y=top,
        width=round(width, 1),
        height=height,
        class_=_class_of(mark.kind),
    )


def _x(line: TimeLine, place: float) -> float:
    share = (place - line.start) / ((line.end - line.start) or 1.0)
    return round(WIDTH * min(max(share, 0.0), 1.0), 1) if math.isfinite(share) else 0.0


def _end(line: TimeLine, place: float) -> str:
    return f"{place:.2f} s" if line.unit == "s" else f"frame {place:.0f}"


def bars_table(bars: Sequence[Bar], *, label: str, what: str) -> Html:
    """Counts with bars. `label` says what they count, `what` heads the names."""
    most = max((bar.count for bar in bars), default=1) or 1
    rows = [
        element(
            "tr",
            element("th", bar.label or "(empty)", scope="row"),
            element("td", f"{bar.count:,}", class_="num"),
            element("td", meter(bar.count / most)),
        )
        for bar in bars
    ]
    head = element(
        "tr",
        element("th", what, scope="col"),
        element("th", "number", scope="col", class_="num"),
        element("td"),
    )
    return element(
        "table", element("caption", label), element("thead", head), element("tbody", rows), class_="bars"
    )


def meter(share: float) -> Html:
    """A bar as long as a share of its place; beside it stands the number."""
    return element(
        "svg",
        element("rect", x=0, y=0, width=round(100 * min(max(share, 0.0), 1.0), 1), height=10, class_="f-bar"),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        class_="meter",
        aria_hidden="true",
    )


def histogram(bars: Sequence[Bar], *, label: str) -> Html:
    """Counts of neighbouring stretches of values as columns."""
    most = max((bar.count for bar in bars), default=1) or 1
    width = 300 / max(1, len(bars))
    peak = max(bars, key=lambda bar: bar.count)
    desc = (
        f"{len(bars)} stretches from {bars[0].label} to {bars[-1].label}; most values ({peak.count:,}) are in "
        f"{peak.label}"
    )
    return element(
        "svg",
        element("title", label),
        element("desc", desc),
        [
            element(
                "rect",
                element("title", f"{bar.label}: {bar.count:,}"),
                x=round(place * width, 2),
                y=round(60 - 60 * bar.count / most, 2),
                width=round(0.9 * width, 2),
                height=round(60 * bar.count / most, 2),
                class_="f-bar",
            )
            for place, bar in enumerate(bars)
        ],
        viewBox="0 0 300 60",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{label}: {desc}",
    )


def curves_plot(curves: Sequence[Curve], *, label: str) -> Html:
    """Values along a video. A missing value breaks the curve."""
    known = [value for curve in curves for value in curve.values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    middle, reach = low / 2 + high / 2, (high / 2 - low / 2) or 1.0
    desc = f"from {three_digits(low)} to {three_digits(high)}" if known else "no value"
    lines = []
    for number, curve in enumerate(curves):
        step = 300 / max(1, len(curve.values) - 1)
        points = [
            None if value is None else (place * step, 30 - 28 * (value - middle) / reach)
            for place, value in enumerate(curve.values)
        ]
        for is_known, run in itertools.groupby(points, key=lambda point: point is not None):
            if is_known:
                path = [f"{point[0]:.1f} {point[1]:.1f}" for point in run if point is not None]
                path = [path[0], *path] if len(path) == 1 else path
                lines.append(element("path", d="M" + "L".join(path), class_=f"curve k{number % 6}"))
    return element(
        "svg",
        element("title", label),
        element("desc", desc),
        lines,
        viewBox="0 0 300 60",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{label}: {desc}",
    )
