"""Which frames the windows of videos show: anchors and frames as places in source order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Integers, Reals
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes
from loader.windows import WindowSpec, span_of


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowsOfVideos:
    """Windows over the stored frames of some videos."""

    spec: WindowSpec
    video_sizes: Integers
    """Stored frames of each video, shape (V,)."""
    source_ids: npt.NDArray[np.integer] | None = None
    """Frame id at each place of the source order, shape (N,). None where the id is the place."""

    def anchor_shard_sizes(self, shard_sizes: Integers) -> Integers:
        """Anchors in each shard of `shard_sizes` frames, shape (S,): a sampler of windows draws from these shards."""
        starts, ends = anchor_runs(self.video_sizes, self.spec)
        shard_ends = np.cumsum(shard_sizes)
        if self.source_ids is None:
            lengths = ends - starts
            videos = np.maximum(np.searchsorted(starts, shard_ends, side="right") - 1, 0)
            inside = np.clip(shard_ends - starts[videos], 0, lengths[videos])
            below = (np.cumsum(lengths) - lengths)[videos] + inside
            sizes: Integers = np.diff(below, prepend=0)
            return sizes
        ids = self.source_ids[self._anchors()]
        return np.bincount(np.searchsorted(shard_ends, ids, side="right"), minlength=len(shard_sizes))

    def means(self, features: Reals) -> tuple[Reals, Reals]:
        """The mean of each window in the order of its anchor's id, shape (M, D), and how often each frame is shown.

        `features`, shape (N, D), has a row for each frame id. The second result has shape (N,), by frame id.
        """
        if self.source_ids is None:
            return window_means(features, self.video_sizes, self.spec)
        means, times = window_means(features[self.source_ids], self.video_sizes, self.spec)
        by_id = np.empty_like(times)
        by_id[self.source_ids] = times
        return means[np.argsort(self.source_ids[self._anchors()])], by_id

    def windows_in_order(self, frame_ids: Integers | None) -> Integers:
        """The numbers of the windows, by the id of their anchor as in `means`, in the order of `frame_ids`, shape (N,).

        None is the source order. int64, shape (M,).
        """
        anchors = self._anchors()
        ids = anchors if self.source_ids is None else self.source_ids[anchors].astype(np.int64)
        if frame_ids is not None:
            places = np.empty(len(frame_ids), np.int64)
            places[frame_ids] = np.arange(len(frame_ids))
            ids = ids[np.argsort(places[ids])]
        numbers: Integers = np.searchsorted(np.sort(ids), ids)
        return numbers

    def frame_ids(self, numbers: Integers) -> Integers:
        """Ids of the frames of windows, by the windows' `numbers` in source order: int64, shape (n, T)."""
        places = frames_of_windows(self.video_sizes, self.spec, numbers)
        return places if self.source_ids is None else self.source_ids[places].astype(np.int64)

    def _anchors(self) -> Integers:
        starts, ends = anchor_runs(self.video_sizes, self.spec)
        return np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])


def offsets_of(windows: WindowSpec) -> tuple[int, ...]:
    """The offsets of frames of windows that have a formula.

    Raises:
        SamplingError: offsets in seconds, or of columns under `edges="whole"`: lengths of videos do not decide which
            windows fit.
    """
    if windows.frame_offsets is None or (
        windows.edges == "whole" and (windows.column_offsets or windows.column_offsets_seconds)
    ):
        raise SamplingError(
            f"there is a formula for windows of frame_offsets, and none for {windows}: which windows fit depends on "
            f"more than the videos' numbers of stored frames"
        )
    return windows.frame_offsets


def anchor_runs(video_sizes: Integers, windows: WindowSpec) -> tuple[Integers, Integers]:
    """The anchors of each video as places [start, end), if places run through the videos: both of shape (V,)."""
    before, after = span_of(offsets_of(windows)) if windows.edges == "whole" else (0, 0)
    first = np.cumsum(video_sizes) - video_sizes
    starts = first + before
    return starts, np.maximum(first + video_sizes - after, starts)


def frames_of_windows(video_sizes: Integers, windows: WindowSpec, numbers: Integers) -> Integers:
    """Places of the frames of windows, by the windows' `numbers` in source order: int64, shape (n, T)."""
    starts, ends = anchor_runs(video_sizes, windows)
    past = np.cumsum(ends - starts)
    videos = np.searchsorted(past, numbers, side="right")
    anchors = numbers - (past[videos] - (ends - starts)[videos]) + starts[videos]
    last = np.cumsum(video_sizes)[videos] - 1
    first = last + 1 - video_sizes[videos]
    shown: Integers = np.clip(anchors[:, None] + np.array(offsets_of(windows)), first[:, None], last[:, None])
    return shown


def window_means(features: Reals, video_sizes: npt.ArrayLike, windows: WindowSpec) -> tuple[Reals, Reals]:
    """The mean of each window, shape (M, D), and the number of slots that show each frame, shape (N,).

    `features`, shape (N, D), has a row for each place in source order.

    Raises:
        SamplingError: no window fits into a video.
    """
    sizes = check_shard_sizes(video_sizes)
    starts, ends = anchor_runs(sizes, windows)
    num_windows = int((ends - starts).sum())
    if not num_windows:
        raise SamplingError(f"no window of {windows} fits into a video")
    shown = frames_of_windows(sizes, windows, np.arange(num_windows))
    total, times = np.zeros((num_windows, features.shape[1])), np.zeros(len(features))
    for frames in shown.T:
        total += features[frames]
        times += np.bincount(frames, minlength=len(features))
    return total / shown.shape[1], times
