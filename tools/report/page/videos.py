"""Videos on a page: cards with time line and contact sheet, and all of them in numbers."""

from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import CameraFacts, MarkKind, VideoFacts, VideosSummary
from frame_cache_tools.report.page.damage import loss_text, video_anchor
from frame_cache_tools.report.page.drawings import bars_table, marks_legend, marks_list, time_line_figure
from frame_cache_tools.report.page.parts import Mood, badge, box, folded, link, plain_list
from frame_cache_tools.report.page.wording import duration_text, percent_text, rate_text, seconds_text

from frame_store.html import Child, Html, element, joined, name_of
from frame_store.shared import counted_in_groups

MAX_OPEN: Final = 24
"""Videos that are not whole that stand on the page unfolded."""
MAX_NOTED_OPEN: Final = 4
"""Whole videos with notes or marks that do."""
MAX_PLAIN_OPEN: Final = 4
"""Other whole videos that do."""
_MOODS: Final[dict[str | None, tuple[str, Mood]]] = {
    "whole": ("whole", "ok"),
    "damaged": ("damaged", "bad"),
    "unreadable": ("unreadable", "bad"),
    None: ("not decoded yet", "warn"),
}
MAX_NOTES: Final = 6
MAX_OVERVIEW: Final = 12
"""Pictures at the top of the page, spread evenly over the videos that are shown."""


def video_card(video: VideoFacts, *, number: int = 0) -> Html:
    """A video: what it is, its time line with what is wrong, and its contact sheet."""
    words, mood = _MOODS[video.verdict]
    line = video.time_line
    return element(
        "article",
        element(
            "header",
            element("h3", name_of(video.path)),
            badge(words, mood),
            element("span", _numbers(video), class_="soft"),
        ),
        element("p", element("b", _loss_of(video))) if video.needs_attention else None,
        None if line is None else time_line_figure(line, name=video.path),
        None if line is None else marks_list(line),
        contact_sheet(video),
        None if video.problem is None else box("bad", f"Pictures are missing: {video.problem}"),
        _notes(video),
        id=video_anchor(video, number),
        class_="video attention" if video.needs_attention else "video",
    )


def _numbers(video: VideoFacts) -> str:
    stored, decoded = video.num_frames_stored, video.num_frames_decoded
    frames = counted_in_groups(stored, "frame")
    if stored != decoded:
        frames = f"{stored:,} of {counted_in_groups(decoded, 'decoded frame')} stored"
    parts = [frames]
    if video.seconds is not None:
        parts.append(duration_text(video.seconds))
    if video.fps is not None:
        parts.append(rate_text(video.fps))
    if video.width and video.height:
        parts.append(f"{video.width} x {video.height}")
    if video.codec is not None:
        parts.append(video.codec)
    return ", ".join(parts)


def _loss_of(video: VideoFacts) -> str:
    text = loss_text(video) if video.verdict == "damaged" else video.reason or ""
    return text[:1].upper() + text[1:] + "."


def _notes(video: VideoFacts) -> Html | None:
    """What else is known, one fact a line."""
    notes: list[Child] = []
    if video.verdict == "damaged" and video.reason is not None:
        notes.append(video.reason.split("; not to be trusted", 1)[0])
    notes += video.notes[:MAX_NOTES]
    if len(video.notes) > MAX_NOTES:
        notes.append(f"and {counted_in_groups(len(video.notes) - MAX_NOTES, 'other note')}")
    if video.file is not None:
        notes.append(joined("a stretch of the file ", name_of(video.file)))
    if video.fidelity is not None and video.fidelity.psnr_db_worst_frame is not None:
        notes.append(
            f"PSNR of the storage {video.fidelity.psnr_db_of_mean_error:.1f} dB over "
            f"{counted_in_groups(video.fidelity.num_frames_sampled, 'sampled frame')}, worst "
            f"{video.fidelity.psnr_db_worst_frame:.1f} dB"
        )
    return element("ul", [element("li", note) for note in notes], class_="notes") if notes else None


def contact_sheet(video: VideoFacts) -> Html | None:
    """The pictures of a video in time order; None if there are none."""
    if not video.sheet:
        return None
    items = []
    for shown in video.sheet:
        moment = seconds_text(shown.seconds)
        levels = shown.picture.levels
        what = f"Frame {shown.frame_in_video} of {video.path}" + (f" at {moment}" if moment else "")
        items.append(
            element(
                "li",
                shown.picture.html(alt=what + (f", {shown.note}" if shown.note else "")),
                element("span", f"frame {shown.frame_in_video}", f", {moment}" if moment else None),
                element("span", f"levels {levels[0]} to {levels[1]}") if levels is not None else None,
                element("span", element("b", shown.note)) if shown.note else None,
                class_="in" if shown.note.startswith("in ") else None,
            )
        )
    return element("ul", items, class_="sheet")


