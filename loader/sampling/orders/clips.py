"""Clips: whole windows of T frames of one video, q apart, numbered through all videos (SAMPLING.md, section 4)."""

import operator
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from frame_store.shared import counted, counted_in_groups
from loader.errors import SamplingError
from loader.sampling.orders.base import EpochOrder, Int64s, check_shard_sizes
from loader.sampling.orders.permutation import NUM_ROUNDS
from loader.sampling.orders.random_words import Words
from loader.sampling.orders.single_frames import IidOrder, PermutationOrder
from loader.sampling.spec import SamplingSpec


class ClipOrder(EpochOrder):
    """Clips by position: `ids_at` returns ids of shape (P, T), and in each row the ids are exactly q apart.

    A whole window begins at each frame of a video that has (T - 1) q frames after it. Windows are numbered video by
    video, in the order of their first frames. `spec.sampling` orders these numbers like frames: `permutation` has every
    window once, `iid` has as many uniform draws as there are windows.

    Videos shorter than a clip have no whole window and are left out. Memory grows with the number of videos, not with
    the number of windows.
    """

    def __init__(self, video_sizes: Int64s, spec: SamplingSpec, keys: Words) -> None:
        """Over videos of `video_sizes` frames, shape (V,), under `keys`, uint64 of shape (NUM_ROUNDS,).

        Raises:
            SamplingError: no video is as long as a clip.
        """
        assert spec.clip_frames is not None  # only such a spec has an order of clips
        longest = int(video_sizes.max())
        if longest < spec.clip_span:
            raise SamplingError(
                f"a clip of {counted(spec.clip_frames, 'frame')}, {spec.clip_stride} apart, spans "
                f"{counted(spec.clip_span, 'frame')}, "
                f"but the longest video has {longest}"
            )
        has_windows = video_sizes >= spec.clip_span
        num_windows = video_sizes[has_windows] - spec.clip_span + 1
        self._window_ends = np.cumsum(num_windows)
        """Windows of a video and all before it: shape (videos with windows,)."""
        first_ids = (np.cumsum(video_sizes) - video_sizes)[has_windows]
        self._first_id_less_first_window = first_ids - (self._window_ends - num_windows)
        self._offsets = np.arange(spec.clip_frames, dtype=np.int64) * spec.clip_stride
        order = PermutationOrder if spec.sampling == "permutation" else IidOrder
        self._windows = order(int(self._window_ends[-1]), keys[:NUM_ROUNDS])

    def __len__(self) -> int:
        """Clips in the epoch: one for each whole window."""
        return len(self._windows)

    def _ids_at(self, positions: Int64s) -> Int64s:
        windows = self._windows.ids_at(positions)
        videos = np.searchsorted(self._window_ends, windows, side="right")
        return (windows + self._first_id_less_first_window[videos])[:, None] + self._offsets


_ROWS_AT_ONCE: Final = 1 << 17
"""Rows of the index that are read at once, so that memory grows with the number of videos, not of frames."""


def contiguous_videos(store: FrameStore) -> tuple[Int64s, Int64s]:
    """Id and number of frames of each video that has frames, in the order of frame ids: int64, both of shape (V,).

    Raises:
        SamplingError: the frames of a video are not side by side in time order, as in a shuffled cache.
        StoreDamagedError: the store's index is damaged.
    """
    num_frames = len(store)
    starts, is_in_order = [np.zeros(min(num_frames, 1), np.int64)], True
    for first in range(0, num_frames, _ROWS_AT_ONCE):
        # One more row than the block has, because neighbours are compared.
        rows = store.rows_of(np.arange(first, min(first + _ROWS_AT_ONCE + 1, num_frames)))
        videos, frames = rows["video_id"], rows["frame_in_video"]
        is_next_video = videos[1:] != videos[:-1]
        starts.append(first + 1 + np.flatnonzero(is_next_video))
        is_in_order = is_in_order and bool(((frames[1:] > frames[:-1]) | is_next_video).all())
    first_ids = np.concatenate(starts)
    video_ids = store.rows_of(first_ids)["video_id"]
    if len(np.unique(video_ids)) != len(video_ids) or not is_in_order:
        raise SamplingError(
            "clips need each video's frames side by side in time order, and this store is shuffled; "
            "build one with cache-build --layout video"
        )
    return video_ids, np.diff(first_ids, append=num_frames)


def contiguous_video_sizes(store: FrameStore) -> Int64s:
    """The numbers of frames of `contiguous_videos`, shape (V,).

    Raises:
        SamplingError, StoreDamagedError: as `contiguous_videos`.
    """
    return contiguous_videos(store)[1]


def short_videos(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> Int64s:
    """Rows of `video_lengths`, shape (V,), of the videos with frames but without a whole window: int64, ascending.

    Raises:
        SamplingError: `video_lengths` are not lengths, or a clip or stride is below one.
    """
    lengths = check_video_lengths(video_lengths, clip_frames=clip_frames, stride=stride)
    return np.flatnonzero((lengths > 0) & (lengths < (clip_frames - 1) * stride + 1))


def short_videos_text(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> str | None:
    """A text on the frames that no clip shows because their video is shorter than a clip; None without such frames.

    >>> short_videos_text([9, 2, 1000], clip_frames=4)
    '2 of 1,011 frames are in 1 video shorter than a clip'

    Raises:
        SamplingError: as `short_videos`.
    """
    lengths = np.asarray(video_lengths)
    rows = short_videos(lengths, clip_frames=clip_frames, stride=stride)
    if not len(rows):
        return None
    return (
        f"{int(lengths[rows].sum()):,} of {counted_in_groups(int(lengths.sum()), 'frame')} are in "
        f"{counted_in_groups(len(rows), 'video')} shorter than a clip"
    )


def check_video_lengths(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int) -> Int64s:
    """The lengths as int64, shape (V,).

    Raises:
        SamplingError: `video_lengths` are not lengths, or a clip or stride is below one.
    """
    if operator.index(clip_frames) < 1 or operator.index(stride) < 1:
        raise SamplingError(f"clips and strides are 1 frame or more, found {clip_frames} and {stride}")
    return check_shard_sizes(video_lengths)
