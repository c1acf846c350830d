"""How often clips show each frame: whole windows drawn alike show the frames near a video's ends less often.

A clip is a whole window: T frames of one video, q apart. Every whole window is equally likely, so chi^2 over windows
is 0. Chi^2 over frames (S18) is not: a frame's probability is the number of windows that show it, over T times the
number of all windows. No rule that shows whole windows only can do better for every length of video (S19).

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
from loader.bias.pairs import same_place_share
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes, check_video_lengths

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClipCoverage:
    """In how many whole windows the frames of some videos lie. Sums are exact, in Python's integers."""

    clip_frames: int
    """Frames of a window, T."""
    num_frames: int
    """Frames of all videos, N, also of those shorter than a clip."""
    num_windows: int
    """Whole windows of all videos, M; 1 or more."""
    num_short_videos: int
    """Videos with frames, but too few for a whole window."""
    num_frames_in_short_videos: int
    """Their frames. No clip shows them."""
    num_frames_never_shown: int
    """Frames in no whole window: those of short videos, and those that a stride longer than M_v skips."""
    num_classes_by_size: dict[int, int]
    """Number of residue classes of l frames, by l; only those that hold a window, l >= T."""

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
        """N sum p^2 - 1 against all frames, those never shown included (S18)."""
        squared_slots = self._num_slots**2
        # Only the last division rounds.
        return (self.num_frames * self.sum_of_squares - squared_slots) / squared_slots

    @property
    def total_variation(self) -> float:
        """Half the summed |p - 1/N| over all frames."""
        slots, frames = self._num_slots, self.num_frames
        distance = self.num_frames_never_shown * slots
        for most, num_flat, number in self._trapezoids():
            # |v N - M T| for v = 1, ..., x - 1, on both sides; the sign changes behind `low`.
            low, high = min(most - 1, slots // frames), most - 1
            rising = low * slots - frames * _sum_to(low)
            rising += frames * (_sum_to(high) - _sum_to(low)) - (high - low) * slots
            distance += number * (2 * rising + num_flat * abs(most * frames - slots))
        return distance / (2 * frames * slots)

    @property
    def max_over_representation(self) -> float:
        """Largest p over 1/N."""
        return max(most for most, _, _ in self._trapezoids()) * self.num_frames / self._num_slots

    @property
    def sum_of_squares(self) -> int:
        """Sum over the frames of (number of windows that show it)^2: pairs of windows and slots on one frame."""
        total = 0
        for most, num_flat, number in self._trapezoids():
            below = (most - 1) * most * (2 * most - 1) // 6
            total += number * (2 * below + num_flat * most**2)
        return total

    @property
    def _num_slots(self) -> int:
        return self.num_windows * self.clip_frames

    def _trapezoids(self) -> list[tuple[int, int, int]]:
        """(x, frames that lie in x windows, classes like this): see above."""
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
    """P[two distinct slots of a batch of clips share ...] the `clip`, the `video`, the `frame` (S20).

    `with_replacement` is `iid`; without, the clips of a batch are different windows, which may overlap, and a batch of
    more clips than there are windows goes round them, as `pad` fills it up. A clip holds a frame once, so `frame` is
    about slots of two clips.

    Raises:
        SamplingError: as `ClipCoverage.of`.
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
    if not with_replacement:  # a window and itself are no pair
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


def _sum_to(number: int) -> int:
    return number * (number + 1) // 2
