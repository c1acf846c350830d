"""Windows: how often windows around uniformly drawn anchors show each frame. Frames near a video's ends differ.

A window shows T frames, at fixed offsets from its anchor. With `edges="whole"` an anchor is a frame whose whole window
lies in its video; with `edges="pad"` every frame is an anchor, and the first or last frame of the video stands for
those beyond it. Every window is equally likely, so chi^2 over windows is 0. Chi^2 over frames (S18), (S60) is not 0: a
frame's probability is the number of pairs of a window and a slot that show it, divided by T times the number of
windows. No rule that shows only whole windows is uniform over frames for every length of video (S19).

At an offset, the frames of all whole windows are one range of the video. So the numbers of pairs are constant between
the ends of these T ranges, and all sums below are over the ranges: no array of frames or windows is needed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.distributions.law import SamplingLaw
from loader.bias.distributions.window_frames import offsets_of
from loader.bias.pairs import same_place_share
from loader.errors import SamplingError
from loader.sampling import SamplingSpec
from loader.sampling.orders import check_shard_sizes
from loader.windows import WindowSpec, span_of


@dataclass(frozen=True, kw_only=True)
class WindowCoverage:
    """How many windows show the frames of some videos. The sums are Python's integers, so they are exact."""

    slots: int
    """Frames of a window, T."""
    num_frames: int
    """Frames of all videos, N, including videos without a window."""
    num_windows: int
    """Windows of all videos, M; 1 or more."""
    num_short_videos: int
    """Videos that have frames, but no window."""
    num_frames_in_short_videos: int
    """Their frames. No window shows them."""
    num_frames_by_count: dict[int, int]
    """Number of frames that c pairs of a window and a slot show, by c; 0 for frames that are never shown."""
    num_equal_pairs: int
    """Ordered pairs of different slots of one window that show the same frame, over all windows; 0 for whole windows
    of different offsets."""
    sum_of_squared_windows: int
    """Sum over the videos of (number of windows)^2."""

    @classmethod
    def of(cls, video_lengths: npt.ArrayLike, windows: WindowSpec) -> "WindowCoverage":
        """Over videos of `video_lengths` stored frames, shape (V,), in O(V log V + T^2) for each length.

        Raises:
            SamplingError: not lengths, no window in any video, or windows without a formula (`offsets_of`).
        """
        lengths = check_shard_sizes(video_lengths)
        offsets = offsets_of(windows)
        before, after = span_of(offsets) if windows.edges == "whole" else (0, 0)
        distinct, numbers = np.unique(lengths[lengths > 0], return_counts=True)
        found: Counter[int] = Counter()
        num_windows = num_short = frames_in_short = equal_pairs = squares = 0
        for length, number in zip(distinct.tolist(), numbers.tolist(), strict=True):
            of_video = length - before - after
            if of_video <= 0:
                num_short += number
                frames_in_short += number * length
                found[0] += number * length
                continue
            num_windows += number * of_video
            squares += number * of_video**2
            for count, num_frames in _counts_of_video(
                length, offsets, first=before, end=length - after
            ).items():
                found[count] += number * num_frames
            equal_pairs += number * _equal_pairs(
                length, offsets, num_windows=of_video, is_padded=not (before or after)
            )
        if not num_windows:
            raise SamplingError(
                f"windows longer than every video: {windows} fits into none of {counted(len(lengths), 'video')}, "
                f"but the longest video has {counted(int(lengths.max()), 'frame')}"
            )
        return cls(
            slots=len(offsets),
            num_frames=int(lengths.sum()),
            num_windows=num_windows,
            num_short_videos=num_short,
            num_frames_in_short_videos=frames_in_short,
            num_frames_by_count=dict(+found),
            num_equal_pairs=equal_pairs,
            sum_of_squared_windows=squares,
        )

    @property
    def num_frames_never_shown(self) -> int:
        """Frames in no window: those of short videos, and those that no offset reaches."""
        return self.num_frames_by_count.get(0, 0)

    @property
    def sum_of_squares(self) -> int:
        """Sum over the frames of (pairs of a window and a slot that show the frame)^2."""
        return sum(number * count**2 for count, number in self.num_frames_by_count.items())

    @property
    def chi2_over_frames(self) -> float:
        """N sum p^2 - 1 over all frames, including those never shown (S18), (S60)."""
        squared_slots = self._num_slots**2
        # Only the last division rounds.
        return (self.num_frames * self.sum_of_squares - squared_slots) / squared_slots

    @property
    def total_variation(self) -> float:
        """Half the sum of |p - 1/N| over all frames."""
        distance = sum(
            number * abs(count * self.num_frames - self._num_slots)
            for count, number in self.num_frames_by_count.items()
        )
        return distance / (2 * self.num_frames * self._num_slots)

    @property
    def max_over_representation(self) -> float:
        """Largest p, times N."""
        return max(self.num_frames_by_count) * self.num_frames / self._num_slots

    @property
    def _num_slots(self) -> int:
        return self.num_windows * self.slots


