"""Rho: how alike the frames of a unit (GOP, video, shard, clip) are, exact or estimated from a few frames of the cache.

The variance of a batch depends on kappa, a number of the sampler, and on rho, a number of the data. Rho is measured on
a proxy of the gradient: thumbnails of the pixels, or features that the user gives. The gradient of a model may have
another rho, so every number that is computed from rho names the proxy.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameRows, FrameStore
from frame_store.shared import counted, raise_if_out_of_files
from loader.bias.checks import Integers, Reals
from loader.bias.design_effect import least_correlation
from loader.bias.pixels import ReadFeatures
from loader.errors import SamplingError
from loader.sampling.orders import (
    check_shard_sizes,
    draw_without_replacement,
    epoch_keys,
    integers_below,
    words_at,
)

Level: TypeAlias = Literal["gop", "video", "shard"]
Basis: TypeAlias = Literal["exact", "sampled", "builds", "assumed"]
"""What a rho is computed from. `exact`: every frame. `sampled`: a few frames, with a confidence interval. `builds`: the
shuffle of the build; 95% of the build seeds lie inside the interval. `assumed`: the user gave it."""

DRAWS: Final = 100
FRAMES_PER_DRAW: Final = 6
CONFIDENCE: Final = 0.95
MIN_GROUPS_WITH_PAIRS: Final = 3
"""With fewer groups the jackknife cannot estimate a spread."""
_ROWS_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class RhoEstimate:
    """Correlation of two different frames of one unit, with an interval if it is not exact."""

    level: str
    proxy: str
    """The compared quantity: `thumbnails 16x16`, or the name of a file of features."""
    rho: float
    low: float
    """Ends of the interval. All three lie in the possible range, [-1 / (n - 1), 1], n the smallest unit with a pair."""
    high: float
    num_draws: int
    """Units drawn. All units if `basis` is `exact`, 0 if no frame was read."""
    frames_per_draw: int
    confidence: float = CONFIDENCE
    basis: Basis = "sampled"


@dataclass(frozen=True, kw_only=True)
class Units:
    """A partition of the frames: `order` lists frame ids unit by unit, and `ends` gives the end of each unit in it."""

    order: Integers | None
    """Shape (N,); None if frame ids run through the units one after the other."""
    ends: Integers
    """Shape (U,). The last is N."""

    def members_at(self, unit: int, places: Integers) -> Integers:
        """Frame ids at `places` of a unit."""
        rows = places + (self.ends[unit - 1] if unit else 0)
        return rows if self.order is None else self.order[rows]

    @property
    def sizes(self) -> Integers:
        """Frames of each unit, shape (U,)."""
        return np.diff(self.ends, prepend=0)

    def size_of(self, unit: int) -> int:
        """Frames of a unit."""
        return int(self.ends[unit] - (self.ends[unit - 1] if unit else 0))


def units_of(store: FrameStore, level: Level, *, frames_per_gop: Reals) -> Units:
    """The frames of a store by unit.

    A cache does not store where GOPs begin. Each video is cut into stretches of its average GOP length instead, given
    by `frames_per_gop`, shape (V,): packets over keyframes.

    Raises:
        SamplingError: an unknown level.
        StoreDamagedError: the store's index is damaged.
    """
    if level not in get_args(Level):
        raise SamplingError(f"level must be gop, video or shard, found {level!r}")
    if level == "shard":
        return Units(order=None, ends=np.cumsum(store.shard_sizes[store.shard_sizes > 0]))
    frames_per_unit = np.maximum(frames_per_gop, 1)

    def labels_of(rows: FrameRows) -> npt.NDArray[np.int64]:
        video_ids: npt.NDArray[np.int64] = rows["video_id"]
        if level == "video":
            return video_ids
        return video_ids << 32 | (rows["frame_in_video"] // frames_per_unit[video_ids]).astype(np.int64)

    blocks = (
        np.arange(first, min(first + _ROWS_AT_ONCE, len(store)))
        for first in range(0, len(store), _ROWS_AT_ONCE)
    )
    labels = np.concatenate([labels_of(store.rows_of(frame_ids)) for frame_ids in blocks])
    order = None
    if (labels[1:] < labels[:-1]).any():
        order = np.argsort(labels, kind="stable")
        labels = labels[order]
    ends = np.concatenate([np.flatnonzero(labels[1:] != labels[:-1]) + 1, [len(labels)]])
    return Units(order=order, ends=ends.astype(np.int64))


def load_features(path: Path, *, num_frames: int) -> Reals:
    """A `.npy` file with one row for each frame id, shape (N,) or (N, D), as float64 (N, D).

    Raises:
        SamplingError: not such a file, another number of rows, or a value that is not finite.
        OSError: no more files can be opened.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise_if_out_of_files(error)
        raise SamplingError(f"{path}: not a readable .npy file: {error}") from error
    if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiub":
        raise SamplingError(f"{path}: expected an array of numbers")
    if features.ndim not in {1, 2} or len(features) != num_frames or not features.size:
        raise SamplingError(
            f"{path}: expected one row for each of {counted(num_frames, 'frame')}, found shape {features.shape}"
        )
    features = features.reshape(num_frames, -1).astype(np.float64)
    is_finite = np.isfinite(features).all(axis=1)
    if not is_finite.all():
        raise SamplingError(
            f"{path}: NaN or infinity in {counted(int((~is_finite).sum()), 'row')}, the first is row "
            f"{int(np.flatnonzero(~is_finite)[0])}"
        )
    return features


