# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Which pairs meet in a batch of a nested order, and the worst data, against all coins and turns."""

import math

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.nested import (
    can_sum_batches,
    is_power_of_two,
    limit_pair_chi2,
    mean_distances,
    nested_pair_chi2,
    pair_distances,
    worst_nested_effect,
)
from tests.support.statistics.enumeration import SUMMED, assert_equal, assert_rejected
from tests.support.statistics.nested_populations import runs_of_every_order

CASES = [(5, 2), (5, 5), (6, 2), (6, 3), (7, 3), (8, 2), (8, 3), (8, 4), (8, 8)]


def pair_law(num_items, batch_size):
    """P(i, j) over all pairs of slots of an epoch's whole batches, and all coins and turns: shape (N, N)."""
    law = np.zeros((num_items, num_items))
    for start in range(0, num_items - batch_size + 1, batch_size):
        places = runs_of_every_order(num_items, batch_size, start)
        for one in range(batch_size):
            for other in range(batch_size):
                if one != other:
                    np.add.at(law, (places[:, one], places[:, other]), 1)
    return law / law.sum()


def worst_of_enumeration(num_items, batch_size):
    """The largest eigenvalue of B times the covariance of a batch's mean, over data around 0 of variance 1."""
    law = np.zeros((num_items, num_items))
    starts = range(0, num_items - batch_size + 1, batch_size)
    for start in starts:
        places = runs_of_every_order(num_items, batch_size, start)
        shown = np.zeros((len(places), num_items))
        np.put_along_axis(shown, places, 1 / batch_size, axis=1)
        shown -= 1 / num_items
        law += shown.T @ shown / len(places) / len(starts)
    return batch_size * num_items * float(np.linalg.eigvalsh(law)[-1])


