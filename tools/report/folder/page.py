"""The page of a folder before anything is built."""

from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import Mark, TimeLine
from frame_cache_tools.report.folder.kinds import kinds_part
from frame_cache_tools.report.folder.peek import PeekedFrame
from frame_cache_tools.report.folder.records import Finding, FolderReport, FolderVideo
from frame_cache_tools.report.folder.wording import (
    build_seconds,
    cost_text,
    damage_text,
    gop_text,
    number_of_frames,
    sampler_text,
    what_text,
)
from frame_cache_tools.report.page import (
    badge,
    box,
    bytes_text,
    data_table,
    document,
    duration_text,
    facts_table,
    folded,
    link,
    plain_list,
    three_digits,
    time_line_figure,
)

from frame_store.html import Child, Html, element, joined, name_of
from frame_store.shared import counted_in_groups

MAX_OPEN: Final = 24
"""Cards of videos without findings that are not folded away."""
MAX_CARDS: Final = 300
MAX_ROWS: Final = 1000
"""Of the table of all files."""
MAX_NAMED: Final = 8
_MOODS: Final[dict[Finding, tuple[str, str]]] = {
    "nothing found": ("nothing found", "ok"),
    "damaged": ("damaged", "bad"),
    "unreadable": ("unreadable", "bad"),
}


def page_of_folder(report: FolderReport) -> str:
    """The page of a folder. Equal reports give equal texts."""
    with_findings = [video for video in report.videos if video.finding != "nothing found"]
    others = [video for video in report.videos if video.finding == "nothing found" and video.frames]
    parts: list[tuple[str, str, Child]] = [("answers", "In one minute", _answers(report))]
    if with_findings:
        parts.append(("damage", "Damaged and unreadable", _cards(with_findings, is_open=True)))
    if others:
        parts.append(
            ("videos", "A look inside", [_shown_text(report, others), _cards(others, is_open=False)])
        )
    parts.append(("kinds", "Lengths, sizes and codecs", kinds_part(report)))
    parts.append(("cost", "What a cache would cost", _cost(report)))
    parts.append(("files", "All files", _files_table(report)))
    parts.append(("build", "Build it", _command(report)))
    head = [
        element("h1", name_of(report.name)),
        element("p", name_of(report.path), class_="path"),
        _tiles(report),
    ]
    return document(
        title=f"{report.name}: videos",
        head=head,
        sections=parts,
        foot=f"Made by cache-report of frame-cache {report.version} before anything was built. The page loads nothing "
        "and sends nothing.",
    )


def _tiles(report: FolderReport) -> Html:
    num_wrong = report.num_damaged + report.num_unreadable
    kind = "Episodes" if report.is_of_episodes else "Videos"
    cells = [
        _tile(kind, f"{report.num_videos:,}", duration_text(report.seconds) if report.seconds else ""),
        _tile("Frames", number_of_frames(report), "by their packets"),
        _tile("On disk", bytes_text(report.num_bytes), counted_in_groups(len(report.videos), "file")),
        _tile("Damage", f"{num_wrong:,} found", "damaged or unreadable files", "bad")
        if num_wrong
        else _tile("Damage", "None found", "decoding everything may find some", None),
    ]
    if report.cameras:
        cells.insert(1, _tile("Cameras", f"{len(report.cameras):,}", "each with its own frames"))
    return element("dl", cells, class_="tiles")


def _tile(title: str, value: str, more: str, mood: str | None = None) -> Html:
    return element(
        "div",
        element("dt", title),
        element("dd", value, element("small", more) if more else None),
        class_=mood,
    )


def _answers(report: FolderReport) -> Html:
    pairs: list[tuple[str, Child]] = [
        ("What is in it?", what_text(report)),
        ("Is anything damaged?", _damage(report)),
        ("What would a cache cost?", [cost_text(report), " ", link("cost", "All figures"), "."]),
        ("Which sampler would suit?", sampler_text(report)),
        ("How do I build it?", [link("build", "Copy the command"), "."]),
    ]
    return element(
        "dl", [[element("dt", ask), element("dd", answer)] for ask, answer in pairs], class_="answers"
    )