def scaled_features(features: Reals) -> Reals:
    """The features, shape (N, D), shifted to mean 0 and scaled to a largest value of about 1. Rho depends on neither.

    Squares of the result neither overflow nor become 0, for any unit of the features.
    """
    # Twice: the difference of two frames may be much smaller than both, and their sum may overflow.
    for _ in range(2):
        features = features * 2.0 ** -int(np.frexp(np.abs(features).max())[1])
        features = features - features.mean(axis=0)
    return features


def rho_of_all(units: Units, features: Reals, *, level: str, proxy: str) -> RhoEstimate | None:
    """Rho of a level over every frame (S22): `features` has a row for each frame id, shape (N, D).

    None if no unit has two frames, or if all frames are alike.
    """
    frames = features[: units.ends[-1]] if units.order is None else features[units.order]
    is_constant = not np.ptp(frames, axis=0).any()
    frames = frames - frames.mean(axis=0)
    sizes, starts = units.sizes, units.ends - units.sizes
    squares = np.square(frames).sum(axis=1)
    total, paired = float(squares.sum()), sizes > 1
    if is_constant or not paired.any():
        return None
    # For each unit: n_s |d_s|^2 and n_s sigma_s^2.
    between = np.square(np.add.reduceat(frames, starts, axis=0)).sum(axis=1) / sizes
    within = np.add.reduceat(squares, starts) - between
    rho = float((between - within / np.maximum(sizes - 1, 1))[paired].sum()) / total
    return RhoEstimate(
        level=level,
        proxy=proxy,
        rho=rho,
        low=rho,
        high=rho,
        num_draws=len(sizes),
        frames_per_draw=int(sizes.max()),
        basis="exact",
    )


def rho_of_shuffled_frames(unit_sizes: npt.ArrayLike, *, level: str) -> RhoEstimate:
    """Rho of units that a build filled with frames in random order, without reading frames (S22).

    The mean over the build's seeds is exactly -1 / (N - 1), and the interval holds 95% of the seeds. The units' share
    of the variance has a standard deviation of at most sqrt(2 (S - 1) (N - S) / (N + 1)) / (N - 1) over the seeds; the
    bound is attained by features that vary in one direction only.
    """
    sizes = check_shard_sizes(unit_sizes)
    sizes = sizes[sizes > 0]
    num_frames, num_units = int(sizes.sum()), len(sizes)
    mean = -1 / max(1, num_frames - 1)
    spread = math.sqrt(2 * (num_units - 1) * (num_frames - num_units) / (num_frames + 1))
    size = max(2.0, num_frames / num_units)
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * spread / max(1, num_frames - 1) * size / (size - 1)
    return RhoEstimate(
        level=level,
        proxy="shuffled at build: mean and 95% of the build seeds",
        rho=mean,
        low=max(mean - reach, min(mean, least_correlation(sizes))),
        high=min(mean + reach, 1.0),
        num_draws=0,
        frames_per_draw=0,
        basis="builds",
    )


def estimate_rho(
    units: Units,
    read_features: ReadFeatures,
    *,
    level: str,
    proxy: str,
    draws: int = DRAWS,
    frames_per_draw: int = FRAMES_PER_DRAW,
    seed: int = 0,
) -> RhoEstimate | None:
    """Rho of a level by the pair estimator (SAMPLING.md): 1 - D_w / D_b.

    It draws units in proportion to their frames, by drawing a frame and taking its unit. From each unit it draws up to
    `frames_per_draw` different frames. None if fewer than three of the drawn units have two frames, or if all drawn
    frames are alike.
    """
    key_unit, key_frame = epoch_keys(seed=seed, epoch=0, num_keys=2)
    words = words_at(key_unit, np.arange(draws, dtype=np.uint64))
    drawn = np.searchsorted(
        units.ends, integers_below(words, int(units.ends[-1])).astype(np.int64), side="right"
    )
    ids, sizes = [], []
    for draw, unit in enumerate(drawn.tolist()):
        num_frames = min(frames_per_draw, units.size_of(unit))
        frame_words = words_at(key_frame, np.arange(num_frames, dtype=np.uint64) + np.uint64(draw * 2**20))
        ids.append(units.members_at(unit, draw_without_replacement(frame_words, units.size_of(unit))))
        sizes.append(num_frames)
    features = read_features(np.concatenate(ids))
    groups = np.split(features, np.cumsum(sizes)[:-1])
    return rho_of_groups(
        groups,
        level=level,
        proxy=proxy,
        frames_per_draw=frames_per_draw,
        least=least_correlation(units.sizes),
    )


