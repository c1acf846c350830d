"""Contact sheets: a few pictures of a video, some of them around its damage, within a budget of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from frame_cache_tools.report.data.time_lines import Axis
from frame_cache_tools.report.data.video_records import SheetPicture

from frame_store import FrameCacheError
from frame_store.frame_findings import DamagedSpan, FrameFindings
from frame_store.html import picture_of
from frame_store.protocol import FrameStore

PICTURES_PER_VIDEO: Final = 8
MIN_PICTURES: Final = 2
SIDES: Final = (160, 144, 128, 112, 96, 80)
"""Longest sides of a picture, in pixels; the first that fits the budget is taken."""
PAGE_BYTES_PER_PIXEL: Final = 0.5
"""About what a JPEG of this quality takes in a page."""
QUALITY: Final = 70


@dataclass(frozen=True, kw_only=True)
class SheetPlan:
    """How many pictures a video gets, and how large they are."""

    num_pictures: int
    max_side: int


def plan_sheets(num_videos: int, *, budget: int, aspect: float = 1.0) -> SheetPlan:
    """Pictures for each of `num_videos` within `budget` bytes of the page; `aspect` is short over long side.

    >>> plan_sheets(4, budget=1_000_000), plan_sheets(200, budget=6_000_000)
    (SheetPlan(num_pictures=8, max_side=160), SheetPlan(num_pictures=8, max_side=80))
    """
    for num_pictures in range(PICTURES_PER_VIDEO, MIN_PICTURES - 1, -1):
        for max_side in SIDES:
            num_bytes = num_videos * num_pictures * max_side * max_side * aspect * PAGE_BYTES_PER_PIXEL
            if num_bytes <= budget:
                return SheetPlan(num_pictures=num_pictures, max_side=max_side)
    return SheetPlan(num_pictures=MIN_PICTURES, max_side=SIDES[-1])


def chosen_places(
    stored: npt.NDArray[np.int64], findings: FrameFindings | None, *, at_most: int
) -> list[tuple[int, str]]:
    """Places, among a video's stored frames, to show, and what is to be said about each; rising.

    `stored` are the numbers of the stored frames in their video, rising. Where there is damage, most pictures stand
    around it: before, in and after it. The others are spread evenly.
    """
    if not len(stored):
        return []
    notes: dict[int, str] = {}
    spans = [] if findings is None else findings.damaged_spans
    for span in spans:
        for place, note in _around(stored, span):
            if len(notes) < max(4, at_most - 2) or place in notes:
                notes.setdefault(place, note)
    others = [place for place in _even_places(len(stored), at_most) if place not in notes]
    room = max(0, at_most - len(notes))
    kept = [others[place] for place in _even_places(len(others), room)]
    return sorted([*notes.items(), *((place, _inside(int(stored[place]), spans)) for place in kept)])


def _inside(frame: int, spans: Sequence[DamagedSpan]) -> str:
    is_inside = any(
        span.first_frame is not None
        and span.last_frame is not None
        and span.first_frame <= frame <= span.last_frame
        for span in spans
    )
    return "in the damage" if is_inside else ""


def _around(stored: npt.NDArray[np.int64], span: DamagedSpan) -> list[tuple[int, str]]:
    """The places in, before and after damage, the most telling ones first; in it, its beginning and its end."""
    if span.first_frame is None or span.last_frame is None:
        return []
    first = int(np.searchsorted(stored, span.first_frame))
    after = int(np.searchsorted(stored, span.last_frame, side="right"))
    has_frames = after > first
    found = [(first, "in the damage")] if has_frames else []
    found += [(first - 1, "before the damage")] if first else []
    found += [(after, "after the damage")] if after < len(stored) else []
    return [*found, (after - 1, "in the damage")] if has_frames else found


def _even_places(number: int, at_most: int) -> list[int]:
    count = min(number, at_most)
    return [(2 * place + 1) * number // (2 * count) for place in range(count)]


def make_sheet(
    store: FrameStore,
    frame_ids: Sequence[int],
    frames_in_video: Sequence[int],
    notes: Sequence[str],
    axis: Axis,
    *,
    max_side: int,
) -> tuple[tuple[SheetPicture, ...], str | None]:
    """Pictures of frames, and why some are missing, if some are. A damaged frame costs itself alone."""
    pictures, problem = [], None
    for frame_id, frame, note in zip(frame_ids, frames_in_video, notes, strict=True):
        try:
            pixels = store.read_frames([frame_id])[0]
        except (FrameCacheError, OSError) as error:
            problem = problem or str(error)
            continue
        pictures.append(
            SheetPicture(
                picture=picture_of(pixels, max_side=max_side, quality=QUALITY),
                frame_in_video=frame,
                seconds=axis.seconds_of(frame),
                note=note,
            )
        )
    return tuple(pictures), problem


def within(sheet: tuple[SheetPicture, ...], budget: float) -> tuple[SheetPicture, ...]:
    """The sheet with fewer pictures, if it takes more bytes of the page than `budget`; those with notes go last."""
    while sheet and sum(shown.picture.num_page_bytes for shown in sheet) > budget:
        plain = [place for place, shown in enumerate(sheet) if not shown.note]
        gone = plain[1::2] or plain or [len(sheet) - 1]
        sheet = tuple(shown for place, shown in enumerate(sheet) if place not in set(gone))
    return sheet
