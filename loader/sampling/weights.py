"""Weights: how often a loader draws each video. They are resolved once, to whole numbers that sum to 2**53."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from frame_store.growth import earlier_numbers_of_videos
from frame_store.protocol import FrameStore
from frame_store.shared import counted, without_controls
from frame_store.views import View, frames_per_video, num_parts, part_of_videos
from loader.errors import SamplingError

Int64s: TypeAlias = npt.NDArray[np.int64]
Reals: TypeAlias = npt.NDArray[np.float64]

NamedWeights: TypeAlias = Literal["video", "seconds"]
Weights: TypeAlias = npt.ArrayLike | NamedWeights | float
"""How often each video is drawn. `"video"`: every video alike. `"seconds"`: in proportion to its duration. A number
tau: in proportion to n^tau, n the frames of the video, so that 0 is `"video"` and 1 is every frame alike. An array with
a weight of each video, shape (V,), or else, for a concatenation, of each part, shape (P,): a part's frames are then
alike. Videos without frames are never drawn, whatever their weight."""

WHOLE: Final = 1 << 53
"""The sum of the whole numbers that stand for weights: a probability is such a number over 2**53."""

_PER_PART: Final = "per part"
_NUM_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoWeights:
    """The target law: video v with probability `parts[v]` / 2**53, and then each of its frames alike."""

    name: str
    """What the caller gave: `video`, `seconds`, `n^0.5`, `per video` or `per part`."""
    parts: Int64s
    """Of each video, shape (V,): the sum is 2**53, and a video without frames has 0."""
    video_sizes: Int64s
    """Frames of each video, shape (V,)."""

    @cached_property
    def label(self) -> str:
        """The name with a hash of the numbers: other weights have another label."""
        digest = hashlib.sha256(self.parts.astype("<i8").tobytes()).hexdigest()
        return f"{self.name.replace(' ', '-')}:{digest[:16]}"

    @property
    def shares(self) -> Reals:
        """Probability of each video, shape (V,)."""
        return self.parts / WHOLE

    @cached_property
    def ends(self) -> Int64s:
        """Parts of the videos up to each one, itself included: int64, shape (V,)."""
        ends: Int64s = np.cumsum(self.parts)
        return ends

    @cached_property
    def per_frame(self) -> Reals:
        """Parts of one frame of each video, shape (V,); 0 for a video without frames."""
        return self.parts / np.maximum(self.video_sizes, 1)

    @property
    def chi2_over_frames(self) -> float:
        """Chi^2 of the target itself against uniform frames, `N sum_v t_v^2 / n_v - 1` (S15)."""
        shares, held = self.shares, self.video_sizes > 0
        num_frames = int(self.video_sizes.sum())
        return max(0.0, float(num_frames * np.sum(shares[held] ** 2 / self.video_sizes[held]) - 1))


def video_weights(store: FrameStore, weights: Weights, *, weighted: FrameStore | None = None) -> VideoWeights:
    """The law that `weights` states for the frames of `store`.

    `weighted` has the videos that the weights are for, where these are not the videos of `store`: windows are drawn by
    their anchors, a view of it, and weights are for the videos that the caller sees.

    Raises:
        SamplingError: other names or numbers of weights, one that is negative or not finite, none above 0, no known
            duration of a video, or a weight for a part without frames.
    """
    weighted = store if weighted is None else weighted
    sizes = frames_per_video(store)
    if not sizes.sum():
        raise SamplingError("weights need frames to draw, and the store is empty")
    name, asked = _asked(weighted, weights)
    parts = part_of_videos(store)
    if name == _PER_PART and parts is not None:
        of_video = _of_parts(asked, parts, sizes)
    else:
        of_video = asked[np.searchsorted(_base_rows(weighted), _base_rows(store))]
    of_video = np.where(sizes > 0, of_video, 0.0)
    if not of_video.any():
        raise SamplingError(f"weights: no video that holds frames has a weight above 0 (weights={name!r})")
    return VideoWeights(name=name, parts=whole_parts(of_video), video_sizes=sizes)


def whole_parts(weights: Reals) -> Int64s:
    """Weights as whole numbers that sum to 2**53, by largest remainder: int64, of the same shape (n,).

    A positive weight has at least 1. `weights` are not negative, and one is positive.
    """
    scaled = weights / weights.max()
    exact = scaled * (WHOLE / math.fsum(scaled.tolist()))  # fsum rounds once: the same on every machine
    parts: Int64s = np.maximum(np.floor(exact), weights > 0).astype(np.int64)
    missing = WHOLE - int(parts.sum())
    if missing > 0:
        order = np.argsort(-np.where(weights > 0, exact - np.floor(exact), -1), kind="stable")
        gainers = order[: np.count_nonzero(weights)]
        each, rest = divmod(missing, len(gainers))
        parts[gainers] += each
        parts[gainers[:rest]] += 1
    else:
        parts[int(np.argmax(parts))] += missing  # tiny weights were raised to 1, at the cost of the largest
    return parts


def _base_rows(store: FrameStore) -> Int64s:
    """The videos of a store as rows of its base's table, ascending."""
    return store.video_ids if isinstance(store, View) else np.arange(store.source_order.num_videos)


