"""How many files of a folder have each codec, size, rate and so on."""

from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import Bar
from frame_cache_tools.report.folder.records import FileFacts, FolderReport
from frame_cache_tools.report.page import bars_table, box, limited, plain_list

from frame_store.html import Child, Html, element, joined, name_of

MAX_BARS: Final = 12
MAX_NAMED: Final = 8
"""Files of a group of copies, and groups."""


def kinds_part(report: FolderReport) -> Html:
    """Codecs, sizes, rates, keyframes, formats and containers of all readable files; and copies."""
    readable = [video.facts for video in report.videos if video.facts is not None]
    plots: list[tuple[str, str, list[str]]] = [
        ("Codecs", "codec", [facts.codec for facts in readable]),
        ("Sizes", "width x height", [f"{facts.width} x {facts.height}" for facts in readable]),
        ("Frame rates", "rate in the header", [_rate(facts) for facts in readable]),
        ("Keyframes", "longest distance", [_distance(facts) for facts in readable]),
        ("Pixel formats", "format", [facts.pixel_format for facts in readable]),
        ("Containers", "container", [_container(facts) for facts in readable]),
    ]
    shown = [
        element(
            "div",
            element("h3", title),
            bars_table(_bars(values), label=f"Files by {what}", what=what),
            class_="plot",
        )
        for title, what, values in plots
        if values
    ]
    copies: Child = None
    if report.copies:
        groups: list[Child] = [
            joined(map(name_of, group[:MAX_NAMED]), between=" = ") for group in report.copies
        ]
        copies = box(
            "warn",
            element("b", "Byte for byte the same:"),
            plain_list(limited(groups, at_most=MAX_NAMED, noun="more group")),
        )
    return joined(
        element("div", shown, class_="plots") if shown else element("p", "No file can be read."),
        element(
            "p",
            "A keyframe is where decoding can start. To read one frame live, a decoder decodes all frames from the "
            "keyframe before it: long distances make live reading slow, and do not matter to a cache.",
        ),
        copies,
    )


def _bars(values: Sequence[str]) -> list[Bar]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    bars = [Bar(label=label, count=count) for label, count in ranked[:MAX_BARS]]
    others = ranked[MAX_BARS:]
    if others:
        bars.append(Bar(label=f"{len(others):,} others", count=sum(count for _, count in others)))
    return bars


def _rate(facts: FileFacts) -> str:
    return "not stated" if facts.fps is None else f"{facts.fps:.5g} frames/s"


def _container(facts: FileFacts) -> str:
    """FFmpeg names a container by all extensions that it has; the first two say which one it is."""
    return ", ".join(facts.container.split(",")[:2])


def _distance(facts: FileFacts) -> str:
    """The longest GOP, in powers of two, so that files fall into few groups."""
    if facts.gop_longest <= 1:
        return "every frame"
    low = 1 << (facts.gop_longest - 1).bit_length() >> 1
    return "2 frames" if low == 1 else f"{low + 1:,} to {2 * low:,} frames"
