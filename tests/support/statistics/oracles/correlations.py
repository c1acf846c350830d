"""Correlations of frames over a whole population, and design effects that follow from them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from frame_store.shared import counted
from loader.bias.checks import check_batch_size, check_probability
from loader.bias.design_effect import design_effect, population
from loader.errors import SamplingError
from loader.sampling.orders import check_shard_sizes


def intraclass_correlation(frames_by_shard: Sequence[npt.ArrayLike]) -> float:
    """Rho: the correlation of two different frames of a shard, exact for a whole population (S22).

    sum_s (n_s / N) C_s / sigma^2, C_s = |mu_s - G|^2 - sigma_s^2 / (n_s - 1) the mean of <g_i - G, g_j - G> over pairs
    of different frames of shard s. A shard of one frame has no pair and adds nothing. Variances are divided by
    counts, not by counts minus one. One array of shape (n_s, D) per shard; at most eta^2, and at least -1 / (n - 1)
    for equal shards of n.

    >>> intraclass_correlation([[[0.0], [0.0]], [[1.0], [1.0]]])
    1.0

    Raises:
        SamplingError: no shard has two frames, all frames are equal, or the arrays do not fit each other.
    """
    shards, mean, variance = population(frames_by_shard)
    paired = [shard for shard in shards if len(shard) > 1]
    if not paired:
        raise SamplingError("no shard has two frames to compare")
    total = 0.0
    for shard in paired:
        between = float(((shard.mean(0) - mean) ** 2).sum())
        within = float(((shard - shard.mean(0)) ** 2).sum()) / len(shard)
        total += len(shard) * (between - within / (len(shard) - 1))
    return total / sum(map(len, shards)) / variance


def correlation_ratio(frames_by_shard: Sequence[npt.ArrayLike]) -> float:
    """Eta^2: the share of the variance over frames that lies between the shards' means, in [0, 1] (S22).

    sum_s (n_s / N) |mu_s - G|^2 / sigma^2; one array of shape (n_s, D) per shard.

    Raises:
        SamplingError: all frames are equal, or the arrays do not fit each other.
    """
    shards, mean, variance = population(frames_by_shard)
    between = sum(len(shard) * float(((shard.mean(0) - mean) ** 2).sum()) for shard in shards)
    return between / sum(map(len, shards)) / variance


def worst_design_effect(kappa: float, *, batch_size: int) -> float:
    """The greatest design effect that any data can give, 1 + (B - 1) kappa (S25). It needs no rho.

    It holds for equal shards, as `slot_correlation` assumes, and for visits by the anchor-frame rule with
    `visit_kappa`. It is not a bound for unequal shards in a stream: neighbouring small shards may be alike, and kappa
    does not count them.

    Raises:
        SamplingError: kappa is not a probability, or batch_size below 1.
    """
    check_probability(kappa)
    return design_effect(kappa, batch_size=batch_size)


def nested_design_effect(kappas: npt.ArrayLike, rhos: npt.ArrayLike, *, batch_size: int) -> float:
    """Design effect of nested groups, such as GOP in video in shard: 1 + (B - 1) sum_l kappa_l rho_l (S28).

    Arrays of shape (levels,): kappa_l is the probability that l is the finest level that two distinct slots share,
    and rho_l the mean correlation of two such frames. With a last level for pairs that share nothing it is exact.

    Raises:
        SamplingError: kappas are not probabilities of exclusive events, or their number is not that of rhos.
    """
    shared, alike = np.asarray(kappas, np.float64), np.asarray(rhos, np.float64)
    if shared.shape != alike.shape or shared.ndim != 1:
        raise SamplingError(f"kappas of shape {shared.shape} and rhos of shape {alike.shape}")
    if (shared < 0).any() or shared.sum() > 1 + 1e-9:
        raise SamplingError(f"kappas are probabilities of exclusive events, found {shared}")
    return design_effect(float(shared @ alike), batch_size=batch_size)


def effective_batch(effect: float, *, batch_size: int) -> float:
    """The number of i.i.d. frames whose mean has the same variance, B / design effect (S24).

    Raises:
        SamplingError: batch_size below 1, or a design effect that is not positive.
    """
    check_batch_size(batch_size)
    if effect <= 0:
        raise SamplingError(f"a design effect is positive, found {effect}")
    return batch_size / effect


def block_correlation(autocorrelation: npt.ArrayLike) -> float:
    """Mean correlation of two different frames among T neighbours, 2 / (T (T - 1)) sum_l (T - l) r(l) (S32).

    `autocorrelation` is r(1), ..., r(T - 1), shape (T - 1,), over all videos, each taken as a circle, around the mean
    over *all* frames. Around each video's own mean it would not contain the similarity of frames of one video. Frames
    at a stride q take r(q), r(2 q), ...

    Raises:
        SamplingError: not a flat list of one correlation or more.
    """
    by_lag = np.asarray(autocorrelation, np.float64)
    if by_lag.ndim != 1 or not by_lag.size:
        raise SamplingError(f"expected r(1), ..., r(T - 1), found {by_lag!r}")
    num_frames = len(by_lag) + 1
    weights = num_frames - np.arange(1, num_frames)
    return float(weights @ by_lag) * 2 / (num_frames * (num_frames - 1))


def ar1_block_correlation(phi: float, *, num_frames: int) -> float:
    """`block_correlation` for r(l) = phi^l, 2 phi (T (1 - phi) - 1 + phi^T) / (T (T - 1) (1 - phi)^2) (S33).

    Raises:
        SamplingError: phi outside [-1, 1], or fewer than two frames.
    """
    if not -1 <= phi <= 1 or num_frames < 2:
        raise SamplingError(f"phi is in [-1, 1] and frames are 2 or more, found {phi} and {num_frames}")
    if phi == 1:
        return 1.0
    numerator = 2 * phi * (num_frames * (1 - phi) - 1 + phi**num_frames)
    return numerator / (num_frames * (num_frames - 1) * (1 - phi) ** 2)


def lag_coincidence(shard_sizes: npt.ArrayLike, lags: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Probability that two places of the circle at a lag share a shard (S30): shape of `lags`, each in [1, N).

    (1 / N) sum_s max(n_s - d, 0) + max(n_s + d - N, 0), for shards in any order around the circle; sizes (S,).

    Raises:
        SamplingError: not shard sizes, or a lag outside [1, N).
    """
    sizes, numbers = np.unique(check_shard_sizes(shard_sizes), return_counts=True)
    num_frames = int(sizes @ numbers)
    distances = np.asarray(lags, np.int64)
    if distances.size and not 1 <= distances.min() <= distances.max() < num_frames:
        raise SamplingError(f"lags on a circle of {counted(num_frames, 'frame')} are in [1, {num_frames})")
    total = np.zeros(distances.shape)
    for size, number in zip(sizes.tolist(), numbers.tolist(), strict=True):
        both = np.maximum(size - distances, 0) + np.maximum(size + distances - num_frames, 0)
        total += number * both
    return total / num_frames
