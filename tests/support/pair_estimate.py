"""The pair estimator of rho and its jackknife, (S40) and (S41) of `loader/SAMPLING.md`."""

import numpy as np

STUDENT_975_OF_59 = 2.001


def half_squared_distances(draws):
    """(D_w, D_b): means over pairs of frames of one visit and of two; `draws` of shape (visits, frames, D)."""
    (within,), (between,) = _leave_out(draws, [None])
    return within, between


def rho_with_interval(draws, quantile=STUDENT_975_OF_59):
    """(rho, lowest, highest) by leaving out one visit at a time."""
    number = len(draws)
    (within, *withins), (between, *betweens) = _leave_out(draws, [None, *range(number)])
    logs = np.log(np.array(withins) / betweens)
    error = np.sqrt((number - 1) / number * ((logs - logs.mean()) ** 2).sum())
    centre = np.log(within / between)
    return 1 - within / between, *(1 - np.exp(centre + sign * quantile * error) for sign in (1, -1))


def _leave_out(draws, left_out):
    means, squares = draws.mean(1), (draws**2).sum(2).mean(1)
    within = (squares - (means**2).sum(1)) * draws.shape[1] / (draws.shape[1] - 1)
    found = [], []
    for visit in left_out:
        kept = np.ones(len(draws), bool)
        if visit is not None:
            kept[visit] = False
        number, total = kept.sum(), means[kept].sum(0)
        products = (total @ total - (means[kept] ** 2).sum()) / (number * (number - 1))
        found[0].append(within[kept].mean())
        found[1].append(squares[kept].mean() - products)
    return found
