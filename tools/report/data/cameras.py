"""What is known of one camera, or of a cache without cameras: its facts, videos, contact sheets and fidelity."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from frame_cache_tools.report.data.fidelity import Originals, fidelity_facts
from frame_cache_tools.report.data.losses import loss_of
from frame_cache_tools.report.data.opened import OpenedCamera
from frame_cache_tools.report.data.records import CameraFacts
from frame_cache_tools.report.data.sheets import SheetPlan, chosen_places, make_sheet, plan_sheets, within
from frame_cache_tools.report.data.time_lines import axis_of, time_line
from frame_cache_tools.report.data.video_records import SheetPicture, VideoFacts, VideosSummary
from frame_cache_tools.report.data.videos import MAX_SHOWN, ShownVideos, look_through, seconds_of, text_fact

from cache_builder.setting_names import setting_values
from frame_store import CacheStore, FrameCacheError, StoreError
from frame_store.manifest import Encoding, VideoEntry
from frame_store.shared import chi2_of_uniform_shards

NUM_WORST: Final = 6
"""Videos whose recorded fidelity is shown."""


class _Worst:
    """The videos whose worst sampled frame is worst, of a stream of records."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, VideoEntry]] = []

    def seen(self, entries: Iterable[VideoEntry], forgotten: frozenset[int]) -> Iterator[VideoEntry]:
        for video_id, entry in enumerate(entries):
            fidelity = entry.fidelity
            if (
                video_id not in forgotten
                and fidelity is not None
                and fidelity.psnr_db_worst_frame is not None
            ):
                item = (-fidelity.psnr_db_worst_frame, -video_id, entry)
                if len(self._heap) < NUM_WORST:
                    heapq.heappush(self._heap, item)
                elif item > self._heap[0]:
                    heapq.heapreplace(self._heap, item)
            yield entry

    @property
    def videos(self) -> list[tuple[int, VideoEntry]]:
        """The worst first."""
        return [(-number, entry) for _, number, entry in sorted(self._heap, reverse=True)]


def camera_facts(
    camera: OpenedCamera,
    *,
    forgotten: frozenset[int],
    budget: int,
    originals: Originals,
    at_most: int = MAX_SHOWN,
) -> CameraFacts:
    """All about one camera. `budget` bounds the bytes of its contact sheets in a page, `at_most` the videos shown."""
    common, generations = camera.common, camera.generations
    problems = [] if camera.problem is None else [camera.problem]
    sizes = camera.shard_frames()
    summary: VideosSummary | None = None
    videos: tuple[VideoFacts, ...] = ()
    fidelity = None
    worst = _Worst()
    num_videos = sum(generation.num_videos for generation in generations)
    try:
        entries = worst.seen(camera.stream_videos(), forgotten)
        summary, shown = look_through(entries, num_videos=num_videos, forgotten=forgotten, at_most=at_most)
    except StoreError as error:
        problems.append(str(error))
    else:
        videos = _shown_videos(camera.store, shown, budget=budget)
        fidelity = fidelity_facts(camera, worst.videos, shown.sample, originals)
    return CameraFacts(
        name=camera.name,
        frame_shape=common.frame_shape,
        pixel=common.pixel,
        encoding=encoding_text(common.encoding),
        container=common.container,
        layout=common.layout,
        settings=tuple(setting_values(common.config).items()),
        versions=tuple(common.library_versions.items()),
        fingerprint=camera.fingerprint,
        num_frames=sum(generation.num_frames for generation in generations),
        num_shards=len(sizes),
        shard_frames=(min(sizes), max(sizes)),
        chi2_of_shards=float(chi2_of_uniform_shards(sizes)),
        num_bytes=sum(generation.num_bytes for generation in generations),
        generations=generations,
        summary=summary,
        videos=videos,
        fidelity=fidelity,
        problems=tuple(problems),
    )


def encoding_text(encoding: Encoding) -> str:
    """An encoding in words.

    >>> encoding_text(Encoding(name="jpeg", quality=95, chroma="444"))
    'JPEG, quality 95, chroma 4:4:4'
    """
    if encoding.name == "jpeg":
        return f"JPEG, quality {encoding.quality}, chroma {':'.join(encoding.chroma or '')}"
    if encoding.name == "zstd":
        return f"Zstandard level {encoding.level} (exact)"
    return "raw pixels (exact)"


def _shown_videos(store: CacheStore | None, shown: ShownVideos, *, budget: int) -> tuple[VideoFacts, ...]:
    if not shown.all:
        return ()
    plan, left = None, float(budget)
    if store is not None:
        height, width, _ = store.frame_shape
        aspect = min(height, width) / max(height, width)
        plan = plan_sheets(len(shown.all), budget=budget, aspect=aspect)
    facts: list[VideoFacts] = []
    for place, (video_id, entry) in enumerate(shown.all):
        allowed = 1.5 * left / (len(shown.all) - place)
        facts.append(video_facts(store, video_id, entry, plan, budget=min(allowed, left)))
        left -= sum(picture.picture.num_page_bytes for picture in facts[-1].sheet)
    return tuple(facts)


def video_facts(
    store: CacheStore | None, video_id: int, entry: VideoEntry, plan: SheetPlan | None, *, budget: float
) -> VideoFacts:
    """A video with its time line and contact sheet; without pictures if `store` or `plan` is None."""
    pts, stored, problem = None, np.zeros(0, np.int64), None
    ids = stored
    if store is not None:
        try:
            pts, stored, ids = _frames_of(store, video_id)
        except (FrameCacheError, OSError) as error:
            problem = str(error)
    axis = axis_of(entry, pts)
    sheet: tuple[SheetPicture, ...] = ()
    if store is not None and plan is not None and problem is None:
        chosen = chosen_places(stored, entry.findings, at_most=plan.num_pictures)
        places = [place for place, _ in chosen]
        sheet, problem = make_sheet(
            store,
            ids[places].tolist(),
            stored[places].tolist(),
            [note for _, note in chosen],
            axis,
            max_side=plan.max_side,
        )
        sheet = within(sheet, budget)
    row, findings = entry.row, entry.findings
    return VideoFacts(
        video_id=video_id,
        path=entry.path,
        file=None if entry.span is None else entry.span.file,
        verdict=entry.verdict,
        reason=entry.reason,
        notes=tuple(entry.notes),
        num_frames_decoded=entry.num_frames_decoded,
        num_frames_stored=entry.num_frames_stored,
        num_frames_corrupt=entry.num_frames_corrupt,
        loss=loss_of(entry),
        num_frames_duplicate=None if findings is None else findings.num_frames_duplicate,
        width=row.width,
        height=row.height,
        fps=row.fps,
        seconds=seconds_of(entry),
        codec=text_fact(entry, "codec"),
        fidelity=entry.fidelity,
        time_line=time_line(
            entry, axis, stored=stored.tolist(), shown=[picture.frame_in_video for picture in sheet]
        ),
        sheet=sheet,
        problem=problem,
    )


def _frames_of(
    store: CacheStore, video_id: int
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pts of the decoded frames of a video, the numbers of its stored frames, and their ids."""
    order = store.source_order
    rows = slice(int(order.first_row[video_id]), int(order.first_row[video_id + 1]))
    pts = None if order.source_pts is None else np.asarray(order.source_pts[rows], np.float64)
    places = np.arange(order.first_stored[video_id], order.first_stored[video_id + 1], dtype=np.int64)
    stored = order.frames_at(places, np.full(len(places), video_id, np.int64))
    return pts, stored, order.ids_at(places)
