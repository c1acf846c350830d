"""The pair estimator of rho and its jackknife, (S40) and (S41) of `loader/bias/SAMPLING.md`."""

import numpy as np

STUDENT_975_OF_59 = 2.001


def half_squared_distances(draws):
    """(D_w, D_b): means over pairs of frames of one visit and of two; `draws` of shape (visits, frames, D)."""
    return _distances(len(draws), *_sums(draws).sum(1))


def rho_with_interval(draws, quantile=STUDENT_975_OF_59):
    """(rho, lowest, highest) by leaving out one visit at a time."""
    number, by_visit = len(draws), _sums(draws)
    within, between = _distances(number, *by_visit.sum(1))
    withins, betweens = _distances(number - 1, *(by_visit.sum(1)[:, None] - by_visit))
    logs = np.log(withins / betweens)
    error = np.sqrt((number - 1) / number * ((logs - logs.mean()) ** 2).sum())
    centre = np.log(within / between)
    return 1 - within / between, *(1 - np.exp(centre + sign * quantile * error) for sign in (1, -1))


def _sums(draws):
    """By visit: distance within, mean square, square of the mean, and the mean's coordinates."""
    means, squares = draws.mean(1), (draws**2).sum(2).mean(1)
    squared_means = (means**2).sum(1)
    within = (squares - squared_means) * draws.shape[1] / (draws.shape[1] - 1)
    return np.array([within, squares, squared_means, *means.T])


def _distances(number, within, squares, squared_means, *means):
    products = (sum(total**2 for total in means) - squared_means) / (number * (number - 1))
    return within / number, squares / number - products
