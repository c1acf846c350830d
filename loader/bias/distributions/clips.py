"""Clips: how often whole windows, drawn uniformly, show each frame. Frames near a video's ends are shown less often.

A clip is a whole window: T frames of one video, q apart. Every whole window is equally likely, so chi^2 over windows
is 0. Chi^2 over frames (S18) is not 0: the probability of a frame is the number of windows that show it, divided by T
times the number of all windows. No other rule that shows only whole windows is uniform for every length of video (S19).

Frames of a video that are congruent modulo q form a residue class, and a window is T neighbours of one class. In a
class of l >= T frames the numbers of windows over its frames rise 1, 2, ..., x - 1, stay at x = min(T, l - T + 1)
for l - 2 x + 2 frames and fall again. No window shows a frame of a shorter class. All sums below are over these
classes, so they need no array of frames or windows.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import Integers
from loader.bias.distributions.law import SamplingLaw
from loader.bias.pairs import same_place_share
from loader.errors import SamplingError
from loader.sampling import SamplingSpec
from loader.sampling.orders import check_shard_sizes, check_video_lengths


@dataclass(frozen=True, kw_only=True)
class ClipCoverage:
    """How many whole windows show the frames of some videos. The sums are Python's integers, so they are exact."""

    clip_frames: int
    """Frames of a window, T."""
    num_frames: int
    """Frames of all videos, N, including videos shorter than a clip."""
    num_windows: int
    """Whole windows of all videos, M; 1 or more."""
    num_short_videos: int
    """Videos that have frames, but too few for a whole window."""
    num_frames_in_short_videos: int
    """Their frames. No clip shows them."""
    num_frames_never_shown: int
    """Frames in no whole window: those of short videos, and those that a stride larger than M_v skips."""
    num_classes_by_size: dict[int, int]
    """Number of residue classes of l frames, by l, for l >= T."""

    @classmethod
    def of(cls, video_lengths: npt.ArrayLike, *, clip_frames: int, stride: int = 1) -> "ClipCoverage":
        """Over videos of `video_lengths` frames, shape (V,), in O(V log V).

        Raises:
            SamplingError: not lengths, a clip or stride below one, or no whole window in any video.
        """
        lengths = check_video_lengths(video_lengths, clip_frames=clip_frames, stride=stride)
        span = (clip_frames - 1) * stride + 1
        distinct, numbers = np.unique(lengths[lengths > 0], return_counts=True)
        classes: Counter[int] = Counter()
        num_windows = num_short = frames_in_short = never_shown = 0
        for length, number in zip(distinct.tolist(), numbers.tolist(), strict=True):
            if length < span:
                num_short += number
                frames_in_short += number * length
                continue
            num_windows += number * (length - span + 1)
            size, num_longer = divmod(length, stride)
            for class_size, num_classes in ((size + 1, num_longer), (size, stride - num_longer)):
                if class_size < clip_frames:
                    never_shown += number * num_classes * class_size
                else:
                    classes[class_size] += number * num_classes
        if not num_windows:
            raise SamplingError(
                f"no clip of {counted(clip_frames, 'frame')} with stride {stride} fits: "
                f"the longest video has {lengths.max()}"
            )
        return cls(
            clip_frames=clip_frames,
            num_frames=int(lengths.sum()),
            num_windows=num_windows,
            num_short_videos=num_short,
            num_frames_in_short_videos=frames_in_short,
            num_frames_never_shown=frames_in_short + never_shown,
            num_classes_by_size=dict(+classes),
        )

    @property
    def chi2_over_frames(self) -> float:
        """N sum p^2 - 1 over all frames, including those never shown (S18)."""
        squared_slots = self._num_slots**2
        # Only the last division rounds.
        return (self.num_frames * self.sum_of_squares - squared_slots) / squared_slots

    @property
    def total_variation(self) -> float:
        """Half the sum of |p - 1/N| over all frames."""
        slots, frames = self._num_slots, self.num_frames
        distance = self.num_frames_never_shown * slots
        for most, num_flat, number in self._trapezoids():
            # |v N - M T| for v = 1, ..., x - 1, on both sides. The sign changes after `low`.
            low, high = min(most - 1, slots // frames), most - 1
            rising = low * slots - frames * _sum_to(low)
            rising += frames * (_sum_to(high) - _sum_to(low)) - (high - low) * slots
            distance += number * (2 * rising + num_flat * abs(most * frames - slots))
        return distance / (2 * frames * slots)

    @property
    def max_over_representation(self) -> float:
        """Largest p, times N."""
        return max(most for most, _, _ in self._trapezoids()) * self.num_frames / self._num_slots

    @property
    def sum_of_squares(self) -> int:
        """Sum over the frames of (number of windows that show the frame)^2: pairs of windows and slots on one frame."""
        total = 0
        for most, num_flat, number in self._trapezoids():
            below = (most - 1) * most * (2 * most - 1) // 6
            total += number * (2 * below + num_flat * most**2)
        return total

    @property
    def _num_slots(self) -> int:
        return self.num_windows * self.clip_frames

    def _trapezoids(self) -> list[tuple[int, int, int]]:
        """(x, frames that lie in x windows, number of such classes), as in the docstring of this module."""
        found = []
        for size, number in self.num_classes_by_size.items():
            most = min(self.clip_frames, size - self.clip_frames + 1)
            found.append((most, size - 2 * most + 2, number))
        return found


def clip_coincidences(
    video_lengths: npt.ArrayLike,
    *,
    clip_frames: int,
    stride: int = 1,
    batch_size: int,
    with_replacement: bool,
) -> dict[str, float]:
    """Probability that two distinct slots of a batch of clips share the `clip`, the `video`, the `frame` (S20).

    `with_replacement` means `iid`. Without it, the clips of a batch are different windows, which may overlap; a batch
    of more clips than windows contains the windows several times, because `pad` fills it up. A clip holds a frame only
    once, so `frame` counts slots of two clips.
    """
    coverage = ClipCoverage.of(video_lengths, clip_frames=clip_frames, stride=stride)
    num_slots, num_windows = batch_size * clip_frames, coverage.num_windows
    same_clip = (clip_frames - 1) / (num_slots - 1) if num_slots > 1 else 0.0
    lengths = check_shard_sizes(video_lengths)
    windows, numbers = np.unique(np.maximum(lengths - (clip_frames - 1) * stride, 0), return_counts=True)
    same_video = sum(
        count * number**2 for number, count in zip(windows.tolist(), numbers.tolist(), strict=True)
    )
    same_frame = coverage.sum_of_squares
    num_pairs = num_windows**2
    if not with_replacement:  # a window does not form a pair with itself
        same_video -= num_windows
        same_frame -= num_windows * clip_frames
        num_pairs -= num_windows
    two_clips = 1 - same_clip if batch_size > 1 else 0.0
    again = 0.0 if with_replacement else same_place_share(num_windows, batch_size)
    apart = (1 - again) / num_pairs if num_pairs else 0.0
    return {
        "clip": same_clip,
        "video": same_clip + two_clips * (again + apart * same_video),
        "frame": two_clips * (again / clip_frames + apart * same_frame / clip_frames**2),
    }


def clip_law(
    video_sizes: Integers, spec: SamplingSpec, batch_size: int, *, dropped: int, doubled: int
) -> SamplingLaw:
    """Whole windows of videos of `video_sizes` frames, shape (V,): uniform over windows, not over frames."""
    clip_frames = spec.clip_frames or 1
    coverage = ClipCoverage.of(video_sizes, clip_frames=clip_frames, stride=spec.clip_stride)
    kappa = clip_coincidences(
        video_sizes,
        clip_frames=clip_frames,
        stride=spec.clip_stride,
        batch_size=batch_size,
        with_replacement=spec.with_replacement,
    )
    chi2 = coverage.chi2_over_frames
    because = "every whole window is equally likely at every position, so there is no bias over windows"
    if chi2:
        because += "; frames near a video's ends lie in fewer windows than the others, hence chi2 over frames"
    return SamplingLaw(
        name=str(spec),
        num_frames=coverage.num_frames,
        slots_per_batch=batch_size * clip_frames,
        slots_per_visit=clip_frames,
        shard_probability=None,
        chi2=chi2,
        chi2_over_windows=0.0,
        total_variation=coverage.total_variation,
        max_over_representation=coverage.max_over_representation,
        chi2_at_start=chi2,
        chi2_at_middle=chi2,
        chi2_at_end=chi2,
        kappa=kappa,
        visit_kappa=kappa["clip"],
        num_positions_dropped=dropped,
        num_positions_doubled=doubled,
        because=because,
        num_windows=coverage.num_windows,
        num_short_videos=coverage.num_short_videos,
        num_frames_in_short_videos=coverage.num_frames_in_short_videos,
        num_frames_never_shown=coverage.num_frames_never_shown,
    )


def _sum_to(number: int) -> int:
    return number * (number + 1) // 2
