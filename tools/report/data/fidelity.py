"""How close stored frames are to what they were made of: as the build measured, and compared again with the videos."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from frame_cache_tools.report.data.opened import OpenedCamera
from frame_cache_tools.report.data.records import ComparedFrame, FidelityFacts, VideoFidelity

from cache_builder.live import open_videos
from cache_builder.sources import Sources, SourceVideo, look_into
from frame_store import CacheStore, FrameCacheError
from frame_store.html import picture_of
from frame_store.manifest import VideoEntry
from frame_store.protocol import Frames
from frame_store.shared import without_controls

NUM_COMPARED_VIDEOS: Final = 4
FRAMES_PER_VIDEO: Final = 24
NUM_SHOWN: Final = 2
SIDE: Final = 320
STEP: Final = 16
"""The build samples every 16th kept frame of what it decodes in one piece: so these are mostly frames that it
compared."""
MAX_HASHED_BYTES: Final = 1 << 30
"""Larger files are told by their sizes alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """A stored frame and the one that its video gives now."""

    path: str
    frame_in_video: int
    seconds: float | None
    error: float
    """Mean squared difference."""
    stored: Frames
    original: Frames


@dataclass(frozen=True, kw_only=True)
class Originals:
    """Where the videos of a cache may be."""

    source: Path | None
    """What the cache was built from; None if that is not known."""
    camera_pattern: str | None = None
    is_given: bool = False
    """Whether the user named it: else it was found beside the cache."""
    _found: dict[str | None, dict[str, SourceVideo]] = field(default_factory=dict)

    def of_camera(self, camera: str | None) -> dict[str, SourceVideo]:
        """The videos of a camera by name.

        Raises:
            FrameCacheError: the source does not exist, or holds no videos.
        """
        if not self._found and self.source is not None:
            contents = look_into(Sources.of([self.source], camera_pattern=self.camera_pattern))
            for name in contents.cameras or (None,):
                self._found[name] = {video.relative_path: video for video in contents.videos_of(name)}
        return self._found.get(camera, {})


def source_beside(cache: Path) -> Path | None:
    """The folder that `cache-build` without `--out` makes this cache of: `dir` for `dir.cache`."""
    beside = cache.with_suffix("")
    return beside if cache.suffix == ".cache" and beside.exists() else None


def fidelity_facts(
    camera: OpenedCamera,
    worst: Sequence[tuple[int, VideoEntry]],
    sample: Sequence[tuple[int, VideoEntry]],
    originals: Originals,
) -> FidelityFacts:
    """What the build recorded, and the worst frames of a few videos beside those that the videos give now.

    `worst` are the videos with the worst recorded frames. Where nothing was recorded, some of `sample` are compared.
    """
    encoding = camera.common.encoding.name
    chosen = list(worst or sample)[:NUM_COMPARED_VIDEOS]
    compared: list[_Pair] = []
    num_compared = num_videos = 0
    why = None
    if encoding != "jpeg":
        why = "Stored pixels are exactly the decoded ones, so there is nothing to compare."
    elif originals.source is None:
        why = (
            "The page was made without the videos: cache-report CACHE --videos SOURCE shows frames beside their "
            "originals."
        )
    elif camera.store is None:
        why = "No frame can be read, because the index is damaged."
    else:
        reasons: list[str] = []
        for video_id, entry in chosen:
            try:
                found = list(_compared(camera, camera.store, video_id, entry, originals))
            except (FrameCacheError, OSError, ValueError) as error:
                reasons.append(str(error))
                continue
            num_compared += len(found)
            num_videos += bool(found)
            compared = _worst_first([*compared, *found])[:NUM_SHOWN]
        if not compared:
            why = (
                f"The originals are not at hand: {reasons[0]}" if reasons else "There is no frame to compare."
            )
    return FidelityFacts(
        is_exact=encoding != "jpeg",
        recorded=camera.fidelity,
        worst_videos=tuple(
            VideoFidelity(path=entry.path, fidelity=entry.fidelity)
            for _, entry in worst
            if entry.fidelity is not None
        ),
        compared=tuple(_drawn(each) for each in compared),
        num_compared=num_compared,
        num_compared_videos=num_videos,
        why_none=why,
    )