def _damage(report: FolderReport) -> Child:
    found = [video for video in report.videos if video.finding != "nothing found"]
    lines: list[Child] = [[name_of(video.name), f": {video.problems[0]}"] for video in found[:MAX_NAMED]]
    if len(found) > MAX_NAMED:
        lines.append(link("damage", f"and {counted_in_groups(len(found) - MAX_NAMED, 'other')}"))
    return [element("div", damage_text(report)), plain_list(lines) if lines else None]


def _shown_text(report: FolderReport, others: Sequence[FolderVideo]) -> Html:
    return element(
        "p",
        f"A few frames of {report.num_peeked:,} of {counted_in_groups(len(report.videos), 'file')} were decoded for "
        f"this page. In {len(others):,} of them nothing wrong was found.",
    )


def _cards(videos: Sequence[FolderVideo], *, is_open: bool) -> Html:
    cards = [_card(video) for video in videos[:MAX_CARDS]]
    first, more = (cards, []) if is_open else (cards[:MAX_OPEN], cards[MAX_OPEN:])
    left_out = len(videos) - len(cards)
    return joined(
        first,
        folded(f"Show {counted_in_groups(len(more), 'other video')}", more) if more else None,
        element("p", f"{counted_in_groups(left_out, 'more file')} like these: see the table of all files.")
        if left_out
        else None,
    )


def _card(video: FolderVideo) -> Html:
    words, mood = _MOODS[video.finding]
    line = _time_line(video)
    stretches = [
        f"{stretch.first:.2f} s to {stretch.last:.2f} s: {stretch.text}" for stretch in video.stretches
    ]
    if video.num_stretches_left_out:
        stretches.append(
            f"and {counted_in_groups(video.num_stretches_left_out, 'more stretch', 'more stretches')}"
        )
    return element(
        "article",
        element(
            "header",
            element("h3", name_of(video.name)),
            badge(words, "ok" if mood == "ok" else "bad"),
            element("span", _numbers(video), class_="soft"),
        ),
        plain_list(video.problems) if video.problems else None,
        None if line is None else time_line_figure(line, name=video.name),
        plain_list(stretches) if stretches else None,
        _sheet(video),
        element("p", joined(video.notes, between="; "), class_="soft") if video.notes else None,
        class_="video" if video.finding == "nothing found" else "video attention",
    )


def _numbers(video: FolderVideo) -> str:
    parts = [] if video.num_bytes is None else [bytes_text(video.num_bytes)]
    if (facts := video.facts) is not None:
        parts += [f"{'' if facts.is_proved else 'about '}{counted_in_groups(facts.num_frames, 'frame')}"]
        parts += [] if facts.seconds is None else [duration_text(facts.seconds)]
        parts += [] if facts.fps is None else [f"{three_digits(facts.fps)} frames/s"]
        parts += [f"{facts.width} x {facts.height}", facts.codec, gop_text(facts)]
    if video.num_episodes:
        parts.append(counted_in_groups(video.num_episodes, "episode"))
    return ", ".join(parts)


def _time_line(video: FolderVideo) -> TimeLine | None:
    """The time line of a video with damage whose place is known."""
    facts = video.facts
    if facts is None or not facts.seconds or not video.stretches:
        return None
    ends = [stretch.last for stretch in video.stretches]
    return TimeLine(
        unit="s",
        start=min(0.0, *(stretch.first for stretch in video.stretches)),
        end=max(facts.seconds, *ends),
        marks=tuple(
            Mark(kind="damage", first=stretch.first, last=stretch.last, text=stretch.text)
            for stretch in video.stretches
        ),
        num_marks_left_out=video.num_stretches_left_out,
        stored=(),
        shown=tuple(frame.seconds for frame in video.frames if frame.seconds is not None),
    )


def _sheet(video: FolderVideo) -> Html | None:
    return (
        element("ul", [_picture(video, frame) for frame in video.frames], class_="sheet")
        if video.frames
        else None
    )