def window_coincidences(
    coverage: WindowCoverage, *, batch_size: int, with_replacement: bool
) -> dict[str, float]:
    """Probability that two distinct slots of a batch of windows share the window (`clip`), the `video`, the `frame`.

    `with_replacement` means `iid`. Without it, the windows of a batch are different ones, which may overlap; a batch of
    more windows than there are contains them several times, because `pad` fills it up (S20), (S61).
    """
    slots, num_windows = coverage.slots, coverage.num_windows
    num_slots = batch_size * slots
    same_window = (slots - 1) / (num_slots - 1) if num_slots > 1 else 0.0
    equal_inside = coverage.num_equal_pairs / (num_windows * slots * (slots - 1)) if slots > 1 else 0.0
    # All pairs of slots of a window with itself that show one frame, the slot with itself among them.
    with_itself = num_windows * slots + coverage.num_equal_pairs
    same_video, same_frame, num_pairs = (
        coverage.sum_of_squared_windows,
        coverage.sum_of_squares,
        num_windows**2,
    )
    if not with_replacement:  # a window does not form a pair with itself
        same_video -= num_windows
        same_frame -= with_itself
        num_pairs -= num_windows
    two_windows = 1 - same_window if batch_size > 1 else 0.0
    again = 0.0 if with_replacement else same_place_share(num_windows, batch_size)
    apart = (1 - again) / num_pairs if num_pairs else 0.0
    return {
        "clip": same_window,
        "video": same_window + two_windows * (again + apart * same_video),
        "frame": same_window * equal_inside
        + two_windows * (again * with_itself / (num_windows * slots**2) + apart * same_frame / slots**2),
    }