def _worst_first(pairs: Sequence[_Pair]) -> list[_Pair]:
    return sorted(pairs, key=lambda pair: (-pair.error, pair.path, pair.frame_in_video))


def _compared(
    camera: OpenedCamera, store: CacheStore, video_id: int, entry: VideoEntry, originals: Originals
) -> Iterator[_Pair]:
    """Stored frames of a video and what it gives now.

    Raises:
        FrameCacheError: the source or the video cannot be read.
        ValueError: the source has no such video, or another one.
    """
    video = originals.of_camera(camera.name).get(entry.path)
    if video is None:
        raise ValueError(f"{originals.source} has no video {without_controls(entry.path)!r}")
    _check_same(video.path, entry)
    first = 0 if entry.span is None else entry.span.first_frame
    ids = store.ids_of_video(video_id)[_places(entry.num_frames_stored, first)]
    rows = store.rows_of(ids)
    with_geometry = _geometry_of(camera)
    live = open_videos(video.path, workers=1, max_open=1, **with_geometry)
    try:
        for frame_id, row in zip(ids.tolist(), rows, strict=True):
            stored = store.read_frames([frame_id])[0]
            frame = int(row["frame_in_video"])
            original = live.read_frames([first + frame])[0]
            if original.shape != stored.shape:
                raise ValueError(f"{video.path} gives frames of {original.shape}, stored are {stored.shape}")
            seconds = float(row["pts_seconds"])
            yield _Pair(
                path=entry.path,
                frame_in_video=frame,
                seconds=seconds if math.isfinite(seconds) else None,
                error=float(np.square(stored.astype(np.float32) - original.astype(np.float32)).mean()),
                stored=stored,
                original=original,
            )
    finally:
        live.close()


def _places(num_stored: int, first_in_file: int) -> list[int]:
    every = range(-first_in_file % STEP, num_stored, STEP) or range(min(1, num_stored))
    count = min(len(every), FRAMES_PER_VIDEO)
    return [every[place * len(every) // count] for place in range(count)]


def _check_same(path: Path, entry: VideoEntry) -> None:
    """Raise ValueError unless a file is the one that the cache was built from."""
    num_bytes = path.stat().st_size
    is_same = entry.num_bytes in {None, num_bytes}
    if is_same and entry.sha256 is not None and num_bytes <= MAX_HASHED_BYTES:
        with path.open("rb") as file:
            is_same = hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
    if not is_same:
        raise ValueError(f"{without_controls(str(path))} is not the file that the cache was built from")


def _geometry_of(camera: OpenedCamera) -> dict[str, Any]:
    """The options of `open_videos` that give frames as the cache has them."""
    geometry = camera.common.config.get("geometry")
    settings: dict[str, Any] = geometry if isinstance(geometry, dict) else {}
    height, width, _ = camera.common.frame_shape
    aspect = settings.get("crop_aspect")
    return {
        "pixel": camera.common.pixel,
        "size": "native" if settings.get("height") == 0 else (height, width),
        "resize": settings.get("resize", "crop"),
        "crop_aspect": None if aspect is None else tuple(aspect),
    }


def _drawn(pair: _Pair) -> ComparedFrame:
    difference = pair.stored.astype(np.float32) - pair.original.astype(np.float32)
    largest = float(np.abs(difference).max())
    gain = max(1, min(32, int(127 / largest))) if largest else 1
    around_gray = (128 + gain * difference).clip(0, 255).astype(np.uint8)
    return ComparedFrame(
        path=pair.path,
        frame_in_video=pair.frame_in_video,
        seconds=pair.seconds,
        psnr_db=10 * math.log10(255**2 / pair.error) if pair.error else None,
        stored=picture_of(pair.stored, max_side=SIDE, quality=92),
        original=picture_of(pair.original, max_side=SIDE, quality=92),
        difference=picture_of(around_gray, max_side=SIDE, quality=85),
        gain=gain,
    )
