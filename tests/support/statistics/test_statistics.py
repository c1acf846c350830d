import numpy as np
import pytest

from tests.support.statistics.chi_squared import p_value, tail_probability
from tests.support.statistics.statistics import (
    chi2_between,
    coincidence,
    critical_value,
    hotelling_p_value,
    hotelling_power,
    power,
    standard_errors_off,
)


@pytest.mark.parametrize(
    ("alpha", "df", "table"), [(0.05, 1, 3.841), (0.01, 10, 23.209), (0.001, 30, 59.703)]
)
def test_critical_values_are_those_of_the_tables(alpha, df, table):
    assert critical_value(df, alpha=alpha) == pytest.approx(table, abs=1e-3)


@pytest.mark.parametrize("df", [1, 5, 40])
def test_power_is_the_level_without_a_deviation_and_what_a_simulation_gives_with_one(df):
    assert power(0.0, df, alpha=1e-6) == pytest.approx(1e-6, rel=1e-6)
    chance = np.random.default_rng(df)
    for noncentrality in [3.0, 20.0, 60.0]:
        values = chance.noncentral_chisquare(df, noncentrality, 20_000)
        simulated = (values > critical_value(df, alpha=0.01)).mean()
        assert power(noncentrality, df, alpha=0.01) == pytest.approx(simulated, abs=4 * 0.5 / 20_000**0.5)


def test_pearsons_power_on_multinomial_draws():
    null_law, law = np.full(10, 0.1), np.array([0.13, *[0.87 / 9] * 9])
    predicted = power(1000 * chi2_between(law, null_law), 9, alpha=0.01)
    chance = np.random.default_rng(0)
    alarms = [p_value(chance.multinomial(1000, law), 100) < 0.01 for _ in range(2000)]
    assert 0.2 < predicted < 0.8
    assert np.mean(alarms) == pytest.approx(predicted, abs=0.06)


def test_hotelling_has_its_level_and_at_least_the_power_it_says():
    chance = np.random.default_rng(1)
    root = chance.normal(size=(3, 3))
    covariance, bias = root @ root.T, root @ [1.5, 2.0, -2.0]
    means = chance.normal(size=(4000, 3)) @ root.T
    level = np.mean([hotelling_p_value(mean, np.zeros(3), covariance) < 0.05 for mean in means])
    assert level == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 4000) ** 0.5)
    observed = np.mean([hotelling_p_value(mean + bias, np.zeros(3), covariance) < 0.05 for mean in means])
    bound = hotelling_power(bias, covariance, covariance, alpha=0.05)
    assert observed - 0.15 < bound < observed + 0.02


def test_hotelling_leaves_out_directions_without_variance():
    covariance = np.diag([2.0, 0.0])
    assert hotelling_p_value([2.0, 5.0], [0.0, 5.0], covariance) == pytest.approx(tail_probability(2.0, 1))
    with pytest.raises(AssertionError, match="no variance"):
        hotelling_p_value([2.0, 5.1], [0.0, 5.0], covariance)


def test_standard_errors_off():
    assert standard_errors_off([1.0, 3.0], 1.0) == pytest.approx(1.0)
    assert standard_errors_off([1.0, 3.0], 4.0) == pytest.approx(-2.0)


def test_coincidence_counts_pairs_of_slots():
    batches = np.array([[0, 1, 2, 3], [0, 0, 3, 1], [0, 2, 3, 4]])
    assert coincidence(batches, [0, 0, 1, 1, 2]).tolist() == pytest.approx([2 / 6, 3 / 6, 1 / 6])