def overview(videos: Sequence[VideoFacts]) -> Html | None:
    """A picture of each of some videos, with a link to it; None if there are no pictures."""
    pictured = [video for video in videos if video.sheet]
    count = min(len(pictured), MAX_OVERVIEW)
    chosen = [pictured[(2 * place + 1) * len(pictured) // (2 * count)] for place in range(count)]
    items = []
    for video in chosen:
        middle = video.sheet[len(video.sheet) // 2].picture
        items.append(element("li", link(video_anchor(video), middle.html(alt=f"A frame of {video.path}"))))
    return element("ul", items, class_="strip", aria_label="A frame of some videos") if items else None


def videos_part(camera: CameraFacts, *, number: int = 0, noun: str = "video") -> Html:
    """The videos of a camera: those that are not whole, then a sample of the others. `noun` is what they are called."""
    if camera.summary is None:
        return box("bad", "The table of videos is damaged, so nothing is known of the videos.")
    kinds: set[MarkKind] = {
        mark.kind for video in camera.videos if video.time_line is not None for mark in video.time_line.marks
    }
    wrong, noted, plain = _sorted_out(camera.videos)
    groups = [
        _group(videos, number, at_most=at_most, others=others)
        for videos, at_most, others in (
            (wrong, MAX_OPEN, f"other {noun} that is not whole|other {noun}s that are not whole"),
            (noted, MAX_NOTED_OPEN, f"other {noun} with notes or marks|other {noun}s with notes or marks"),
            (plain, MAX_PLAIN_OPEN, f"other whole {noun} without a note|other whole {noun}s without a note"),
        )
    ]
    without = sum(
        not video.sheet and video.num_frames_stored > 0 and video.problem is None for video in camera.videos
    )
    return joined(
        element("p", f"{counted_in_groups(without, noun)} shown without pictures, to keep the page small.")
        if without and camera.has_pictures
        else None,
        element("p", shown_text_of(camera.summary, camera.videos, noun=noun)),
        marks_legend(sorted(kinds)),
        groups,
    )


def _sorted_out(
    videos: Sequence[VideoFacts],
) -> tuple[list[VideoFacts], list[VideoFacts], list[VideoFacts]]:
    """Videos that are not whole; others of which something is to be said; the rest."""
    wrong: list[VideoFacts] = []
    noted: list[VideoFacts] = []
    plain: list[VideoFacts] = []
    for video in videos:
        has_marks = video.time_line is not None and bool(video.time_line.marks)
        (wrong if video.needs_attention else noted if video.notes or has_marks else plain).append(video)
    return wrong, noted, plain


def _group(videos: Sequence[VideoFacts], number: int, *, at_most: int, others: str) -> Child:
    """The cards of some videos; those beyond the first ones are folded away."""
    cards = [video_card(video, number=number) for video in videos]
    more = len(cards) - at_most
    if more <= 1:  # a fold takes as much room as a card
        return cards
    noun, plural = others.split("|")
    return [*cards[:at_most], folded(f"Show {counted_in_groups(more, noun, plural)}", cards[at_most:])]


def shown_text_of(summary: VideosSummary, videos: Sequence[VideoFacts], *, noun: str = "video") -> str:
    """Which videos are shown, and how many are not."""
    attention = sum(video.needs_attention for video in videos)
    all_attention = summary.num_damaged + summary.num_unreadable
    hidden = summary.num_videos - len(videos)
    if not hidden:
        order = "; those that are not whole come first, the worst of them at the top" if attention else ""
        if summary.num_videos == 1:
            return f"The only {noun} of the cache."
        return f"All {counted_in_groups(summary.num_videos, noun)} of the cache{order}."
    whole = f"{len(videos) - attention:,} of {counted_in_groups(summary.num_whole, f'whole {noun}')}, spread evenly"
    if not all_attention:
        return f"Shown are {whole}. The other {hidden:,} are not shown."
    return (
        f"Shown are {attention:,} of {counted_in_groups(all_attention, noun)} that are not whole, and {whole}. The "
        f"other {hidden:,} are not shown."
    )


def lengths_part(summary: VideosSummary) -> Html:
    """Lengths, frame rates, sizes and codecs of all videos."""
    plots = [
        ("Lengths", summary.lengths, "stored frames", "videos by stored frames"),
        ("Frame rates", summary.rates, "rate in the header", "videos by frame rate"),
        ("Sizes", summary.sizes, "width x height", "videos by coded size"),
        ("Codecs", summary.codecs, "codec", "videos by codec"),
    ]
    return element(
        "div",
        [
            element("div", element("h3", title), bars_table(bars, label=label, what=what), class_="plot")
            for title, bars, what, label in plots
            if bars
        ],
        class_="plots",
    )


def verdicts_text(summary: VideosSummary, *, noun: str = "video") -> str:
    """How many videos are whole, damaged and unreadable.

    A sentence without a dot.
    """
    if summary.num_whole == summary.num_videos:
        if summary.num_videos == 1:
            return f"the {noun} is whole"
        return f"all {counted_in_groups(summary.num_videos, noun)} are whole"
    parts = [
        f"{count:,} {word}"
        for count, word in (
            (summary.num_whole, "whole"),
            (summary.num_damaged, "damaged"),
            (summary.num_unreadable, "unreadable"),
        )
        if count
    ]
    return f"of {counted_in_groups(summary.num_videos, noun)}, {', '.join(parts)}"


def findings_list(summary: VideosSummary) -> Html | None:
    """What was found in all videos together; None if nothing was."""
    decoded = summary.num_frames_decoded or 1
    lines = [
        f"{counted_in_groups(count, noun)} {what}"
        for count, noun, what in (
            (summary.num_frames_corrupt, "frame", "flagged corrupt by the decoder"),
            (summary.num_packets_missing, "packet", "in damaged stretches gave no frame"),
            (summary.num_videos_with_gaps, "video", "with times without frames"),
            (summary.num_noted, "whole video", "with notes"),
        )
        if count
    ]
    if summary.num_frames_duplicate:
        lines.append(
            f"{counted_in_groups(summary.num_frames_duplicate, 'frame')} equal to the frame before "
            f"({percent_text(summary.num_frames_duplicate / decoded)}), in "
            f"{counted_in_groups(summary.num_videos_with_duplicates, 'video')}: still scenes, or frames that were "
            "repeated; harmless, but they add nothing new. Frames of different videos are not compared"
        )
    return plain_list(lines) if lines else None
