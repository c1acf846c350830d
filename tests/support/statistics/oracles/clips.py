"""How often whole windows of videos show each frame, frame by frame."""

import numpy as np
import numpy.typing as npt

from loader.bias.checks import Reals
from loader.bias.distributions.windows import WindowCoverage
from loader.sampling.orders import check_shard_sizes
from loader.windows import WindowSpec, window_spec


def clips(clip_frames: int, stride: int = 1) -> WindowSpec:
    """Whole windows of `clip_frames` frames, `stride` apart."""
    return window_spec(clip_frames=clip_frames, clip_stride=stride)


def sliding_window_law(num_frames: int, span: int) -> Reals:
    """Distribution of the frames of one video under a uniformly drawn window of `span` frames (S16): (num_frames,).

    There are L - T + 1 windows. An inner frame lies in T of them, the first in one.

    >>> sliding_window_law(4, 2).round(3).tolist()
    [0.167, 0.333, 0.333, 0.167]

    Raises:
        SamplingError: no window of that span in the video.
    """
    return whole_clip_law([num_frames], clip_frames=span)


def chi2_of_sliding_windows(num_frames: int, span: int) -> float:
    """Chi^2 of `sliding_window_law` (S17), about 2 T / (3 L) for windows much shorter than the video.

    L (x (x - 1) (2 x - 1) / 3 + (y - x + 1) x^2) / (T M)^2 - 1 with M = L - T + 1 windows, x = min(T, M),
    y = max(T, M).

    Raises:
        SamplingError: no window of that span in the video.
    """
    return chi2_of_whole_clips([num_frames], clip_frames=span)


def whole_clip_law(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> Reals:
    """Distribution of all frames, video after video, if every whole window is equally likely (S18): float64, (N,).

    A frame's probability is the number of windows that show it over T times the number of windows; 0 for frames of
    videos shorter than a clip. `video_lengths` has shape (V,).

    Raises:
        SamplingError: as `WindowCoverage.of`.
    """
    coverage = WindowCoverage.of(video_lengths, clips(clip_frames, stride))
    lengths = check_shard_sizes(video_lengths)
    num_starts = np.maximum(lengths - (clip_frames - 1) * stride, 0)
    first = (np.cumsum(lengths) - lengths)[num_starts > 0]
    num_starts = num_starts[num_starts > 0]
    # +1 at the start of a slot's run of frames and -1 after its end. The running sum counts the runs over a frame.
    steps = np.zeros(coverage.num_frames + 1, np.int64)
    for slot in range(clip_frames):
        np.add.at(steps, first + slot * stride, 1)
        np.add.at(steps, first + slot * stride + num_starts, -1)
    return np.cumsum(steps[:-1]) / (clip_frames * coverage.num_windows)


def chi2_of_whole_clips(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> float:
    """Chi^2 of `whole_clip_law` against all frames of `video_lengths`, shape (V,) (S18).

    Raises:
        SamplingError: as `WindowCoverage.of`.
    """
    return WindowCoverage.of(video_lengths, clips(clip_frames, stride)).chi2_over_frames


def whole_clips_can_be_uniform(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> bool:
    """Whether some rule that shows only whole clips, T frames q apart, can show every frame equally often (S19).

    There is one if T q divides the length of every video, or if T = 1, and else not. `video_lengths` has shape (V,).

    Raises:
        SamplingError: not lengths, or a clip or stride below one.
    """
    clips(clip_frames, stride)  # refuses no clip and no stride
    lengths = check_shard_sizes(video_lengths)
    return clip_frames == 1 or not (lengths % (clip_frames * stride)).any()
