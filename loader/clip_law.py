"""How often each frame is shown in clips: sliding windows, which starve the ends of videos, and the anchored rule.

A clip of T frames with stride q that starts at s shows the frames s, s + q, ..., s + (T - 1) q of one video.

Anchored clips show every frame alike, whatever the lengths of the videos (S20), so their chi^2 is 0 and needs no
function. The rule: draw a frame, the anchor, uniformly; draw o in [0, T q); cut the anchor's video into blocks of
T q frames at o. The clip shows the unit, the r <= T frames of the anchor's block that are congruent to it modulo q.
Where an end of the video leaves r < T, the clip is shown slower: slot j shows the unit's frame floor((j + x) r / T),
x uniform in [0, 1). `SAMPLING.md` proves it.
"""

import operator

import numpy as np
import numpy.typing as npt

from loader.bias_formulas import Reals
from loader.errors import SamplingError
from loader.frame_orders import check_shard_sizes

Counts = npt.NDArray[np.int64]


def sliding_window_law(num_frames: int, span: int) -> Reals:
    """Law of the frames of one video under a uniformly drawn window of `span` frames (S16): shape (num_frames,).

    Only windows inside the video are drawn, L - T + 1 of them. An inner frame lies in T windows, the first in one.

    >>> sliding_window_law(4, 2).round(3).tolist()
    [0.167, 0.333, 0.333, 0.167]

    Raises:
        SamplingError: no window of that span in the video.
    """
    return sliding_clip_law([num_frames], clip_frames=span)


def chi2_of_sliding_windows(num_frames: int, span: int) -> float:
    """Chi^2 of `sliding_window_law` (S17), about 2 T / (3 L) for windows much shorter than the video.

    L (x (x - 1) (2 x - 1) / 3 + (y - x + 1) x^2) / (T M)^2 - 1 with M = L - T + 1 windows, x = min(T, M),
    y = max(T, M).

    Raises:
        SamplingError: no window of that span in the video.
    """
    return chi2_of_sliding_clips([num_frames], clip_frames=span)


def sliding_clip_law(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> Reals:
    """Law of all frames, video after video, where the clip is uniform among all that fit (S18): shape (N,).

    A frame's probability is the number of clips that show it over T times the number of clips. Videos too short for
    a clip are never shown: leave them out of `video_lengths`, shape (V,), to compare among the others.

    Raises:
        SamplingError: not lengths, a clip or stride below one, or no clip that fits.
    """
    lengths, num_starts = _starts(video_lengths, clip_frames=clip_frames, stride=stride)
    # +1 where a slot's run of frames begins and -1 where it ends; the running sum counts the runs over a frame.
    steps = np.zeros(lengths.sum() + 1, np.int64)
    first = np.cumsum(lengths) - lengths
    for slot in range(clip_frames):
        begin = (first + slot * stride)[num_starts > 0]
        np.add.at(steps, begin, 1)
        np.add.at(steps, begin + num_starts[num_starts > 0], -1)
    return np.cumsum(steps[:-1]) / (clip_frames * int(num_starts.sum()))


def chi2_of_sliding_clips(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> float:
    """Chi^2 of `sliding_clip_law` against all frames of `video_lengths`, shape (V,), in O(V) (S18).

    N sum_v Q_v / (T M)^2 - 1, where M_v = max(0, L_v - (T - 1) q) clips fit into video v, M = sum M_v, and
    Q_v = T M_v + 2 sum_{e=1}^{E} (T - e) (M_v - e q), E = min(T - 1, floor((M_v - 1) / q)), counts the pairs of clips
    and slots that show the same frame.

    Raises:
        SamplingError: as `sliding_clip_law`.
    """
    lengths, num_starts = _starts(video_lengths, clip_frames=clip_frames, stride=stride)
    # Python's integers: the sum is exact, and only the last subtraction rounds.
    pairs = 0
    for starts, videos in zip(*np.unique(num_starts[num_starts > 0], return_counts=True), strict=True):
        pairs += int(videos) * _pairs_on_one_frame(int(starts), clip_frames=clip_frames, stride=stride)
    squared_slots = (clip_frames * int(num_starts.sum())) ** 2
    return (int(lengths.sum()) * pairs - squared_slots) / squared_slots


def share_of_slowed_clips(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> float:
    """Probability that an anchored clip has fewer than T different frames (S21).

    sum over videos v and residues c < q of min(l_vc, T - 1), over N, where l_vc frames of video v are congruent to
    c; (T - 1) q V / N where no video is shorter than (T - 1) q frames. `video_lengths` has shape (V,); a video may
    be shorter than a clip.

    >>> share_of_slowed_clips([100, 300], clip_frames=5)
    0.02

    Raises:
        SamplingError: not lengths, or a clip or stride below one.
    """
    lengths = _check_lengths(video_lengths, clip_frames=clip_frames, stride=stride)
    shorter, longer_residues = np.divmod(lengths, stride)
    at_most = clip_frames - 1
    slowed = longer_residues * np.minimum(shorter + 1, at_most)
    slowed += (stride - longer_residues) * np.minimum(shorter, at_most)
    return float(slowed.sum() / lengths.sum())


def whole_clips_can_be_uniform(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> bool:
    """Whether any rule that shows only whole clips, T frames q apart, can show every frame alike (S19).

    It can where T q divides the length of every video, or T = 1, and nowhere else. `video_lengths` has shape (V,).

    Raises:
        SamplingError: as `share_of_slowed_clips`.
    """
    lengths = _check_lengths(video_lengths, clip_frames=clip_frames, stride=stride)
    return clip_frames == 1 or not (lengths % (clip_frames * stride)).any()


def _pairs_on_one_frame(num_starts: int, *, clip_frames: int, stride: int) -> int:
    """Sum over one video's frames of (number of clips and slots that show it)^2."""
    lags = min(clip_frames - 1, (num_starts - 1) // stride)
    first_powers = lags * (lags + 1) // 2
    second_powers = lags * (lags + 1) * (2 * lags + 1) // 6
    one_sided = (
        clip_frames * num_starts * lags
        - (clip_frames * stride + num_starts) * first_powers
        + stride * second_powers
    )
    return clip_frames * num_starts + 2 * one_sided


def _starts(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int) -> tuple[Counts, Counts]:
    """Lengths, and how many clips fit into each video: two of shape (V,)."""
    lengths = _check_lengths(video_lengths, clip_frames=clip_frames, stride=stride)
    num_starts = np.maximum(lengths - (clip_frames - 1) * stride, 0)
    if not num_starts.any():
        raise SamplingError(
            f"no clip of {clip_frames} frames with stride {stride} fits: the longest video has {lengths.max()}"
        )
    return lengths, num_starts


def _check_lengths(video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int) -> Counts:
    if operator.index(clip_frames) < 1 or operator.index(stride) < 1:
        raise SamplingError(f"clips and strides are 1 frame or more, found {clip_frames} and {stride}")
    return check_shard_sizes(video_lengths)
