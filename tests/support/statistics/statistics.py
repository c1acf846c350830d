"""Power of chi-squared tests, Hotelling's test with a known covariance, and estimates against exact values."""

import math
from statistics import NormalDist

import numpy as np
import torch

from tests.support.statistics.chi_squared import ALPHA, p_value, tail_probability

NORMAL = NormalDist()


def critical_value(degrees_of_freedom, *, alpha=ALPHA):
    """The statistic above which a chi-squared test at `alpha` raises an alarm."""
    low, high = 0.0, 10 * degrees_of_freedom + 1000
    for _ in range(100):
        middle = (low + high) / 2
        if tail_probability(middle, degrees_of_freedom) > alpha:
            low = middle
        else:
            high = middle
    return high


def power(noncentrality, degrees_of_freedom, *, alpha=ALPHA):
    """P(alarm) at `alpha` if the statistic is noncentral chi^2: a Poisson mixture of central ones."""
    mean, reach = noncentrality / 2, 12 * math.sqrt(noncentrality / 2 + 1) + 30
    counts = torch.arange(max(0, int(mean - reach)), int(mean + reach), dtype=torch.float64)
    log_weights = torch.special.xlogy(counts, torch.tensor(mean)) - mean - torch.lgamma(counts + 1)
    critical = torch.full_like(counts, critical_value(degrees_of_freedom, alpha=alpha) / 2)
    tails = torch.special.gammaincc(counts + degrees_of_freedom / 2, critical)
    return float((log_weights.exp() * tails).sum())


def chi2_between(law, null_law):
    """Chi^2(law || null law): T independent draws from `law` give Pearson's test the noncentrality T times this."""
    law, null_law = np.broadcast_arrays(np.asarray(law, float), null_law)
    return float(((law - null_law) ** 2 / null_law).sum())


def hotelling_p_value(mean, expected, covariance):
    """Of a mean that is normal around `expected` with exactly `covariance` (of the mean, not of a draw)."""
    values, vectors = np.linalg.eigh(covariance)
    held = values > values.max() * 1e-10
    along = vectors.T @ (np.asarray(mean) - expected)
    assert np.abs(along[~held]).max(initial=0) < 1e-9, "a deviation where there is no variance"
    return tail_probability(float((along[held] ** 2 / values[held]).sum()), int(held.sum()))


def hotelling_power(bias, null_covariance, true_covariance, *, alpha=ALPHA):
    """Lower bound of P(alarm) of `hotelling_p_value`; both covariances are those of the mean.

    The statistic is at least the square of its best direction, which is normal with a known mean and variance.
    """
    direction = np.linalg.solve(null_covariance, bias)
    length = math.sqrt(
        direction @ bias
    )  # the mean of direction @ (mean - expected), in null standard deviations
    ratio = math.sqrt(direction @ true_covariance @ direction) / length
    return NORMAL.cdf((length - math.sqrt(critical_value(len(bias), alpha=alpha))) / ratio)


def standard_errors_off(replicates, expected):
    """How many standard errors the mean of independent `replicates` lies off `expected`, with its sign."""
    replicates = np.asarray(replicates, float)
    error = replicates.std(ddof=1) / math.sqrt(len(replicates))
    return (replicates.mean() - expected) / error


def coincidence(batches, group_of_frame):
    """Share of the pairs of slots of a batch that lie in one group, per batch: frame ids (batches, slots)."""
    groups = np.sort(np.asarray(group_of_frame)[np.asarray(batches)], axis=1)
    num_batches, num_slots = groups.shape
    keys = groups + np.arange(num_batches)[:, None] * (groups.max() + 1)
    _, inverse, counts = np.unique(keys.ravel(), return_inverse=True, return_counts=True)
    others = counts[inverse].reshape(num_batches, num_slots) - 1
    return others.sum(1) / (num_slots * (num_slots - 1))


SMALL_BIAS = 0.07
"""Every test of draws below would find a bias of this chi^2, with a power of at least 0.999."""


def draws_needed(num_frames, *, chi2=SMALL_BIAS, least_power=0.999):
    """Independent draws with which Pearson's test finds a bias of this chi^2; expectations are 5 or more."""
    draws = 5 * num_frames
    while power(draws * chi2, num_frames - 1) < least_power:
        draws = draws * 11 // 10
    return draws


def draws_p_value(draws, law):
    """P-value of independent draws, shape (T,), against a distribution over items, which may exclude some items."""
    held = law > 0
    counts = np.bincount(draws, minlength=len(law))
    assert not counts[~held].any(), "a frame is drawn that cannot be"
    never = np.exp(-len(draws) * law[held]).sum()  # expected number of frames that are not drawn
    if never < ALPHA / 10 and not counts[held].all():  # too small a bias for chi^2: one frame of many
        return never
    return p_value(counts[held], len(draws) * law[held])