def window_law(
    of_anchors: SamplingLaw, spec: SamplingSpec, coverage: WindowCoverage, windows: WindowSpec
) -> SamplingLaw:
    """The law of the windows around anchors that have the law `of_anchors`.

    Raises:
        SamplingError: the anchors are not uniform at every position: there is no formula for the frames shown.
    """
    batch_size, slots = of_anchors.slots_per_batch, coverage.slots
    chi2s = (of_anchors.chi2, of_anchors.chi2_at_start, of_anchors.chi2_at_end)
    if any(chi2s):
        raise SamplingError(
            f"{spec} {windows}: there is no formula for the frames that windows show where the anchors are not uniform "
            f"at every position of an epoch; take permutation, iid, block, or shards with proportional choice"
        )
    kappa = window_coincidences(coverage, batch_size=batch_size, with_replacement=spec.with_replacement)
    visit_kappa: float | None = kappa["clip"]
    if spec.sampling == "stratified":
        kappa = {
            "clip": kappa["clip"]
        }  # how often two windows share more depends on the order that strata are cut from
    elif spec.sampling not in {"permutation", "iid"}:
        # Windows of one visit or block overlap more often; how often depends on where the shards begin.
        apart = 1 - kappa["clip"]
        visits = of_anchors.visit_kappa
        visit_kappa = None if visits is None else kappa["clip"] + apart * visits
        kappa = {"clip": kappa["clip"], "shard": kappa["clip"] + apart * of_anchors.kappa["shard"]}
    chi2 = coverage.chi2_over_frames
    because = "every window is equally likely at every position, so there is no bias over windows"
    if chi2:
        because += (
            "; frames near a video's ends lie in fewer windows than the others, hence chi2 over frames"
            if windows.edges == "whole"
            else "; the first and last frame of a video stand for those beyond it, hence chi2 over frames"
        )
    worst = of_anchors.proven_worst_effect
    return replace(
        of_anchors,
        name=f"{spec} {windows}",
        num_frames=coverage.num_frames,
        slots_per_batch=batch_size * slots,
        slots_per_visit=of_anchors.slots_per_visit * slots,
        slots_per_window=slots,
        shard_probability=None,
        chi2=chi2,
        chi2_over_windows=0.0,
        total_variation=coverage.total_variation,
        max_over_representation=coverage.max_over_representation,
        chi2_at_start=chi2,
        chi2_at_middle=chi2,
        chi2_at_end=chi2,
        kappa=kappa,
        visit_kappa=visit_kappa,
        proven_worst_effect=None if worst is None else worst * slots,
        because=because,
        num_windows=coverage.num_windows,
        num_short_videos=coverage.num_short_videos,
        num_frames_in_short_videos=coverage.num_frames_in_short_videos,
        num_frames_never_shown=coverage.num_frames_never_shown,
    )


def chi2_at_offset(video_lengths: npt.ArrayLike, offset: int) -> float:
    """Chi^2 of the frame that padded windows show at one offset, over uniform anchors: sum_v k (k + 1) / N (S60).

    k = min(|offset|, L_v - 1): the end frame of video v is shown k + 1 times, and k frames never. `video_lengths` has
    shape (V,).

    >>> chi2_at_offset([4, 6], -2)
    1.2
    """
    lengths = check_shard_sizes(video_lengths)
    beyond = np.minimum(abs(offset), np.maximum(lengths - 1, 0)).astype(
        object
    )  # Python's integers do not overflow
    return float((beyond * (beyond + 1)).sum() / int(lengths.sum()))


def _counts_of_video(length: int, offsets: Sequence[int], *, first: int, end: int) -> dict[int, int]:
    """How many frames of a video are shown c times, by c, for the anchors [first, end)."""
    changes: Counter[int] = Counter({0: 0, length: 0})
    at_first = at_last = 0
    for offset in offsets:
        low, high = max(first + offset, 0), min(end + offset, length)
        if low < high:
            changes[low] += 1
            changes[high] -= 1
        at_first += min(end - first, max(0, -(first + offset)))
        at_last += min(end - first, max(0, end + offset - length))
    for edge in (1, length - 1):  # the two ends, which stand for what lies beyond, are ranges of their own
        changes[edge] += 0
    found: Counter[int] = Counter()
    count, edges = 0, sorted(changes)
    for start, stop in pairwise(edges):
        count += changes[start]
        shown = count + (at_first if start == 0 else 0) + (at_last if stop == length else 0)
        found[shown] += stop - start
    return found


def _equal_pairs(length: int, offsets: Sequence[int], *, num_windows: int, is_padded: bool) -> int:
    """Ordered pairs of different slots that show one frame, over all windows of a video."""
    numbers = Counter(offsets)
    total = sum(number * (number - 1) for number in numbers.values()) * num_windows
    if not is_padded:
        return total
    different = sorted(numbers)
    for earlier, later in ((a, b) for row, a in enumerate(different) for b in different[row + 1 :]):
        # Both at or before the first frame, or both at or behind the last; in a video of one frame, always.
        before = min(max(-later + 1, 0), length)
        behind = min(max(earlier + 1, 0), length)
        total += 2 * numbers[earlier] * numbers[later] * (length if length == 1 else before + behind)
    return total
