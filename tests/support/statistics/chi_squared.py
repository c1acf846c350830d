"""Chi-squared tests with a stated false alarm rate."""

import numpy as np
import torch

ALPHA = 1e-6
"""False alarms per test. Seeds are fixed, so a test that passes once passes always."""


def tail_probability(statistic, degrees_of_freedom):
    """P(chi^2 >= statistic): the regularised upper incomplete gamma function."""
    shape, x = (torch.tensor(v / 2, dtype=torch.float64) for v in (degrees_of_freedom, statistic))
    return float(torch.special.gammaincc(shape, x))


def p_value(observed, expected, *, degrees_of_freedom=None, scale=1.0):
    """Of counts against their expectations, by Pearson's statistic times `scale`."""
    observed, expected = np.broadcast_arrays(np.asarray(observed, float), expected)
    assert expected.min() >= 5, "too few draws for the chi-squared law"
    statistic = scale * ((observed - expected) ** 2 / expected).sum()
    return tail_probability(
        statistic, observed.size - 1 if degrees_of_freedom is None else degrees_of_freedom
    )