def rho_of_groups(
    groups: list[Reals], *, level: str, proxy: str, frames_per_draw: int, least: float
) -> RhoEstimate | None:
    """The pair estimator over independently drawn groups of features, each of shape (m, D).

    `least` is the least possible rho (`least_correlation`). Smaller values are replaced by it.
    """
    sums = _PairSums.of(groups)
    if np.count_nonzero(~np.isnan(sums.within)) < MIN_GROUPS_WITH_PAIRS:
        return None
    within, between = sums.distances()
    if between <= 0:
        return None
    rho = 1 - within / between
    left_out = np.array([1 - w / b for w, b in map(sums.without, range(len(groups)))])
    low, high = _jackknife_interval(rho, left_out)
    return RhoEstimate(
        level=level,
        proxy=proxy,
        rho=max(rho, least),
        low=max(low, least),
        high=max(high, least),
        num_draws=len(groups),
        frames_per_draw=frames_per_draw,
    )


@dataclass(frozen=True, kw_only=True)
class _PairSums:
    """Sums of half squared distances. Any one group can be left out of them."""

    within: Reals
    """For each group, the mean over its pairs; NaN if it has none."""
    norms: Reals
    """For each group, the mean squared length."""
    means: Reals
    """For each group, the mean: shape (a, D)."""

    @classmethod
    def of(cls, groups: list[Reals]) -> "_PairSums":
        center = np.concatenate(groups).mean(
            axis=0
        )  # the distances stay the same, and rounding errors are smaller
        centred = [group - center for group in groups]
        norms = np.array([np.square(group).sum(axis=1).mean() for group in centred])
        means = np.stack([group.mean(axis=0) for group in centred])
        sizes = np.array([len(group) for group in groups])
        with np.errstate(invalid="ignore", divide="ignore"):
            within = (norms - np.square(means).sum(axis=1)) * sizes / (sizes - 1)
        return cls(within=np.where(sizes > 1, within, np.nan), norms=norms, means=means)

    def distances(self) -> tuple[float, float]:
        """(D_w, D_b): the mean over the groups, and over the pairs of groups."""
        return self._distances(np.ones(len(self.norms), bool))

    def without(self, group: int) -> tuple[float, float]:
        kept = np.ones(len(self.norms), bool)
        kept[group] = False
        return self._distances(kept)

    def _distances(self, kept: npt.NDArray[np.bool_]) -> tuple[float, float]:
        within = self.within[kept]
        paired = within[~np.isnan(within)]
        count = int(kept.sum())
        if not len(paired) or count < 2:
            return math.nan, math.nan
        means = self.means[kept]
        total = means.sum(axis=0)
        # The mean of <mean_i, mean_j> over ordered pairs of different groups.
        products = (total @ total - np.square(means).sum()) / (count * (count - 1))
        between = float(self.norms[kept].mean() - products)
        # A unit of one frame has no pair. It counts as a pair at the distance D_b (S22).
        alone = (count - len(paired)) * between
        return (float(paired.sum()) + alone) / count, between


def _jackknife_interval(rho: float, left_out: Reals) -> tuple[float, float]:
    """Interval from leave-one-out values on the scale of log(1 - rho), because the estimator is a ratio."""
    count = len(left_out)
    if rho >= 1 or not (left_out < 1).all():
        return rho, rho  # every unit is one picture, so nothing varies
    logs = np.log1p(-left_out)
    error = math.sqrt((count - 1) / count * float(np.square(logs - logs.mean()).sum()))
    reach = student_quantile((1 + CONFIDENCE) / 2, count - 1) * error
    center = math.log1p(-rho)
    return 1 - math.exp(center + reach), 1 - math.exp(center - reach)


def student_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Quantile of Student's t, by the expansion of Fisher and Cornish. Error below 0.01 from 6 degrees of freedom on.

    >>> round(student_quantile(0.975, 59), 3)
    2.001
    """
    z, v = NormalDist().inv_cdf(probability), degrees_of_freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