def _asked(store: FrameStore, weights: Weights) -> tuple[str, Reals]:
    """The name of the law, and a weight of each video, or of each part where the name says so."""
    sizes = frames_per_video(store)
    if isinstance(weights, str):
        if weights not in get_args(NamedWeights):
            raise SamplingError(
                f"weights is one of {', '.join(map(repr, get_args(NamedWeights)))}, a number or an array, "
                f"found {weights!r}"
            )
        return weights, np.ones(len(sizes)) if weights == "video" else _durations(store, sizes)
    if isinstance(weights, Real) and not isinstance(weights, bool):
        try:
            tau = float(weights)
        except OverflowError:  # a whole number beyond all floats
            tau = math.inf
        if not math.isfinite(tau):
            raise SamplingError(f"weights= as a number is the exponent of n^tau, a finite one, found {tau}")
        return f"n^{tau:g}", _powers(sizes, tau)
    given = _checked(weights)
    if len(given) == len(sizes):
        return "per video", given
    has_parts = part_of_videos(store) is not None
    if has_parts and len(given) == num_parts(store):
        return _PER_PART, given
    counts = counted(len(sizes), "video")
    if len(given) in earlier_numbers_of_videos(store):
        counts += ", also of those that were appended (a state of an earlier time takes the first ones)"
    if has_parts:
        counts += f" or of each of {counted(num_parts(store), 'part')}"
    raise SamplingError(f"weights has a weight of each of {counts}, found {counted(len(given), 'number')}")


def _powers(sizes: Int64s, tau: float) -> Reals:
    """n^tau of each video over the largest of them, so that none overflows; 0 for a video without frames."""
    found, rows = np.unique(sizes, return_inverse=True)
    logs = [
        tau * math.log(size) if size else -math.inf for size in found.tolist()
    ]  # numpy's differ between CPUs
    largest = max(logs)
    return np.array([math.exp(log - largest) for log in logs])[rows]


def _checked(weights: Weights) -> Reals:
    try:
        given = np.asarray(weights)
    except ValueError as error:  # lists of different lengths
        raise SamplingError(f"weights is a flat list of numbers: {error}") from error
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise SamplingError(
            f"weights is 'video', 'seconds', a number or a flat array of numbers, found {given.dtype} of shape "
            f"{given.shape}"
        )
    given = given.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(given) & (given >= 0)))
    if len(wrong):
        raise SamplingError(
            f"weights are finite and not negative, found {given[wrong[0]]} at place {wrong[0]}"
            + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        )
    return given


def _of_parts(given: Reals, parts: Int64s, sizes: Int64s) -> Reals:
    """A weight of each video, so that each frame of a part has the same."""
    frames = np.bincount(parts, weights=sizes, minlength=len(given))
    empty = np.flatnonzero((given > 0) & (frames == 0))
    if len(empty):
        raise SamplingError(
            f"part {empty[0]} has the weight {given[empty[0]]:g}, and no frame of it is in the store; give it 0"
        )
    of_video: Reals = (given / np.maximum(frames, 1))[parts] * sizes
    return of_video


def _durations(store: FrameStore, sizes: Int64s) -> Reals:
    durations = cast("Reals", store.videos.column("duration_seconds"))
    unknown = np.flatnonzero((sizes > 0) & ~(durations > 0))
    if len(unknown):
        named: list[Any] = [store.videos[row].path for row in unknown[:_NUM_NAMED].tolist()]
        more = f" and {len(unknown) - _NUM_NAMED} more" if len(unknown) > _NUM_NAMED else ""
        raise SamplingError(
            f"weights='seconds' needs the duration of each video, and "
            f"{counted(len(unknown), 'video has', 'videos have')} none: "
            f"{', '.join(repr(without_controls(name)) for name in named)}{more}"
        )
    return np.nan_to_num(durations)