def _picture(video: FolderVideo, frame: PeekedFrame) -> Html:
    moment = "" if frame.seconds is None else f"{frame.seconds:.2f} s"
    levels = frame.picture.levels
    return element(
        "li",
        frame.picture.html(alt=f"A frame of {video.name}{f' at {moment}' if moment else ''}"),
        element("span", moment or "time not known"),
        element("span", f"levels {levels[0]} to {levels[1]}") if levels is not None else None,
        element("span", element("b", "flagged corrupt")) if frame.is_corrupt else None,
        class_="in" if frame.is_corrupt else None,
    )


def _cost(report: FolderReport) -> Child:
    estimate = report.estimate
    if estimate is None:
        return box("warn", f"There is no estimate: {report.why_no_estimate}")
    about = "about " if estimate.num_videos_uncounted else ""
    seconds = build_seconds(estimate)
    sample = estimate.sample
    rows: list[tuple[Child, Child]] = [
        ("frames to decode", f"{about}{estimate.num_frames_decoded:,}"),
        ("frames to store", f"{about}{estimate.num_frames_stored:,}"),
        ("shards", f"{estimate.num_shards:,}"),
        (
            "cache",
            None if estimate.num_cache_bytes is None else f"about {bytes_text(estimate.num_cache_bytes)}",
        ),
        (
            "disk while building",
            None
            if estimate.num_building_bytes is None
            else f"about {bytes_text(estimate.num_building_bytes)}",
        ),
        (
            "free now",
            None
            if estimate.num_free_bytes is None
            else f"{bytes_text(estimate.num_free_bytes)}{': TOO LITTLE' if estimate.fits is False else ''}",
        ),
        (
            "time",
            None
            if seconds is None
            else f"about {duration_text(seconds)} with {counted_in_groups(estimate.num_workers, 'worker')}",
        ),
        (
            "estimated by",
            f"{counted_in_groups(sample.num_frames_decoded, 'frame')} of "
            f"{counted_in_groups(sample.num_videos, 'video')}, decoded in {sample.seconds:.1f} s",
        ),
        ("with settings", ", ".join(f"{name} {value}" for name, value in report.settings)),
    ]
    return [
        element(
            "p",
            "These are estimates. Nothing was built. Other settings give other figures: cache-build --dry-run.",
        ),
        facts_table(rows, label="What a cache would cost"),
    ]


def _files_table(report: FolderReport) -> Html:
    rows: list[list[Child]] = []
    for video in report.videos[:MAX_ROWS]:
        facts = video.facts
        rows.append(
            [
                name_of(video.name),
                video.finding,
                None if video.num_bytes is None else bytes_text(video.num_bytes),
                *(
                    [None] * 6
                    if facts is None
                    else [
                        f"{'' if facts.is_proved else 'about '}{facts.num_frames:,}",
                        None if facts.seconds is None else duration_text(facts.seconds),
                        f"{facts.width} x {facts.height}",
                        None if facts.fps is None else three_digits(facts.fps),
                        facts.codec,
                        gop_text(facts),
                    ]
                ),
            ]
        )
    titles = [
        "file",
        "finding",
        "size",
        "frames",
        "length",
        "width x height",
        "frames/s",
        "codec",
        "keyframes",
    ]
    more = len(report.videos) - len(rows)
    caption = f"{counted_in_groups(len(report.videos), 'file')}, those with findings first"
    table = data_table(caption, titles, rows, numeric=frozenset({2, 3, 4, 6}))
    return joined(
        folded("Show the table", table, is_open=len(rows) <= MAX_OPEN),
        element("p", f"{counted_in_groups(more, 'more file')} not listed.") if more > 0 else None,
    )


def _command(report: FolderReport) -> Html:
    return element(
        "div",
        element("p", "With --dry-run at its end it builds nothing and says what it would do."),
        element(
            "pre",
            element("code", f"{report.command}\n", id="snippet"),
            tabindex=0,
            role="group",
            aria_label="The command that builds the cache",
        ),
        element("button", "Copy", type="button", data_copies="snippet", hidden=True),
        class_="code",
    )