@pytest.mark.parametrize(("num_items", "batch_size"), CASES)
def test_S66_pairs_of_a_batch(num_items, batch_size):
    law = pair_law(num_items, batch_size)
    for row in range(num_items):  # a function of the distance alone
        assert_equal(np.roll(law[row], -row), law[0])
    found, is_exact = nested_pair_chi2(num_items, batch_size=batch_size, num_batches=num_items // batch_size)
    expected = num_items**2 * float((law**2).sum()) - 1
    assert is_exact
    assert_equal(found, expected, SUMMED)
    if batch_size < num_items:
        assert_rejected(1 / (num_items - 1), expected)  # of a permutation


@pytest.mark.parametrize("num_items", [16, 64, 256])
def test_S66_closed_for_powers_of_two(num_items):
    for batch_size in [*range(2, 18), num_items - 1, num_items]:
        if batch_size <= num_items:
            law = mean_distances(num_items, batch_size=batch_size, num_batches=1)
            law /= batch_size * (batch_size - 1)
            found, _ = nested_pair_chi2(num_items, batch_size=batch_size, num_batches=1)
            assert_equal(found, num_items * float(law @ law) - 1, SUMMED)


def test_S66_many_frames_have_the_limit_of_a_continuous_circle():
    for batch_size in (2, 3, 16, 100, 128):
        limit = limit_pair_chi2(batch_size)
        of_many, _ = nested_pair_chi2(2**40, batch_size=batch_size, num_batches=1)
        assert of_many == pytest.approx(limit, rel=1e-6)
    # Two points in the two halves, at a distance with a triangular density of height 2: int (4 min(d, 1 - d))^2 - 1.
    assert limit_pair_chi2(2) == pytest.approx(1 / 3)
    points = np.random.default_rng(0).uniform(size=(2, 200_000)) / 2 + [[0.0], [0.5]]
    apart = np.histogram(np.abs(points[1] - points[0]), 64, (0, 1), density=True)[0]
    assert ((apart + apart[::-1]) ** 2).mean() / 4 - 1 == pytest.approx(1 / 3, abs=0.02)


def test_S66_an_estimate_from_some_batches_is_unbiased(monkeypatch):
    """Its mean over all choices of batches is the sum over all of them; the plain mean of a few is too large."""
    num_items, batch_size, num_batches = 81, 9, 9
    exact, _ = nested_pair_chi2(num_items, batch_size=batch_size, num_batches=num_batches)
    monkeypatch.setattr(pair_distances, "MAX_PLACES_SUMMED", 0)
    monkeypatch.setattr(pair_distances, "_LEAST_BATCHES", 2)
    estimates, plain = [], []
    for one in range(num_batches):
        for other in range(one):
            chosen = np.array([one, other])
            monkeypatch.setattr(pair_distances, "some_batches", lambda *_, chosen=chosen, **__: chosen)
            estimates.append(nested_pair_chi2(num_items, batch_size=batch_size, num_batches=num_batches)[0])
            law = np.mean(
                list(pair_distances.batch_distances(num_items, batch_size=batch_size, batches=chosen)), axis=0
            ) / (batch_size * (batch_size - 1))
            plain.append(num_items * float(law @ law) - 1)
    assert_equal(np.mean(estimates), exact, SUMMED)
    assert_rejected(np.mean(plain), exact, 1e-6)


def test_S66_too_many_items_have_no_sum_but_powers_of_two_do():
    assert nested_pair_chi2(10**8, batch_size=128, num_batches=10**8 // 128) is None
    of_power, is_exact = nested_pair_chi2(2**27, batch_size=128, num_batches=2**20)
    assert is_exact and of_power == pytest.approx(limit_pair_chi2(128), rel=1e-3)
    some, is_exact = nested_pair_chi2(50_001, batch_size=128, num_batches=390)
    assert not is_exact and 0.004 < some < 0.01


@pytest.mark.parametrize(("num_items", "batch_size"), CASES)
def test_S65_the_worst_data_by_the_spectrum(num_items, batch_size):
    expected = worst_of_enumeration(num_items, batch_size)
    found = worst_nested_effect(num_items, batch_size=batch_size, num_batches=num_items // batch_size)
    if is_power_of_two(num_items) and batch_size < num_items:
        assert found == 1 >= expected - 1e-12
        assert batch_size > 4 or expected == pytest.approx(1)  # attained
    elif batch_size < num_items:
        assert_equal(found, expected, SUMMED)


def test_S65_data_with_the_period_of_the_smallest_nodes_are_worse_than_independent_frames():
    """48 = 3 * 16: the second 16 positions are the single places of nodes of 3, at 0 or 2 of each and never at 1."""
    frames = np.tile([0.0, 1.0, 0.0], 16)[:, None]
    frames -= frames.mean()
    places = np.array([16])
    law = next(pair_distances.batch_distances(48, batch_size=16, batches=places // 16))
    lags = np.array([float((frames * np.roll(frames, -lag, axis=0)).mean()) for lag in range(48)])
    assert 1 + law @ lags / lags[0] / 16 == pytest.approx(4.75)
    worst = worst_nested_effect(48, batch_size=16, num_batches=3)
    assert 1 < worst < 4.75
    assert math.isclose(worst_nested_effect(64, batch_size=16, num_batches=4), 1)


def test_too_many_batches_have_no_worst_data_stated():
    assert not can_sum_batches(10**6, num_batches=100)
    assert worst_nested_effect(10**6, batch_size=100, num_batches=10**4) is None


def test_batches_are_all_of_them_or_different_ones():
    assert pair_distances.some_batches(100, num_batches=7, at_least=4).tolist() == list(range(7))
    some = pair_distances.some_batches(10**6, num_batches=1000, at_least=4)
    assert len(set(some.tolist())) == len(some) == 4 and some.max() < 1000
    lows = pair_distances.some_batches(2**17 + 1, num_batches=1024, at_least=64) % 8
    assert len(set(lows.tolist())) == 8  # no common low bits


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [(0, "batch_size must be"), (1, "no pair"), (9, "no batch of 9 in an order of 8 items")],
)
def test_what_is_no_batch_is_refused(batch_size, message):
    with pytest.raises(SamplingError, match=message):
        nested_pair_chi2(8, batch_size=batch_size, num_batches=1)
    if batch_size == 1:
        with pytest.raises(SamplingError, match=message):
            limit_pair_chi2(1)
