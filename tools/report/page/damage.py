"""Damage on a page: how much of it there is, in which videos, and what to do about it."""

import shlex
from typing import Final

from frame_cache_tools.report.data import CacheReport, CameraFacts, SheetPicture, VideoFacts, VideosSummary
from frame_cache_tools.report.page.parts import code_block, folded, link, plain_list
from frame_cache_tools.report.page.wording import duration_text, percent_text, seconds_text

from frame_store.html import Child, Html, element, name_of
from frame_store.shared import counted_in_groups

MAX_NAMED: Final = 12
"""Videos that are named before the others are folded away."""


def video_anchor(video: VideoFacts, number: int = 0) -> str:
    """Where links to a video of camera `number` lead."""
    return f"video-{number}-{video.video_id}"


def extent_text(summary: VideosSummary) -> str:
    """How much of all videos is damaged or missing, in sentences; empty where nothing is."""
    sentences = []
    if summary.num_frames_untrusted:
        share = percent_text(summary.num_frames_untrusted / (summary.num_frames_decoded or 1))
        sentences.append(
            f"{summary.num_frames_untrusted:,} of {counted_in_groups(summary.num_frames_decoded, 'decoded frame')} "
            f"({share}) are not to be trusted, in {counted_in_groups(summary.num_videos_untrusted, 'video')}."
        )
    elif summary.num_damaged:
        sentences.append("No frame that was decoded is doubtful.")
    if summary.seconds_missing >= 0.05:
        sentences.append(f"About {duration_text(summary.seconds_missing)} of the damaged videos are missing.")
    if summary.num_videos_unread_parts:
        verb = "has a part that was" if summary.num_videos_unread_parts == 1 else "have parts that were"
        sentences.append(
            f"{counted_in_groups(summary.num_videos_unread_parts, 'file')} {verb} not read; how many seconds that is, "
            "is not known."
        )
    if summary.num_unreadable:
        of = counted_in_groups(summary.num_unreadable, "unreadable video")
        sentences.append(f"Of {of} nothing is in the cache.")
    return " ".join(sentences)


def damaged_list(camera: CameraFacts, number: int) -> list[Child]:
    """The videos that are not whole, the worst first; those beyond the first ones are folded away."""
    lines = [_line(video, number) for video in camera.videos if video.needs_attention]
    if not lines or camera.summary is None:
        return []
    hidden = camera.summary.num_damaged + camera.summary.num_unreadable - len(lines)
    more = lines[MAX_NAMED:]
    if hidden:
        more.append(f"and {counted_in_groups(hidden, 'other')} that this page does not show")
    shown = plain_list(lines[:MAX_NAMED])
    if not more:
        return [shown]
    others = counted_in_groups(len(more) - bool(hidden) + hidden, "other")
    return [shown, folded(f"and {others}", plain_list(more))]


def _line(video: VideoFacts, number: int) -> Child:
    anchor = link(video_anchor(video, number), name_of(video.path))
    if video.verdict == "unreadable":
        return [anchor, ", unreadable: ", video.reason or "", "."]
    return [anchor, ", damaged: ", loss_text(video), "."]


def loss_text(video: VideoFacts) -> str:
    """How much of a damaged video is doubtful or missing."""
    loss, decoded = video.loss, video.num_frames_decoded
    parts = []
    if loss.num_frames_untrusted:
        if loss.num_frames_untrusted >= decoded:
            parts.append(f"none of {counted_in_groups(decoded, 'frame')} is to be trusted")
        else:
            verb = "is" if loss.num_frames_untrusted == 1 else "are"
            parts.append(
                f"{loss.num_frames_untrusted:,} of {counted_in_groups(decoded, 'frame')} "
                f"({percent_text(loss.num_frames_untrusted / (decoded or 1))}) {verb} not to be trusted"
            )
    parts += loss.texts
    return "; ".join(parts) or video.reason or "it is not known where"


