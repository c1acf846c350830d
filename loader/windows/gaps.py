"""Steps in time between neighbouring stored frames that are not those of the clock which chose the frames (`--fps`)."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.cameras import stores_of_cameras
from frame_store.protocol import FrameStore
from frame_store.reader import CacheStore
from frame_store.views import Concatenation
from loader.sampling.orders import Int64s

_PLACES_AT_ONCE: Final = 1 << 17
_ROUNDING_SECONDS: Final = 1e-9


class IrregularSteps(NamedTuple):
    """Steps of another length than the clock's."""

    places: Int64s
    """The place of the first of the two frames, ascending: shape (G,)."""
    videos: Int64s
    """The video of each step: shape (G,)."""


def clock_seconds_of_videos(base: FrameStore) -> npt.NDArray[np.float64]:
    """The step of the clock by which a cache's frames were chosen, for each video, NaN without such a clock: (V,)."""
    parts = base.parts if isinstance(base, Concatenation) else (base,)
    return np.concatenate([np.full(len(part.videos), _clock_seconds(part)) for part in parts])


def irregular_steps(
    base: FrameStore, clock_seconds: npt.NDArray[np.float64], *, tolerance: float | None
) -> IrregularSteps:
    """Neighbouring stored frames of one video whose pts do not differ by the video's `clock_seconds`, (V,).

    A step may miss the clock's by up to `tolerance`; None means by less than half a step. Frames that a clock chooses
    from frames of another rate come early or late by up to one frame of the video. Videos without a clock have no such
    steps. A frame without pts makes both of its steps irregular.
    """
    order = base.source_order
    less_than_half = clock_seconds / 2 - 2 * _ROUNDING_SECONDS
    limits = less_than_half if tolerance is None else np.full(len(clock_seconds), tolerance)
    places: list[Int64s] = [np.zeros(0, np.int64)]
    videos: list[Int64s] = [np.zeros(0, np.int64)]
    for start in range(0, order.num_stored, _PLACES_AT_ONCE):
        # One more frame than the block has, because neighbours are compared.
        block = np.arange(start, min(start + _PLACES_AT_ONCE + 1, order.num_stored))
        rows = base.rows_of(order.ids_at(block))
        of_step = rows["video_id"][:-1].astype(np.int64)
        steps = np.diff(rows["pts_seconds"])
        keeps = np.abs(steps - clock_seconds[of_step]) <= limits[of_step] + _ROUNDING_SECONDS
        is_inside = (rows["video_id"][1:] == of_step) & np.isfinite(clock_seconds[of_step])
        found = np.flatnonzero(is_inside & ~keeps)
        places.append(start + found)
        videos.append(of_step[found])
    return IrregularSteps(np.concatenate(places), np.concatenate(videos))


def _clock_seconds(part: FrameStore) -> float:
    cameras = stores_of_cameras(part)
    if cameras is not None:
        part = next(iter(cameras.values()))  # the pts are those of the first camera
    if not isinstance(part, CacheStore):
        return np.nan
    fps: Any = part.common.config.get("fps")
    return 1 / fps if isinstance(fps, int | float) and fps > 0 else np.nan
