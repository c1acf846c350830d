"""Clips: T frames of one video, q apart, never across the video's end (SAMPLING.md derives who is drawn how often)."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loader.errors import SamplingError
from loader.frame_orders import EpochOrder, FrameIds, IidOrder, PermutationOrder
from loader.permutation import NUM_ROUNDS
from loader.random_words import Words, words_at
from loader.sampling_spec import SamplingSpec

_OFFSET_KEY: Final = 0
_PHASE_KEY: Final = 1
_PHASE_BITS: Final = np.uint64(32)
MAX_CLIP_FRAMES: Final = 1 << 15
"""So that the arithmetic of phases fits 64 bits."""


class ClipOrder(EpochOrder):
    """Clips by position: `ids_at` answers with shape (P, T). Videos shorter than a clip's span are left out.

    `anchor` windows: a frame is drawn (the anchor, by the order of frames that `spec.sampling` names) and an offset
    o, uniform in [0, T q). The video is cut at o, o + T q, ... and the clip is the frames of the anchor's piece that
    are a multiple of q away from it. In the pieces that the video's ends cut short these are r < T frames; slot j
    then shows the one numbered floor((j + x) r / T), x uniform in [0, 1): the clip runs slower. So every frame of
    the videos that are long enough is equally likely.

    `sliding` windows: the first frame is drawn among all that leave room for a whole clip.

    An epoch has as many clips as would hold every frame once, of which some are seen twice and others not.
    """

    def __init__(self, video_sizes: npt.NDArray[np.int64], spec: SamplingSpec, keys: Words) -> None:
        """Over videos of `video_sizes` frames, shape (V,), under `keys`, uint64 of shape (NUM_ROUNDS,).

        Raises:
            SamplingError: no video is as long as a clip, or a clip of more than MAX_CLIP_FRAMES frames.
        """
        assert spec.clip_frames is not None  # who asks for clips
        if spec.clip_frames > MAX_CLIP_FRAMES:
            raise SamplingError(f"clip_frames must be at most {MAX_CLIP_FRAMES}, found {spec.clip_frames}")
        self._num_slots, self._stride = spec.clip_frames, spec.clip_stride
        self._is_anchored = spec.clip_windows == "anchor"
        is_eligible = video_sizes >= spec.clip_span
        if not is_eligible.any():
            raise SamplingError(
                f"a clip of {spec.clip_frames} frames, {spec.clip_stride} apart, spans {spec.clip_span} frames, "
                f"but the longest video has {int(video_sizes.max())}"
            )
        self._sizes = video_sizes[is_eligible]
        self._first_ids = (np.cumsum(video_sizes) - video_sizes)[is_eligible]
        num_anchors = self._sizes if self._is_anchored else self._sizes - spec.clip_span + 1
        self._anchor_ends = np.cumsum(num_anchors)
        self._num_anchors = num_anchors
        # Keys of its own for each draw: the anchors' order has used `keys` up.
        self._keys = words_at(keys[0], np.arange(2**40, 2**40 + 2, dtype=np.uint64))
        order = PermutationOrder if spec.sampling == "permutation" else IidOrder
        self._anchors = order(int(self._anchor_ends[-1]), keys[:NUM_ROUNDS])
        self._num_clips = min(max(1, int(self._sizes.sum()) // self._num_slots), len(self._anchors))

    def __len__(self) -> int:
        """Clips in the epoch."""
        return self._num_clips

    def _ids_at(self, positions: FrameIds) -> FrameIds:
        anchors = self._anchors.ids_at(positions)
        videos = np.searchsorted(self._anchor_ends, anchors, side="right")
        in_video = anchors - (self._anchor_ends[videos] - self._num_anchors[videos])
        slots = np.arange(self._num_slots, dtype=np.int64)
        if not self._is_anchored:
            return (self._first_ids[videos] + in_video)[:, None] + slots * self._stride
        first, num_frames = self._pieces(positions, in_video, self._sizes[videos])
        steps = np.broadcast_to(slots, (len(positions), self._num_slots)).copy()
        is_short = num_frames < self._num_slots
        steps[is_short] = self._slowed(positions[is_short], num_frames[is_short])
        return (self._first_ids[videos] + first)[:, None] + steps * self._stride

    def _pieces(
        self, positions: FrameIds, anchors: FrameIds, sizes: npt.NDArray[np.int64]
    ) -> tuple[FrameIds, npt.NDArray[np.int64]]:
        """First frame in the video of each anchor's piece, as far as its stride goes, and how many frames that is."""
        length = self._num_slots * self._stride
        words = words_at(self._keys[_OFFSET_KEY], positions.astype(np.uint64))
        offsets = (words % np.uint64(length)).astype(np.int64)
        starts = offsets + (anchors - offsets) // length * length
        ends = np.minimum(starts + length, sizes)
        starts = np.maximum(starts, 0)
        first = starts + (anchors - starts) % self._stride
        return first, (ends - 1 - first) // self._stride + 1

    def _slowed(self, positions: FrameIds, num_frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which of its `num_frames` frames each slot of a short clip shows: floor((j + x) r / T)."""
        phases = words_at(self._keys[_PHASE_KEY], positions.astype(np.uint64)) >> _PHASE_BITS
        slots = np.arange(self._num_slots, dtype=np.uint64) << _PHASE_BITS
        scaled = (slots + phases[:, None]) * num_frames.astype(np.uint64)[:, None]
        return (scaled // (np.uint64(self._num_slots) << _PHASE_BITS)).astype(np.int64)


def contiguous_video_sizes(index: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Frames of each video in the order of frame ids, from a store's index.

    Raises:
        SamplingError: the frames of a video are not side by side in time order, as in a shuffled cache.
    """
    videos, frames = index["video_id"], index["frame_in_video"]
    is_new = videos[1:] != videos[:-1]
    starts = np.concatenate([[0], np.flatnonzero(is_new) + 1])
    is_in_order = (frames[1:] > frames[:-1]) | is_new
    if len(np.unique(videos[starts])) != len(starts) or not is_in_order.all():
        raise SamplingError(
            "clips need each video's frames side by side in time order, and this store is shuffled; "
            "build one with cache-build --layout video"
        )
    return np.diff(np.concatenate([starts, [len(index)]])).astype(np.int64)
