"""Videos on a page: cards with time line and contact sheet, and all of them in numbers."""

from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import CameraFacts, MarkKind, VideoFacts, VideosSummary
from frame_cache_tools.report.page.drawings import bars_table, marks_legend, marks_list, time_line_figure
from frame_cache_tools.report.page.parts import Mood, badge, box, folded, link, plain_list
from frame_cache_tools.report.page.wording import duration_text, percent_text, seconds_text, three_digits

from frame_store.html import Child, Html, element, joined, name_of
from frame_store.shared import counted_in_groups

MAX_OPEN: Final = 24
"""Videos that stand on the page unfolded."""
_MOODS: Final[dict[str | None, tuple[str, Mood]]] = {
    "whole": ("whole", "ok"),
    "damaged": ("damaged", "bad"),
    "unreadable": ("unreadable", "bad"),
    None: ("not decoded yet", "warn"),
}
MAX_NOTES: Final = 6
MAX_OVERVIEW: Final = 16
"""Pictures at the top of the page."""


def video_anchor(video: VideoFacts, number: int = 0) -> str:
    """Where links to a video of camera `number` lead."""
    return f"video-{number}-{video.video_id}"


def video_card(video: VideoFacts, *, number: int = 0) -> Html:
    """A video: what it is, its time line with what is wrong, and its contact sheet."""
    words, mood = _MOODS[video.verdict]
    line = video.time_line
    has_marks = line is not None and any(mark.kind == "damage" for mark in line.marks)
    return element(
        "article",
        element(
            "header",
            element("h3", name_of(video.path)),
            badge(words, mood),
            element("span", _numbers(video), class_="soft"),
        ),
        element("p", video.reason) if video.reason is not None and not has_marks else None,
        None if line is None else time_line_figure(line, name=video.path),
        None if line is None else marks_list(line),
        contact_sheet(video),
        None if video.problem is None else box("bad", f"Pictures are missing: {video.problem}"),
        _notes(video, with_reason=has_marks),
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
        parts.append(f"{three_digits(video.fps)} fps")
    if video.width and video.height:
        parts.append(f"{video.width} x {video.height}")
    if video.codec is not None:
        parts.append(video.codec)
    return ", ".join(parts)


def _notes(video: VideoFacts, *, with_reason: bool) -> Html | None:
    notes: list[Child] = [video.reason] if with_reason else []
    notes += video.notes[:MAX_NOTES]
    if video.file is not None:
        notes.append(joined("a stretch of the file ", name_of(video.file)))
    if video.fidelity is not None and video.fidelity.psnr_db_worst_frame is not None:
        notes.append(
            f"PSNR {video.fidelity.psnr_db_of_mean_error:.1f} dB over "
            f"{counted_in_groups(video.fidelity.num_frames_sampled, 'sampled frame')}, worst "
            f"{video.fidelity.psnr_db_worst_frame:.1f} dB"
        )
    if len(video.notes) > MAX_NOTES:
        notes.append(f"and {counted_in_groups(len(video.notes) - MAX_NOTES, 'other note')}")
    return None if not notes else element("p", joined(notes, between="; "), class_="soft")


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
    cards = [video_card(video, number=number) for video in camera.videos]
    first, others = cards[:MAX_OPEN], cards[MAX_OPEN:]
    without = sum(
        not video.sheet and video.num_frames_stored > 0 and video.problem is None for video in camera.videos
    )
    return joined(
        element("p", f"{counted_in_groups(without, noun)} shown without pictures, to keep the page small.")
        if without and camera.has_pictures
        else None,
        element("p", shown_text_of(camera.summary, camera.videos, noun=noun)),
        marks_legend(sorted(kinds)),
        first,
        folded(f"Show {counted_in_groups(len(others), f'other {noun}')}", others) if others else None,
    )


def shown_text_of(summary: VideosSummary, videos: Sequence[VideoFacts], *, noun: str = "video") -> str:
    """Which videos are shown, and how many are not."""
    attention = sum(video.needs_attention for video in videos)
    all_attention = summary.num_damaged + summary.num_unreadable
    hidden = summary.num_videos - len(videos)
    if not hidden:
        order = "; those that are not whole come first" if attention else ""
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
            (summary.num_frames_missing, "packet", "in damaged stretches gave no frame"),
            (summary.num_videos_with_gaps, "video", "with times without frames"),
            (summary.num_noted, "whole video", "with notes"),
        )
        if count
    ]
    if summary.num_frames_duplicate:
        lines.append(
            f"{counted_in_groups(summary.num_frames_duplicate, 'frame')} equal to the frame before "
            f"({percent_text(summary.num_frames_duplicate / decoded)} of those that decode), in "
            f"{counted_in_groups(summary.num_videos_with_duplicates, 'video')}"
        )
    return plain_list(lines) if lines else None
