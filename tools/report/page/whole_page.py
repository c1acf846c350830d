"""The whole page."""

from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import CacheReport
from frame_cache_tools.report.page.damage import what_to_do_part
from frame_cache_tools.report.page.parts import link, section, warnings_box
from frame_cache_tools.report.page.sections import (
    build_part,
    columns_part,
    dataset_part,
    fidelity_part,
    load_part,
    samplers_part,
)
from frame_cache_tools.report.page.style import SCRIPT, STYLE
from frame_cache_tools.report.page.summary import answers, tiles
from frame_cache_tools.report.page.videos import lengths_part, videos_part

from frame_store.html import Child, Html, element, joined, name_of

GENERATOR: Final = "frame-cache cache-report"
"""What tells a page of ours from other files."""
POLICY: Final = (
    f"default-src 'none'; img-src data:; style-src {STYLE.source}; script-src {SCRIPT.source}; "
    "base-uri 'none'; form-action 'none'"
)


def page_of_cache(report: CacheReport) -> str:
    """The page of a cache. Equal reports give equal texts."""
    parts: list[tuple[str, str, Child]] = [("answers", "In one minute", answers(report))]
    if report.problems:
        parts.append(("problems", "Damage of the cache", warnings_box("Found:", report.problems)))
    if any(camera.summary is not None and camera.summary.num_not_whole for camera in report.cameras) and any(
        video.needs_attention for video in report.leader.videos
    ):
        parts.append(("damage", "What to do about the damage", what_to_do_part(report)))
    for number, camera in enumerate(report.cameras):
        suffix = f"-{number}" if camera.name is not None else ""
        title = f"{report.noun.capitalize()}s"
        title += "" if camera.name is None else f" of camera {camera.name}"
        parts.append((f"videos{suffix}", title, videos_part(camera, number=number, noun=report.noun)))
    if report.leader.summary is not None:
        parts.append(("lengths", "Lengths and rates", lengths_part(report.leader.summary)))
    shown = [camera for camera in report.cameras if camera.fidelity is not None]
    if shown:
        parts.append(
            (
                "fidelity",
                "Fidelity",
                [
                    [
                        element("h3", "Camera ", name_of(camera.name)) if camera.name is not None else None,
                        fidelity_part(camera.fidelity),
                    ]
                    for camera in shown
                    if camera.fidelity is not None
                ],
            )
        )
    if report.columns:
        parts.append(("columns", "Columns", columns_part(report)))
    if report.sampling is not None:
        parts.append(("samplers", "Samplers", samplers_part(report.sampling)))
    if report.dataset is not None:
        parts.append(("dataset", "Data set", dataset_part(report.dataset)))
    parts.append(
        (
            "build",
            "Build settings",
            [
                [
                    element("h3", "Camera ", name_of(camera.name)) if camera.name is not None else None,
                    build_part(camera),
                ]
                for camera in report.cameras
            ],
        )
    )
    parts.append(("load", "Load it", load_part(report)))
    head = [
        element("h1", name_of(report.name)),
        element("p", name_of(report.path), class_="path"),
        tiles(report),
    ]
    return document(
        title=f"{report.name}: frame cache",
        head=head,
        sections=parts,
        foot=f"Made by cache-report of frame-cache {report.version}. The page loads nothing and sends nothing.",
    )


def document(*, title: str, head: Child, sections: Sequence[tuple[str, str, Child]], foot: Child) -> str:
    """A page of a header and sections, each with its anchor, title and content."""
    menu = element(
        "nav",
        element("ul", [element("li", link(anchor, name)) for anchor, name, _ in sections]),
        aria_label="Sections",
    )
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="generator", content=GENERATOR),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("title", title),
            STYLE.html,
        ),
        element(
            "body",
            element("a", "Skip to the content", href="#main", class_="skip"),
            element("header", head, menu),
            element(
                "main", [section(anchor, name, content) for anchor, name, content in sections], id="main"
            ),
            element("footer", foot),
            SCRIPT.html,
        ),
        lang="en",
    )
    return f"<!doctype html>\n{joined(page)}\n"


__all__ = ["GENERATOR", "Html", "document", "page_of_cache"]