def worst_picture(camera: CameraFacts) -> tuple[VideoFacts, SheetPicture] | None:
    """A picture inside the damage of the worst video that has one."""
    for video in camera.videos:
        inside = [shown for shown in video.sheet if shown.note.startswith("in ")]
        if inside:
            return video, inside[len(inside) // 2]
    return None


def worst_picture_part(camera: CameraFacts) -> Html | None:
    """That picture with its name; None if there is none."""
    found = worst_picture(camera)
    if found is None:
        return None
    video, shown = found
    moment = seconds_text(shown.seconds)
    of = f"frame {shown.frame_in_video}{f' at {moment}' if moment else ''}"
    return element(
        "figure",
        shown.picture.html(alt=f"A damaged picture: {of} of {video.path}"),
        element("figcaption", "A picture inside the worst damage: ", of, " of ", name_of(video.path)),
        class_="worst",
    )


def _kept_text(summary: VideosSummary | None) -> str:
    """How many frames that are, in parentheses."""
    if summary is None:
        return ""
    frames = counted_in_groups(summary.num_frames_stored, "frame")
    return (
        f" ({summary.num_frames_stored_whole:,} of {frames}; good frames of the other videos are left out, too, and "
        "the figures of this page are those of all)"
    )


def what_to_do_part(report: CacheReport) -> Html:
    """What loaders do with doubtful frames, and how such videos are left out or replaced."""
    leader = report.leader
    wrong = next((video for video in leader.videos if video.verdict == "damaged"), None)
    wrong = wrong or next(video for video in leader.videos if video.needs_attention)
    name = wrong.path
    source = report.record.source or "SOURCE"
    return element(
        "div",
        element(
            "p",
            "A loader gives the frames that are not to be trusted like all others. Nothing leaves them out by itself. "
            "An unreadable video has no frames, so a loader never meets it.",
        ),
        element("h3", "Mend the videos"),
        plain_list(_remedies(report)),
        element("h3", "Train without them"),
        element(
            "p",
            f"This leaves the cache as it is, and takes only videos that are whole{_kept_text(leader.summary)}:",
        ),
        code_block(
            "without-damage", without_damage(report), label="Python code that leaves damaged videos out"
        ),
        element("h3", "Take a video out of the cache"),
        element(
            "p",
            "From then on all readers leave it out; nothing is built again. --forget may be given several times.",
        ),
        code_block(
            "forget",
            f"cache-build --forget {shlex.quote(name)} --out {shlex.quote(report.path)}\n",
            label="A command",
        ),
        element("h3", "Replace a video"),
        element(
            "p",
            "Put a good copy in the place of the file. This forgets the old frames, and decodes the new file alone:",
        ),
        code_block(
            "replace",
            f"cache-build {shlex.quote(source)} --append --forget {shlex.quote(name)} --on-error skip "
            f"--out {shlex.quote(report.path)}\n",
            label="A command",
        ),
        element(
            "p",
            "cache-verify --repair mends no video: from the same videos it makes damaged files of the cache again.",
        ),
    )


def _remedies(report: CacheReport) -> list[Child]:
    """What can be done, each with the videos that it is for."""
    named: dict[str, list[tuple[int, VideoFacts]]] = {}
    for number, camera in enumerate(report.cameras):
        for video in camera.videos:
            if video.loss.remedy is not None:
                named.setdefault(video.loss.remedy, []).append((number, video))
    lines: list[Child] = []
    for remedy, videos in named.items():
        links: list[Child] = []
        for number, video in videos[:MAX_NAMED]:
            links += [", " if links else " ", link(video_anchor(video, number), name_of(video.path))]
        more = len(videos) - MAX_NAMED
        lines.append(
            [element("b", remedy), links, f" and {counted_in_groups(more, 'other')}" if more > 0 else None]
        )
    return lines


def without_damage(report: CacheReport) -> str:
    """Code that loads the whole videos alone."""
    best = None if report.sampling is None else report.sampling.best
    options = "".join(f", {name}={value!r}" for name, value in (() if best is None else best.options))
    size = 128 if report.sampling is None else report.sampling.batch_size
    lines = [
        "from frame_store import open_store, select",
        "from loader import FrameLoader",
        "",
        f"store = open_store({report.path!r})",
        'whole = select(store, videos=lambda row: row.verdict == "whole")',
        f"batches = FrameLoader(whole, batch_size={size}{options}, seed=0)",
    ]
    return "\n".join(lines) + "\n"
